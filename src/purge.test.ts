import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { expect, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../test/support/databases.ts';
import { sessionRow, userRow } from '../test/support/rows.ts';
import { openApp, startOn } from '../test/support/stored.ts';
import { REQUEST_TTL_MS } from './storage/idempotency.ts';
import { createPurgeCounts, purge } from './purge.ts';

test.each(databases)('what is past its time stays a minute more, and is counted, on $name', async (kind) => {
  await using kith = await startOn(kind);
  await using app = await openApp(kith);
  const { db } = app.database;
  const owner = await kith.user();
  const contacts = kith.client(ContactService, owner.accessToken);
  const contactId = (await contacts.createContact({ givenName: 'Ada' })).contact!.id;
  await contacts.deleteContact({ contactId: contactId });
  const userId = (await kith.user()).user.id;
  await kith.client(UserService, (await kith.admin()).accessToken).deleteUser({ userId: userId });

  const dueMs = Date.now() + 365 * 24 * 3_600_000; // after all that the calls above have left
  const enrolled = userRow();
  await db.insertInto('users').values(enrolled).execute();
  await db.updateTable('users').set({ purge_ms: dueMs }).where('id', '=', userId).execute();
  await db.updateTable('contacts').set({ purge_ms: dueMs }).where('id', '=', contactId).execute();
  const session = sessionRow(enrolled.id, { expire_ms: dueMs, end_by_ms: dueMs });
  await db.insertInto('sessions').values(session).execute();
  const revoked = randomUUIDv7();
  await db
    .insertInto('revocations')
    .values({ session_id: revoked, user_id: enrolled.id, role: null, revision: 0, expire_ms: dueMs })
    .execute();
  const key = randomUUID();
  await db.insertInto('throttles').values({ key, failures: 1, until_ms: 0, forget_ms: dueMs }).execute();
  const requestId = randomUUID();
  await db
    .insertInto('requests')
    .values({
      caller_id: enrolled.id,
      request_id: requestId,
      method: '',
      fingerprint: '',
      response: '',
      create_ms: dueMs - REQUEST_TTL_MS,
    })
    .execute();

  const counts = createPurgeCounts();
  const all = { userId, contactId, session: session.id, revoked, key, requestId };
  /** Which of these are there when one has purged at that time. */
  const left = async (nowMs: number) => {
    await purge({ ...app, now: () => nowMs, activityRetentionMs: 10 * 365 * 24 * 3_600_000 }, { counts });
    const tables = JSON.parse(await kith.database.dump()) as [string, unknown[]][];
    const rows = JSON.stringify(tables.filter(([table]) => table !== 'activity'));
    return Object.keys(all).filter((what) => rows.includes(all[what as keyof typeof all]));
  };
  expect(counts.lastMs).toBeUndefined();
  expect(await left(dueMs + 30_000)).toEqual(Object.keys(all));
  const before = { ...counts.rows };
  expect(await left(dueMs + 61_000)).toEqual([]);
  expect(counts.lastMs).toBe(dueMs + 61_000);
  const gone = Object.entries(counts.rows).filter(([what, rows]) => rows > before[what]!);
  expect(gone.map(([what]) => what)).toEqual(['users', 'contacts', 'sessions', 'revocations', 'throttles', 'answers']);
});
