import { randomUUID } from 'node:crypto';
import { type DescMessage, type Message, toJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService, RecordUserActivityResponseSchema } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService, CreateContactResponseSchema } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { CreateUserResponseSchema, UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { openDatabase } from '../src/storage/database.ts';
import { databases } from './support/databases.ts';
import type { Kith, SignedIn } from './support/kith.ts';
import { startOn } from './support/stored.ts';

interface Create {
  readonly name: string;
  readonly output: DescMessage;
  call(kith: Kith, admin: SignedIn, requestId: string): Promise<Message>;
}

const CREATES: readonly Create[] = [
  {
    name: 'CreateUser',
    output: CreateUserResponseSchema,
    call: (kith, { accessToken }, requestId) => {
      const username = `u${requestId.toLowerCase()}`;
      const rest = { name: 'Ada', password: 'poetical science', email: `${username}@example.org` };
      return kith.client(UserService, accessToken).createUser({ username, requestId, ...rest });
    },
  },
  {
    name: 'CreateContact',
    output: CreateContactResponseSchema,
    call: (kith, { accessToken }, requestId) =>
      kith.client(ContactService, accessToken).createContact({
        givenName: 'Ada',
        familyName: 'Lovelace',
        emails: [{ address: 'ada@example.org', type: 'home' }],
        phones: [{ number: '+44 20' }],
        addresses: [{ city: 'London' }],
        urls: [{ url: 'https://ada.example' }],
        birthday: { month: 12, day: 10 },
        notes: 'Notes',
        starred: true,
        requestId,
      }),
  },
  {
    name: 'RecordUserActivity',
    output: RecordUserActivityResponseSchema,
    call: (kith, { accessToken, user }, requestId) =>
      kith.client(ActivityService, accessToken).recordUserActivity({
        activities: [
          { userId: user.id, action: 'page.viewed', attributes: { page: '/' } },
          { userId: user.id, action: 'page.left', details: 'Gone' },
        ],
        requestId,
      }),
  },
];

type Answer = Record<string, unknown>;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let admin: SignedIn;
  let database: Awaited<ReturnType<typeof openDatabase>>;
  beforeAll(async () => {
    kith = await startOn(kind);
    admin = await kith.admin();
    database = await openDatabase(kith.database.url);
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
    await kith[Symbol.asyncDispose]();
  });

  /** Puts another text in the place of a remembered answer. */
  async function store(requestId: string, answer: unknown): Promise<void> {
    const change = { answer: JSON.stringify(answer) };
    await database.db.updateTable('requests').set(change).where('request_id', '=', requestId).execute();
  }
  async function stored(requestId: string): Promise<Answer | Answer[]> {
    const row = await database.db
      .selectFrom('requests')
      .select('answer')
      .where('request_id', '=', requestId)
      .executeTakeFirstOrThrow();
    return JSON.parse(row.answer) as Answer | Answer[];
  }
  const each = (answer: Answer | Answer[], change: (item: Answer) => Answer) =>
    Array.isArray(answer) ? answer.map(change) : change(answer);

  describe.each(CREATES)('an answer of $name that another version remembered', ({ output, call }) => {
    const json = (message: Message) => JSON.stringify(toJson(output, message as never));

    test('is answered, whichever of the fields that version did not know', async () => {
      const requestId = randomUUID();
      const first = json(await call(kith, admin, requestId));
      const all = await stored(requestId);
      const fields = Object.keys(Array.isArray(all) ? all[0]! : all);
      expect(fields.length).toBeGreaterThan(8);
      for (const missing of fields) {
        await store(
          requestId,
          each(all, (item) => Object.fromEntries(Object.entries(item).filter(([field]) => field !== missing))),
        );
        const answer = json(await call(kith, admin, requestId));
        expect(answer.length).toBeLessThanOrEqual(first.length);
      }
      await store(
        requestId,
        each(all, () => ({})),
      );
      await call(kith, admin, requestId);
    });

    test('is answered without the fields that this version does not know', async () => {
      const requestId = randomUUID();
      const first = json(await call(kith, admin, requestId));
      await store(
        requestId,
        each(await stored(requestId), (item) => ({ ...item, nickname: 'x', tags: ['y'] })),
      );
      expect(json(await call(kith, admin, requestId))).toBe(first);
    });

    test('is answered to the id in any case', async () => {
      const requestId = randomUUID();
      const first = json(await call(kith, admin, requestId));
      expect(json(await call(kith, admin, requestId.toUpperCase()))).toBe(first);
    });
  });
});
