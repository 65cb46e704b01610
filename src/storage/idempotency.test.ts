import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOpened, databases, type OpenedDatabase } from '../../test/support/databases.ts';
import { userRow } from '../../test/support/rows.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { runIdempotently, type IdempotentRequest, purgeResponses, REQUEST_TTL_MS } from './idempotency.ts';

const REQUEST_ID_REUSED = expect.objectContaining({ name: 'Failure', reason: 'request_id_reused' });

describe.each(databases)('on $name', (kind) => {
  const keyring = createKeyring(new Uint8Array(32));
  let nowMs = 1_800_000_000_000;
  let database: OpenedDatabase;
  beforeAll(async () => {
    database = await createOpened(kind);
  });
  afterAll(() => database[Symbol.asyncDispose]());

  async function newRequest(): Promise<IdempotentRequest> {
    const caller = userRow();
    await database.db.insertInto('users').values(caller).execute();
    return { callerId: caller.id, requestId: randomUUID(), method: 'CreateThing', input: { name: 'a', list: [1] } };
  }
  const app = () => ({ keyring, now: () => nowMs });
  /** What the present version adds to an answer. */
  const complete = (stored: { number?: number; name?: string; added?: string }) => ({
    number: 0,
    name: '',
    added: 'by default',
    ...stored,
  });
  /** Asks, and counts how often something was made. */
  function asker() {
    let made = 0;
    return {
      ask: (request: IdempotentRequest) =>
        database.transaction((tx) =>
          runIdempotently(tx, app(), request, async () => ({ number: ++made, name: 'ä"🦉', added: '' }), complete),
        ),
      made: () => made,
    };
  }
  const count = async () => (await database.db.selectFrom('requests').select('request_id').execute()).length;

  test('an answer is given again', async () => {
    const request = await newRequest();
    const { ask, made } = asker();
    const first = await ask(request);
    expect(await ask(request)).toEqual(first);
    expect(made()).toBe(1);
  });

  test('many at once are one', async () => {
    const request = await newRequest();
    const { ask } = asker();
    const before = await count();
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(request)));
    // A transaction may have been run more than once, but only one is there.
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await count()).toBe(before + 1);
  });

  test('without an id nothing is remembered', async () => {
    const request = { ...(await newRequest()), requestId: '' };
    const { ask, made } = asker();
    const before = await count();
    await ask(request);
    await ask(request);
    expect(made()).toBe(2);
    expect(await count()).toBe(before);
  });

  test.each<[string, Partial<IdempotentRequest>]>([
    ['another input', { input: { name: 'b', list: [1] } }],
    ['more input', { input: { name: 'a', list: [1], more: true } }],
    ['a list that is longer', { input: { name: 'a', list: [1, 1] } }],
    ['another method', { method: 'CreateOther' }],
  ])('an id is refused with %s', async (_, other) => {
    const request = await newRequest();
    const { ask, made } = asker();
    const first = await ask(request);
    await expect(ask({ ...request, ...other })).rejects.toEqual(REQUEST_ID_REUSED);
    expect(await ask(request)).toEqual(first);
    expect(made()).toBe(1);
  });

  test('a request with fields more that are empty is the same request', async () => {
    const request = await newRequest();
    const { ask, made } = asker();
    const first = await ask(request);
    const more = {
      nickname: '',
      name: 'a',
      tags: [],
      isPet: false,
      owner: null,
      birthday: undefined,
      map: {},
      list: [1],
    };
    expect(await ask({ ...request, input: more })).toEqual(first);
    expect(made()).toBe(1);
  });

  test('an answer that was stored before a field was added has it as it is by default', async () => {
    const request = await newRequest();
    const { ask } = asker();
    const { number, name } = await ask(request);
    const stored = { answer: JSON.stringify({ number, name }) };
    await database.db.updateTable('requests').set(stored).where('request_id', '=', request.requestId).execute();
    expect(await ask(request)).toEqual({ number, name, added: 'by default' });
  });

  test('an id of another caller is another id', async () => {
    const request = await newRequest();
    const { callerId } = await newRequest();
    const { ask, made } = asker();
    await ask(request);
    await ask({ ...request, callerId, input: 'something else' });
    expect(made()).toBe(2);
  });

  test('what failed is not remembered, nor what the transaction took back', async () => {
    const request = await newRequest();
    const { ask } = asker();
    await expect(
      database.transaction((tx) =>
        runIdempotently(tx, app(), request, () => Promise.reject(new Error('no')), complete),
      ),
    ).rejects.toThrow('no');
    await expect(
      database.transaction(async (tx) => {
        await runIdempotently(tx, app(), request, async () => complete({}), complete);
        throw new Error('late');
      }),
    ).rejects.toThrow('late');
    expect(await ask(request)).toMatchObject({ number: 1 });
  });

  test('the input is not stored', async () => {
    const request = { ...(await newRequest()), input: { password: 'a good password' } };
    await asker().ask(request);
    expect(await database.files.dump()).not.toContain('a good password');
  });

  test('answers are forgotten after 24 hours, the oldest first, a number at a time', async () => {
    await database.db.deleteFrom('requests').execute();
    const { ask } = asker();
    const requests = await Promise.all([newRequest(), newRequest(), newRequest(), newRequest()]);
    const startMs = nowMs;
    for (const request of requests) {
      await ask(request);
      nowMs += 1000;
    }
    expect(await purgeResponses(database.db, startMs + REQUEST_TTL_MS - 1, 10)).toBe(0);
    expect(await purgeResponses(database.db, startMs + REQUEST_TTL_MS, 10)).toBe(1);
    expect(await purgeResponses(database.db, startMs + REQUEST_TTL_MS + 5000, 2)).toBe(2);
    const left = await database.db.selectFrom('requests').select('request_id').execute();
    expect(left).toEqual([{ request_id: requests[3].requestId }]);
    expect(await ask(requests[0])).toMatchObject({ number: 5 });
  });
});
