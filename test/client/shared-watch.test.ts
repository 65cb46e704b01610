import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../check/random.ts';
import { type Relay, startRelay } from '../../check/relay.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { sizeOf } from '../support/full-size.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { openKith } from './clients.ts';

// Node has Web Locks and BroadcastChannel: clients of one process stand for tabs. tabs.long.test.ts has those of a browser.

let kith: Kith;
let relay: Relay;
beforeAll(async () => {
  [kith, relay] = await Promise.all([startKith(), startRelay()]);
  relay.upstream = kith.address;
});
afterAll(async () => {
  await relay[Symbol.asyncDispose]();
  await kith[Symbol.asyncDispose]();
});

/** Who is signed in in all tabs, and what is recorded of them. */
class Person {
  /** The contacts that were created, in order. */
  readonly ids: string[] = [];
  /** Where the watch of each of them ends: the cursor after so many contacts. */
  readonly cursors: string[] = [];
  readonly userId: string;
  readonly accessToken: string;

  constructor(userId: string, accessToken: string) {
    this.userId = userId;
    this.accessToken = accessToken;
  }

  static async signIn(): Promise<Person> {
    const { user, accessToken } = await kith.user();
    const person = new Person(user.id, accessToken);
    person.cursors.push(await person.listCursor());
    return person;
  }

  async create(): Promise<void> {
    const contacts = kith.client(ContactService, this.accessToken);
    this.ids.push((await contacts.createContact({ givenName: 'Grace' })).contact!.id);
    this.cursors.push(await this.listCursor());
  }

  async listCursor(): Promise<string> {
    const activity = kith.client(ActivityService, this.accessToken);
    return (await activity.listUserActivity({ userId: this.userId, pageSize: 1 })).watchCursor;
  }
}

interface TabOptions {
  /** How many contacts the tab knows already; absent for one that begins with the present. */
  readonly start?: number | undefined;
  readonly userId?: string;
  readonly url?: string;
  readonly shared?: boolean;
}

/** A tab that watches. */
class WatchingTab {
  readonly seen: string[] = [];
  readonly start: number | undefined;
  state = 'none';
  over: unknown;
  #reading = Promise.resolve();
  #resume = (): void => {};
  readonly #leaving = new AbortController();
  readonly #done: Promise<void>;

  constructor(person: Person, { start, userId = person.userId, url = relay.address, shared = true }: TabOptions = {}) {
    this.start = start;
    const client = openKith(url, { protocol: 'connect', credentials: () => person.accessToken });
    const from = start === undefined ? '' : person.cursors[start]!;
    const { signal } = this.#leaving;
    this.#done = this.#watch(
      client.activity.watch({ userId, from, actionPrefixes: ['kith.contact', 'kith_test'], signal, shared }),
    );
  }

  async #watch(watch: ReturnType<ReturnType<typeof openKith>['activity']['watch']>): Promise<void> {
    try {
      for await (const event of watch) {
        if (event.kind === 'activity') this.seen.push(event.activity.attributes['contact_id'] ?? event.activity.id);
        if (event.kind === 'state') this.state = event.state;
        await this.#reading;
      }
    } catch (error) {
      this.over = error;
    }
  }

  /** Reads nothing until it is told to go on. */
  stand(): void {
    this.go();
    this.#reading = new Promise((resolve) => (this.#resume = resolve));
  }

  go(): void {
    this.#resume();
  }

  async leave(): Promise<void> {
    this.#leaving.abort();
    this.go();
    await this.#done;
  }
}

async function expectLive(tabs: readonly WatchingTab[]): Promise<void> {
  await expect.poll(() => tabs.map(({ state }) => state), { timeout: 20_000 }).toEqual(tabs.map(() => 'live'));
}

/** Each tab has seen all that follows its start, once and in order; one that began with the present, all after its first. */
async function expectAll(tabs: readonly WatchingTab[], { ids }: Person, note: object = {}): Promise<void> {
  for (const tab of tabs) await expect.poll(() => tab.seen.at(-1), { timeout: 20_000 }).toBe(ids.at(-1));
  expectExact(tabs, ids, note);
}

function expectExact(tabs: readonly WatchingTab[], ids: readonly string[], note: object): void {
  for (const { start, seen, over } of tabs) {
    const first = start ?? (seen.length === 0 ? ids.length : ids.indexOf(seen[0]!));
    expect({ ...note, start, over, seen }).toEqual({
      ...note,
      start,
      over: undefined,
      seen: ids.slice(first, first + seen.length),
    });
  }
}

test('tabs of a session share a connection; those of another, and those that ask for it, have one of their own', async () => {
  const person = await Person.signIn();
  const before = kith.subscriptions();
  const tabs = Array.from({ length: 4 }, () => new WatchingTab(person));
  await expectLive(tabs);
  await expect.poll(() => kith.subscriptions() - before).toBe(2);
  const alone = new WatchingTab(person, { shared: false });
  const stranger = await Person.signIn();
  const other = new WatchingTab(stranger);
  await expectLive([alone, other]);
  await expect.poll(() => kith.subscriptions() - before).toBe(6);
  await stranger.create();
  await person.create();
  await expectAll([...tabs, alone], person);
  await expectAll([other], stranger);
  const { held = [] } = await navigator.locks.query();
  const names = held.map(({ name }) => name!).filter((name) => name.startsWith('kith.watch '));
  expect(names).toEqual([expect.stringMatching(/^kith\.watch [0-9a-f]{64}$/), expect.any(String)]);
  expect(names[0]).not.toBe(names[1]);
  for (const tab of [...tabs, alone, other]) await tab.leave();
  await expect.poll(() => kith.subscriptions()).toBe(before);
});

