import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../check/random.ts';
import { startRelay } from '../../check/relay.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { memoryStore, type SessionStore } from '../../packages/client/src/index.ts';
import { sizeOf } from '../support/full-size.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { openKith } from './clients.ts';

// Node has Web Locks and BroadcastChannel: clients of one process stand for tabs. tabs.long.test.ts has those of a browser.

let kith: Kith;
beforeAll(async () => {
  kith = await startKith();
});
afterAll(() => kith[Symbol.asyncDispose]());

let names = 0;

/** A session that clients share as tabs do. */
async function shareSession(): Promise<{ store: SessionStore; userId: string; accessToken: string }> {
  const { refreshToken, accessToken, user } = await kith.user();
  return { store: { ...memoryStore(refreshToken), tabs: `test ${++names}` }, userId: user.id, accessToken };
}

/** A tab that watches. */
class WatchingTab {
  readonly seen: string[] = [];
  cursor: string;
  state = 'none';
  over: unknown;
  readonly #leaving = new AbortController();
  readonly #done: Promise<void>;

  constructor(url: string, store: SessionStore, userId: string, from = '', shared?: boolean) {
    this.cursor = from;
    const client = openKith(url, { protocol: 'connect', credentials: { store } });
    this.#done = this.#watch(
      client.activity.watch({ userId, from, actionPrefixes: ['kith.contact'], signal: this.#leaving.signal, shared }),
    );
  }

  async #watch(watch: ReturnType<ReturnType<typeof openKith>['activity']['watch']>): Promise<void> {
    try {
      for await (const event of watch) {
        this.cursor = event.cursor;
        if (event.kind === 'activity') this.seen.push(event.activity.attributes['contact_id']!);
        if (event.kind === 'state') this.state = event.state;
      }
    } catch (error) {
      this.over = error;
    }
  }

  async leave(): Promise<void> {
    this.#leaving.abort();
    await this.#done;
  }
}

test('tabs that share a session share one connection; others, and those that ask for it, have one of their own', async () => {
  const { store, userId } = await shareSession();
  const before = kith.subscriptions();
  const tabs = Array.from({ length: 4 }, () => new WatchingTab(kith.address, store, userId));
  await expect.poll(() => tabs.map(({ state }) => state)).toEqual(tabs.map(() => 'live'));
  expect(kith.subscriptions() - before).toBe(2);
  const alone = new WatchingTab(kith.address, store, userId, '', false);
  const another = await shareSession();
  const stranger = new WatchingTab(kith.address, { ...another.store, tabs: store.tabs }, another.userId);
  await expect.poll(() => [alone.state, stranger.state]).toEqual(['live', 'live']);
  expect(kith.subscriptions() - before).toBe(6);
  for (const tab of [...tabs, alone, stranger]) await tab.leave();
  await expect.poll(() => kith.subscriptions()).toBe(before);
});

test('a tab whose watch is refused says so, and the next ones find out by themselves', async () => {
  const { store, userId } = await shareSession();
  const other = await kith.user();
  const tabs = Array.from({ length: 3 }, () => new WatchingTab(kith.address, store, other.user.id));
  await expect
    .poll(() => tabs.map(({ over }) => over))
    .toMatchObject(tabs.map(() => ({ reason: 'PERMISSION_MISSING' })));
  expect(userId).not.toBe(other.user.id);
});

test('while tabs come, go and are cut off, each gets each activity after its cursor once, in order', async () => {
  const seed = process.env['KITH_SEED'] ?? String(Date.now());
  const random = new Random(seed);
  const { store, userId, accessToken } = await shareSession();
  await using relay = await startRelay();
  relay.upstream = kith.address;
  const contacts = kith.client(ContactService, accessToken);
  const ids: string[] = [];
  const create = async () => void ids.push((await contacts.createContact({ givenName: 'Grace' })).contact!.id);
  /** Each tab with the number of activities that were before its cursor, or undefined where it began with the present. */
  const tabs: { readonly tab: WatchingTab; readonly start: number | undefined }[] = [];
  const left: typeof tabs = [];
  const open = (from = '', start?: number) =>
    tabs.push({ tab: new WatchingTab(relay.address, store, userId, from), start });

  open();
  await expect.poll(() => tabs[0]!.tab.state).toBe('live');
  open();
  const steps = sizeOf('KITH_TAB_STEPS', 60, 600);
  for (let step = 0; step < steps; step++) {
    const dice = random.int(0, 9);
    if (dice < 5) await create();
    else if (dice === 5) open();
    else if (dice === 6 && tabs.length > 1) left.push(...tabs.splice(random.int(0, tabs.length - 1), 1));
    else if (dice === 7) relay.cut(() => true);
    else if (dice === 8) {
      // As a page that is loaded again: from where it was.
      const before = left.find(({ tab }) => tab.cursor !== '' && tab.seen.length > 0);
      if (before !== undefined) open(before.tab.cursor, ids.indexOf(before.tab.seen.at(-1)!) + 1);
    } else await sleep(random.int(0, 30));
    for (const { tab } of left) await tab.leave();
  }
  await create();
  const last = ids.at(-1)!;
  for (const { tab } of tabs) await expect.poll(() => tab.seen.at(-1)).toBe(last);
  for (const { tab, start } of [...tabs, ...left]) {
    const first = start ?? (tab.seen.length === 0 ? ids.length : ids.indexOf(tab.seen[0]!));
    const end = first + tab.seen.length;
    expect({ seed, over: tab.over, seen: tab.seen }).toEqual({ seed, over: undefined, seen: ids.slice(first, end) });
  }
  for (const { tab } of tabs) await tab.leave();
});
