import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { startKith } from '../../test/support/kith.ts';
import { startWatch } from '../../test/support/watch.ts';
import { readCursor } from '../activity/log/cursor.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { openApp } from '../../test/support/stored.ts';
import { RUNNING_MAX } from './dialect.ts';

const [postgres] = databases.filter(({ name }) => name === 'PostgreSQL');

/** A transaction that has its number, and writes an activity before it ends. */
async function openLate(url: string, userId: string, action: string) {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query('begin; select pg_current_xact_id()');
  return {
    write: () =>
      client.query(
        `insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
         values ($1, $2, $3, '', '{}', 0, 0, 0)`,
        [randomUUID(), userId, action],
      ),
    commit: () => client.query('commit'),
    [Symbol.asyncDispose]: () => client.end(),
  };
}

test('a list and the watch that goes on from it hold once what transactions write that end in another order', async () => {
  await using database = await postgres!.create();
  await using kith = await startKith({ database });
  const { accessToken, user } = await kith.admin();
  const client = kith.client(ActivityService, accessToken);
  const record = (action: string) => client.recordUserActivity({ activities: [{ userId: user.id, action }] });
  const request = { userId: user.id, actionPrefixes: ['view'] };

  await record('view.first');
  await using early = await openLate(database.url, user.id, 'view.early');
  await using late = await openLate(database.url, user.id, 'view.late');
  await using never = await openLate(database.url, user.id, 'view.never');
  await late.write();
  await early.write();
  await record('view.second');
  await record('view.third');
  const first = await client.listUserActivity({ ...request, pageSize: 1 });
  const listed = first.activities.map(({ action }) => action);
  await late.commit();
  await record('view.fourth');
  for (let { nextPageToken: pageToken } = first; pageToken !== ''; ) {
    const page = await client.listUserActivity({ ...request, pageSize: 1, pageToken });
    listed.push(...page.activities.map(({ action }) => action));
    pageToken = page.nextPageToken;
  }
  // What is committed is listed, though a transaction that began before has not ended.
  expect(listed).toEqual(['view.third', 'view.second', 'view.first']);

  await using watch = await startWatch(client, { ...request, afterCursor: first.watchCursor });
  await early.commit();
  await never.commit();
  const watched = await watch.activities(2);
  await using again = await startWatch(client, { ...request, afterCursor: watch.cursor });
  watched.push(...(await again.activities(1)));
  expect(watched.map(({ action }) => action)).toEqual(['view.early', 'view.late', 'view.fourth']);
}, 60_000);

test('a watch from now on leaves out what was there when it began, though the log was not complete', async () => {
  await using database = await postgres!.create();
  await using kith = await startKith({ database });
  const { accessToken, user } = await kith.admin();
  const client = kith.client(ActivityService, accessToken);
  const record = (action: string) => client.recordUserActivity({ activities: [{ userId: user.id, action }] });
  await using late = await openLate(database.url, user.id, 'view.late');
  await late.write();
  await record('view.before');
  await using watch = await startWatch(client, { userId: user.id, actionPrefixes: ['view'] });
  const { cursor } = watch;
  await record('view.after');
  await late.commit();
  await using again = await startWatch(client, { actionPrefixes: ['view'], afterCursor: cursor });
  for (const each of [watch, again]) {
    expect((await each.activities(2)).map(({ action }) => action)).toEqual(['view.late', 'view.after']);
  }
}, 60_000);

test('a view keeps track of transactions that wrote beyond its end, up to so many', async () => {
  await using database = await postgres!.create();
  await using kith = await startKith({ database });
  const { accessToken, user } = await kith.admin();
  const client = kith.client(ActivityService, accessToken);
  await using app = await openApp(kith);
  const viewOfList = async () => {
    const { watchCursor } = await client.listUserActivity({ userId: user.id });
    expect(watchCursor.length).toBeLessThanOrEqual(2048);
    return readCursor(createKeyring(kith.config.secretKey!), watchCursor);
  };
  const complete = await viewOfList();
  expect(complete).toEqual({ end: complete.end, newest: complete.end, running: [] });
  await using some = await openLate(database.url, user.id, 'view.some');
  // As long as nothing was written after it, there is nothing to keep track of.
  expect(await viewOfList()).toEqual(complete);
  await client.recordUserActivity({ activities: [{ userId: user.id, action: 'view.beyond' }] });
  const view = await viewOfList();
  expect(view).toMatchObject({ end: complete.end, running: [expect.any(Number)] });
  expect(view.newest.writer).toBeGreaterThan(view.running[0]!);
  await some.commit();
  expect(RUNNING_MAX).toBe(128);
  expect((await app.database.dialect.viewOfLog(app.database.db)).running).toEqual([]);
}, 60_000);
