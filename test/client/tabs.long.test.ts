import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { hasChromium, needChromium, type PageServer, servePages, startChromium } from '../support/browser.ts';
import { sizeOf } from '../support/full-size.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { signedIn } from '../support/sign-in.ts';
import type { Tab } from '../support/tab.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';

/** More than the six connections that a browser opens to one server over HTTP/1.1. */
const TABS = sizeOf('KITH_TABS', 8, 20);

let browser: Browser;
let pages: PageServer;
let kith: Kith;

beforeAll(async () => {
  if (!hasChromium) return;
  pages = await servePages('test/support/tab.ts');
  const env = { KITH_CORS_ORIGINS: `http://localhost:${pages.port}` };
  [browser, kith] = await Promise.all([startChromium(), startKith({ env })]);
});
afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, kith, pages];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

/** Tabs of one browser, signed in as one user, and what they call. */
async function openTabs(count: number) {
  const { user, password } = await kith.user();
  const context = await browser.newContext();
  const calls: string[] = [];
  context.on('request', (request) => {
    if (request.method() === 'POST') calls.push(new URL(request.url()).pathname.split('/').at(-1)!);
  });
  const tabs: Page[] = [];
  for (let i = 0; i < count; i++) tabs.push(await openTab(context));
  await tabs[0]!.evaluate(([name, secret]) => globalThis.tab.signIn(name!, secret!), [user.username, password]);
  const countOf = (method: string) => calls.filter((call) => call === method).length;
  return { user, password, context, tabs, countOf, [Symbol.asyncDispose]: () => context.close() };
}

async function openTab(context: BrowserContext): Promise<Page> {
  const tab = await context.newPage();
  await tab.goto(`http://localhost:${pages.port}`);
  await tab.waitForFunction(() => 'tab' in globalThis);
  await tab.evaluate((url) => globalThis.tab.open(url, 'connect'), kith.address);
  return tab;
}

const told = (tab: Page): Promise<ReturnType<Tab['told']>> => tab.evaluate(() => globalThis.tab.told());
const allTold = (tabs: readonly Page[]) => Promise.all(tabs.map(told));
const callFromAll = (tabs: readonly Page[]) =>
  Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.tab.call(5)))).then((answers) => answers.flat());

test('more tabs than a browser has connections watch over one, whichever of them holds it', async (context) => {
  needChromium(context);
  await using all = await openTabs(TABS);
  const { tabs, user } = all;
  const watch = (tab: Page, from = '') =>
    tab.evaluate(([userId, cursor]) => globalThis.tab.watch(userId!, cursor!), [user.id, from]);
  const create = (tab: Page) => tab.evaluate(() => globalThis.tab.create('Grace'));
  const start = await tabs[0]!.evaluate((userId) => globalThis.tab.cursor(userId), user.id);
  const expected: string[] = [];
  const expectAll = async (open: readonly Page[], from = 0) => {
    await expect
      .poll(async () => (await allTold(open)).map(({ seen }) => seen.length))
      .toEqual(open.map(() => expected.length - from));
    for (const { seen, over } of await allTold(open)) {
      expect({ seen, over }).toEqual({ seen: expected.slice(from), over: undefined });
    }
  };

  const expectLive = async (open: readonly Page[]) => {
    await expect.poll(async () => (await allTold(open)).map(({ state }) => state)).toEqual(open.map(() => 'live'));
  };

  await watch(tabs[0]!);
  await expectLive(tabs.slice(0, 1));
  await Promise.all(tabs.slice(1).map((tab) => watch(tab)));
  await expectLive(tabs);
  for (const tab of tabs.slice(-3)) expected.push(await create(tab));
  await expectAll(tabs);
  expect(all.countOf('WatchUserActivity')).toBe(1);

  // The first holds the connection; then another one, and so on.
  const left = [...tabs];
  for (let closed = 1; closed <= 3; closed++) {
    await left.shift()!.close();
    expected.push(await create(left.at(-1)!));
    await expectAll(left);
  }
  const connections = all.countOf('WatchUserActivity');
  expect([2, 3, 4]).toContain(connections);

  // One that comes later goes on from its own cursor, and leaves the connection to the others.
  const late = await openTab(all.context);
  await watch(late, start);
  await expectAll([late]);
  expected.push(await create(late));
  await expectAll([...left, late]);

  // A watch that is left holds nothing up.
  await left[0]!.evaluate(() => globalThis.tab.leave());
  expected.push(await create(late));
  await expectAll([...left.slice(1), late]);
  await expect.poll(() => kith.subscriptions()).toBe(2); // of one watch
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
