import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { startRelay } from '../../check/relay.ts';
import { hasChromium, needChromium, type PageServer, servePages, startChromium } from '../support/browser.ts';
import { databases, type TestDatabase } from '../support/databases.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { signedIn } from '../support/sign-in.ts';
import type { Tab } from '../support/tab.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';

let browser: Browser;
let pages: PageServer;
/** Of PostgreSQL, so that another server can take the place of the first. */
let database: TestDatabase;
let kith: Kith;

const start = () => startKith({ env: { KITH_CORS_ORIGINS: origin() }, database });

beforeAll(async () => {
  if (!hasChromium) return;
  pages = await servePages('test/support/tab.ts');
  database = await databases[1]!.create();
  [browser, kith] = await Promise.all([startChromium(), start()]);
});
afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, kith, database, pages];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

const origin = () => `http://localhost:${pages.port}`;

/** Tabs of one browser, signed in as one user, and what they call. */
async function openTabs(count: number, address = kith.address) {
  const { user, password } = await kith.user();
  const context = await browser.newContext();
  const calls: string[] = [];
  context.on('request', (request) => {
    if (request.method() === 'POST') calls.push(new URL(request.url()).pathname.split('/').at(-1)!);
  });
  const tabs: Page[] = [];
  for (let i = 0; i < count; i++) tabs.push(await openTab(context, address));
  await tabs[0]!.evaluate(([name, secret]) => globalThis.tab.signIn(name!, secret!), [user.username, password]);
  const countOf = (method: string) => calls.filter((call) => call === method).length;
  return { user, password, context, tabs, countOf, [Symbol.asyncDispose]: () => context.close() };
}

async function openTab(context: BrowserContext, address: string, key = 'kith.session'): Promise<Page> {
  const tab = await context.newPage();
  await tab.goto(origin());
  await tab.waitForFunction(() => 'tab' in globalThis);
  await tab.evaluate(([url, name]) => globalThis.tab.open(url!, 'connect', name), [address, key]);
  return tab;
}

const told = (tab: Page): Promise<ReturnType<Tab['told']>> => tab.evaluate(() => globalThis.tab.told());
const allTold = (tabs: readonly Page[]) => Promise.all(tabs.map(told));
const callFromAll = (tabs: readonly Page[]) =>
  Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.tab.call(5)))).then((answers) => answers.flat());

/** What a tab watches, and from where. */
const watch = (tab: Page, userId: string, from = '') =>
  tab.evaluate(([id, cursor]) => globalThis.tab.watch(id!, cursor!), [userId, from]);
const create = (tab: Page) => tab.evaluate(() => globalThis.tab.create('Grace'));
const cursorOf = (tab: Page, userId: string) => tab.evaluate((id) => globalThis.tab.cursor(id), userId);
async function expectLive(tabs: readonly Page[]): Promise<void> {
  const states = async () => (await allTold(tabs)).map(({ state }) => state);
  await expect.poll(states, { timeout: 30_000 }).toEqual(tabs.map(() => 'live'));
}

/** Each tab has seen these, once and in this order. */
async function expectSeen(tabs: readonly Page[], expected: readonly string[]): Promise<void> {
  const seen = async () => (await allTold(tabs)).map((one) => one.seen.length);
  await expect.poll(seen, { timeout: 30_000 }).toEqual(tabs.map(() => expected.length));
  for (const one of await allTold(tabs)) expect(one).toMatchObject({ seen: expected, over: undefined });
}

async function holderOf(tabs: readonly Page[]): Promise<Page> {
  const holds = await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.tab.isHolder())));
  expect(holds.filter((isHolder) => isHolder)).toHaveLength(1);
  return tabs[holds.indexOf(true)]!;
}

