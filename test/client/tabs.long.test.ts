import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { hasChromium, needChromium, type PageServer, servePages, startChromium } from '../support/browser.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { signedIn } from '../support/sign-in.ts';
import type { Tab } from '../support/tab.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';

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