test('a tab begins where it says, whether that is before the place of the one that holds the connection or behind it', async () => {
  const person = await Person.signIn();
  for (let i = 0; i < 3; i++) await person.create();
  const holder = new WatchingTab(person, { start: 1 });
  const tabs = [0, 1, 2, 3, undefined].map((start) => new WatchingTab(person, { start }));
  await expectLive([holder, ...tabs]);
  await person.create();
  await expectAll([holder, ...tabs], person);
  await holder.leave();
  await person.create();
  await expectAll(tabs, person);
  for (const tab of tabs) await tab.leave();
});

test('a tab whose watch is refused says so, and the next ones find out by themselves', async () => {
  const person = await Person.signIn();
  const { userId } = await Person.signIn();
  const tabs = Array.from({ length: 3 }, () => new WatchingTab(person, { userId }));
  const refused = { reason: 'PERMISSION_MISSING' };
  await expect.poll(() => tabs.map(({ over }) => over), { timeout: 5_000 }).toMatchObject(tabs.map(() => refused));
});

test('what is more than is held for a tab, it reads by itself, from where it stood or began', async () => {
  const person = await Person.signIn();
  const tabs = Array.from({ length: 3 }, () => new WatchingTab(person));
  await expectLive(tabs);
  for (const slow of tabs.slice(0, 2)) slow.stand(); // the first of them holds the connection
  const recording = kith.client(ActivityService, (await kith.admin()).accessToken);
  const ids: string[] = [];
  for (let i = 0; i < 25; i++) {
    const of = Array.from({ length: 100 }, () => ({
      userId: person.userId,
      action: 'kith_test.many',
      id: randomUUID(),
    }));
    await recording.recordUserActivity({ activities: of });
    ids.push(...of.map(({ id }) => id));
  }
  tabs.push(new WatchingTab(person, { start: 0 }));
  const expectIds = async (tab: WatchingTab) => {
    await expect.poll(() => tab.seen.length, { timeout: 20_000 }).toBe(ids.length);
  };
  for (const tab of tabs.slice(2)) await expectIds(tab);
  for (const slow of tabs.slice(0, 2)) slow.go();
  for (const tab of tabs) {
    await expectIds(tab);
    expect(tab).toMatchObject({ seen: ids, over: undefined });
  }
  await expectLive(tabs);
  await person.create();
  for (const tab of tabs) await expect.poll(() => tab.seen.slice(ids.length)).toEqual(person.ids);
  for (const tab of tabs) await tab.leave();
});

test('a tab that stands still takes its time, and delays no other', async () => {
  const person = await Person.signIn();
  const tabs = Array.from({ length: 3 }, () => new WatchingTab(person));
  await expectLive(tabs);
  for (const slow of tabs.slice(0, 2)) slow.stand();
  for (let i = 0; i < 20; i++) await person.create();
  await expectAll(tabs.slice(2), person);
  for (const slow of tabs) slow.go();
  await expectAll(tabs, person);
  for (const tab of tabs) await tab.leave();
});

test.runIf(process.env['KITH_TEST_FULL'])(
  'a lock whose holder says nothing is taken from it, and nothing waits for that',
  {
    timeout: 60_000,
  },
  async () => {
    const person = await Person.signIn();
    const tabs = Array.from({ length: 2 }, () => new WatchingTab(person));
    await expectLive(tabs);
    const { held = [] } = await navigator.locks.query();
    const lost = navigator.locks.request(held[0]!.name!, { steal: true }, () => new Promise(() => {}));
    await person.create();
    await expectAll(tabs, person);
    await expect(lost).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    await expectLive(tabs);
    await person.create();
    await expectAll(tabs, person);
    for (const tab of tabs) await tab.leave();
  },
);

test('while tabs come, go, stand still, are cut off and lose the lock, each gets each activity once, in order', {
  timeout: 300_000,
}, async () => {
  const seed = process.env['KITH_SEED'] ?? String(Date.now());
  const random = new Random(seed);
  for (let round = 0; round < sizeOf('KITH_TAB_ROUNDS', 1, 50); round++) {
    const person = await Person.signIn();
    const tabs: WatchingTab[] = [new WatchingTab(person), new WatchingTab(person)];
    const left: WatchingTab[] = [];
    for (let step = 0; step < 60; step++) {
      const dice = random.int(0, 11);
      const any = () => tabs[random.int(0, tabs.length - 1)]!;
      if (dice < 5) await person.create();
      else if (dice === 5) tabs.push(new WatchingTab(person));
      else if (dice === 6) tabs.push(new WatchingTab(person, { start: random.int(0, person.ids.length) }));
      else if (dice === 7 && tabs.length > 1) left.push(...tabs.splice(random.int(0, tabs.length - 1), 1));
      else if (dice === 8) relay.cut(() => random.chance(0.5));
      else if (dice === 9) any().stand();
      else if (dice === 10) await stealLocks();
      else await sleep(random.int(0, 60));
      for (const tab of tabs) if (random.chance(0.3)) tab.go();
      for (const tab of left) await tab.leave();
    }
    for (const tab of tabs) tab.go();
    await expectLive(tabs);
    await person.create();
    await expectAll(tabs, person, { seed });
    expectExact(left, person.ids, { seed });
    for (const tab of tabs) await tab.leave();
  }
});

/** Takes the locks of all watches from those who hold them, and gives them back. */
async function stealLocks(): Promise<void> {
  const { held = [] } = await navigator.locks.query();
  for (const { name } of held) await navigator.locks.request(name!, { steal: true }, () => {});
}