test('twenty tabs watch over one connection of HTTP/1.1, whichever of them holds it', {
  timeout: 180_000,
}, async (context) => {
  needChromium(context);
  await using relay = await startRelay();
  relay.upstream = kith.address;
  await using all = await openTabs(20, relay.address);
  const { tabs, user } = all;
  const begin = await cursorOf(tabs[0]!, user.id);
  await Promise.all(tabs.map((tab) => watch(tab, user.id)));
  await expectLive(tabs);
  const expected: string[] = [];
  for (const tab of [tabs[0]!, tabs[7]!, tabs[19]!]) expected.push(await create(tab));
  await expectSeen(tabs, expected);
  await expect.poll(() => kith.subscriptions()).toBe(2); // of one watch
  expect(relay.connections()).toBeLessThanOrEqual(6);

  // Somebody else who has signed in in the same browser.
  const other = await kith.user();
  const stranger = await openTab(all.context, relay.address, 'kith.other');
  await stranger.evaluate(
    ([name, secret]) => globalThis.tab.signIn(name!, secret!),
    [other.user.username, other.password],
  );
  await watch(stranger, other.user.id);
  await expectLive([stranger]);
  const strange = await create(stranger);
  expected.push(await create(tabs[3]!));
  await expectSeen([stranger], [strange]);
  await expectSeen(tabs, expected);
  expect(kith.subscriptions()).toBe(4);
  await stranger.close();

  // The holder is closed, and nothing runs in it any more.
  let open = [...tabs];
  for (let i = 0; i < 2; i++) {
    const holder = await holderOf(open);
    const [creating] = (open = open.filter((tab) => tab !== holder));
    await Promise.all([holder.close(), create(creating!).then((id) => expected.push(id))]);
    await expectSeen(open, expected);
  }

  // The holder is frozen, as browsers do with tabs that nobody looks at, and goes on later.
  const frozen = await holderOf(open);
  const lifecycle = await all.context.newCDPSession(frozen);
  await lifecycle.send('Page.setWebLifecycleState', { state: 'frozen' });
  const running = open.filter((tab) => tab !== frozen);
  for (let i = 0; i < 3; i++) expected.push(await create(running[i]!));
  await expectSeen(running, expected);
  await lifecycle.send('Page.setWebLifecycleState', { state: 'active' });
  await expectSeen(open, expected);

  // The server is started again.
  relay.upstream = undefined;
  relay.cut(() => true);
  await expect.poll(async () => (await told(open[0]!)).state).toBe('connecting');
  await using again = await start();
  relay.upstream = again.address;
  expected.push(await create(open[5]!));
  await expectSeen(open, expected);
  await expectLive(open);
  await expect.poll(() => again.subscriptions()).toBe(2);
  expect(relay.connections()).toBeLessThanOrEqual(6);

  // One that comes later goes on from its own cursor.
  const late = await openTab(all.context, relay.address);
  await watch(late, user.id, begin);
  await expectSeen([late], expected);
  expected.push(await create(late));
  await expectSeen([...open, late], expected);
  expect(await holderOf(open)).not.toBe(late);
});

test('tabs with an expired token make one refresh, and each is told once that the session is over', async (context) => {
  needChromium(context);
  await using all = await openTabs(10);
  const { tabs, user } = all;
  expect(new Set(await callFromAll(tabs))).toEqual(new Set([user.username]));
  expect(all.countOf('RefreshAccessToken')).toBe(0);
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  expect(new Set(await callFromAll(tabs))).toEqual(new Set([user.username]));
  expect(all.countOf('RefreshAccessToken')).toBe(1);

  const again = kith.client(AuthService).login({ identifier: user.username, password: all.password });
  const { accessToken } = await signedIn(again);
  await kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
  expect(new Set(await callFromAll(tabs))).toEqual(new Set(['SESSION_ENDED']));
  expect((await allTold(tabs)).map(({ ends }) => ends)).toEqual(tabs.map(() => ['SESSION_ENDED']));
  const sent = all.countOf('UserMe');
  await callFromAll(tabs);
  expect(all.countOf('UserMe')).toBe(sent);
});
