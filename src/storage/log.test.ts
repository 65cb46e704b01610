import { Client } from 'pg';
import { expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf, startKith } from '../../test/support/kith.ts';
import { cursorAfter } from '../../test/support/watch.ts';
import { writeCursor } from '../activity/log/cursor.ts';
import { createKeyring } from '../kernel/keyring.ts';

const PAGE_VIEWED = 'page.viewed';

async function record(kith: Kith): Promise<string> {
  const { accessToken, user } = await kith.admin();
  const { activities } = await kith
    .client(ActivityService, accessToken)
    .recordUserActivity({ activities: [{ userId: user.id, action: PAGE_VIEWED }] });
  return cursorAfter(kith, activities[0]!);
}

async function watch(kith: Kith, afterCursor: string) {
  const { accessToken, user } = await kith.admin();
  const messages = kith.client(ActivityService, accessToken).watchUserActivity({ userId: user.id, afterCursor });
  const iterator = messages[Symbol.asyncIterator]();
  await iterator.next();
  return iterator;
}

test('a dump restored into a fresh PostgreSQL, whose transactions count from the start, goes on where it was', async () => {
  await using database = await databases.find(({ name }) => name === 'PostgreSQL')!.create();
  const client = new Client({ connectionString: database.url });
  {
    await using kith = await startKith({ database });
    await record(kith);
  }
  await client.connect();
  // What such a server finds: rows of transactions that it has not come to yet.
  await client.query('update activity set writer = writer + 1000000000');
  await client.end();

  await using kith = await startKith({ database });
  const iterator = await watch(kith, await record(kith));
  await record(kith);
  expect((await iterator.next()).value?.activity?.action).toBe(PAGE_VIEWED);
  await iterator.return?.();
  const { accessToken } = await kith.admin();
  const list = await kith.client(ActivityService, accessToken).listUserActivity({ actionPrefixes: [PAGE_VIEWED] });
  const cursors = list.activities.map(({ recordTime }) => recordTime!.nanos / 1e9 + Number(recordTime!.seconds));
  expect(cursors).toEqual(cursors.toSorted((a, b) => b - a));
});

test.each(databases)('a cursor from before a backup was restored is refused on $name', async (kind) => {
  await using database = await kind.create();
  await using kith = await startKith({ database });
  const keyring = createKeyring(kith.config.secretKey!);
  const { accessToken, user } = await kith.admin();
  const messages = kith.client(ActivityService, accessToken).watchUserActivity({
    userId: user.id,
    afterCursor: writeCursor(keyring, { writer: 10 ** 12, seq: 10 ** 9 }),
  });
  const refusal = await refusalOf(messages[Symbol.asyncIterator]().next());
  expect(refusal).toMatchObject({ code: 'OutOfRange', reason: 'CURSOR_EXPIRED' });
});
