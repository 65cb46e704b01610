import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOpened, databases, type OpenedDatabase } from '../../test/support/databases.ts';
import { userRow } from '../../test/support/rows.ts';
import { createKeyring } from '../kernel/keyring.ts';
import {
  type IdempotentRequest,
  purgeResponses,
  REQUEST_TTL_MS,
  type ResponseFormat,
  runIdempotently,
} from './idempotency.ts';

interface Thing {
  readonly number: number;
  readonly name: string;
}

/** Responses of a method, as JSON: how a message of the contract is stored is tested in src/rpc/response-format.test.ts. */
const formatOf = (method: string): ResponseFormat<Thing, Thing> => ({
  method,
  toResponse: (thing) => thing,
  encode: (response) => Buffer.from(JSON.stringify(response)),
  decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as Thing,
});
const CREATE_THING = formatOf('CreateThing');

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
    return { callerId: caller.id, requestId: randomUUID(), input: { name: 'a', list: [1] } };
  }
  const app = () => ({ keyring, now: () => nowMs });
  /** Asks, and counts how often something was made. */
  function asker() {
    let made = 0;
    return {
      ask: (request: IdempotentRequest, format = CREATE_THING) =>
        database.transaction((tx) =>
          runIdempotently(tx, app(), request, format, async () => ({ number: ++made, name: 'ä"🦉' })),
        ),
      made: () => made,
    };
  }
  const count = async () => (await database.db.selectFrom('requests').select('request_id').execute()).length;

  test('a response is given again', async () => {
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

  test('without an id no response is stored', async () => {
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
  ])('an id is refused with %s', async (_, other) => {
    const request = await newRequest();
    const { ask, made } = asker();
    const first = await ask(request);
    await expect(ask({ ...request, ...other })).rejects.toEqual(REQUEST_ID_REUSED);
    expect(await ask(request)).toEqual(first);
    expect(made()).toBe(1);
  });

  test('an id is refused with another method', async () => {
    const request = await newRequest();
    const { ask, made } = asker();
    await ask(request);
    await expect(ask(request, formatOf('CreateOther'))).rejects.toEqual(REQUEST_ID_REUSED);
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

  test('an id of another caller is another id', async () => {
    const request = await newRequest();
    const { callerId } = await newRequest();
    const { ask, made } = asker();
    await ask(request);
    await ask({ ...request, callerId, input: 'something else' });
    expect(made()).toBe(2);
  });

  test('no response is stored of a create that failed, or that was rolled back', async () => {
    const request = await newRequest();
    const { ask } = asker();
    await expect(
      database.transaction((tx) =>
        runIdempotently(tx, app(), request, CREATE_THING, () => Promise.reject(new Error('no'))),
      ),
    ).rejects.toThrow('no');
    await expect(
      database.transaction(async (tx) => {
        await runIdempotently(tx, app(), request, CREATE_THING, async () => ({ number: 0, name: '' }));
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

  test('responses are removed after 24 hours, the oldest first, a number at a time', async () => {
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
