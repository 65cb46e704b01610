import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRelay } from '../../check/relay.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { hasChromium, needChromium, type PageServer, servePages, startChromium } from '../support/browser.ts';
import type { ContactsTab } from '../support/contacts-tab.ts';
import { type Kith, startKith } from '../support/kith.ts';

let browser: Browser;
let pages: PageServer;
let kith: Kith;
beforeAll(async () => {
  if (!hasChromium) return;
  pages = await servePages('test/support/contacts-tab.ts');
  [browser, kith] = await Promise.all([
    startChromium(),
    startKith({ env: { KITH_CORS_ORIGINS: `http://localhost:${pages.port}` } }),
  ]);
});
afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, kith, pages];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

async function openTab(context: BrowserContext, address: string, userId: string, isBroken = false): Promise<Page> {
  const tab = await context.newPage();
  await tab.goto(`http://localhost:${pages.port}`);
  await tab.waitForFunction(() => 'contactsTab' in globalThis);
  await tab.evaluate(([url, id, broken]) => globalThis.contactsTab.open(url, id, broken), [
    address,
    userId,
    isBroken,
  ] as const);
  return tab;
}

/** A user of a browser, whose calls go over a relay. */
async function start() {
  const { user, password, accessToken } = await kith.user();
  const relay = await startRelay();
  relay.upstream = kith.address;
  const context = await browser.newContext();
  const calls: string[] = [];
  context.on('request', (request) => calls.push(new URL(request.url()).pathname.split('/').at(-1)!));
  const tab = await openTab(context, relay.address, user.id);
  await tab.evaluate(([name, secret]) => globalThis.contactsTab.signIn(name!, secret!), [user.username, password]);
  return {
    user,
    relay,
    context,
    tab,
    calls,
    client: kith.client(ContactService, accessToken),
    async [Symbol.asyncDispose]() {
      await context.close();
      await relay[Symbol.asyncDispose]();
    },
  };
}

const list = (tab: Page): Promise<ReturnType<ContactsTab['list']>> => tab.evaluate(() => globalThis.contactsTab.list());
const create = (tab: Page, name: string) => tab.evaluate((given) => globalThis.contactsTab.create(given), name);
const sync = (tab: Page) => tab.evaluate(() => globalThis.contactsTab.sync());
async function expectList(tab: Page, expected: readonly string[]): Promise<void> {
  await expect.poll(() => list(tab), { timeout: 20_000 }).toEqual(expected);
}

test('contacts that are changed without a connection are there after the tab is closed, and are sent once', async (context) => {
  needChromium(context);
  await using all = await start();
  const { relay, client, user } = all;
  expect(await sync(all.tab)).toBe('done');
  relay.upstream = undefined;
  relay.cut(() => true);
  const id = await create(all.tab, 'Grace');
  await all.tab.evaluate((given) => globalThis.contactsTab.update(given, 'offline'), id);
  expect(await sync(all.tab)).toBe('Unavailable');
  await all.tab.close();

  const tab = await openTab(all.context, relay.address, user.id);
  expect(await list(tab)).toEqual(['Grace offline pending']);
  relay.upstream = kith.address;
  // Closed in the middle of sending, which is then unknown to the next.
  const sending = tab.evaluate(() => void globalThis.contactsTab.sync());
  await expect.poll(() => all.calls.includes('BatchCreateContacts')).toBe(true);
  await tab.close();
  await sending.catch(() => {});
  const next = await openTab(all.context, relay.address, user.id);
  expect(await sync(next)).toBe('done');
  expect(await list(next)).toEqual(['Grace offline synced']);
  expect((await client.listContacts({})).contacts).toMatchObject([{ givenName: 'Grace', notes: 'offline' }]);
});

test('tabs see what others change, and one of them synchronises for all', async (context) => {
  needChromium(context);
  await using all = await start();
  const others = await Promise.all([1, 2].map(() => openTab(all.context, all.relay.address, all.user.id)));
  const tabs = [all.tab, ...others];
  for (const tab of tabs) await tab.evaluate(() => globalThis.contactsTab.keepSynced());
  const [one, two, three] = tabs as [Page, Page, Page];
  await create(two, 'Grace');
  for (const tab of tabs) await expectList(tab, ['Grace  synced']);
  await all.client.createContact({ givenName: 'Theirs' });
  for (const tab of tabs) await expectList(tab, ['Grace  synced', 'Theirs  synced']);
  const before = all.calls.filter((call) => call === 'BatchCreateContacts').length;
  expect(before).toBe(1);

  // The tab that synchronises is closed: another one goes on.
  await one.close();
  await Promise.all([create(two, 'Two'), create(three, 'Three')]);
  for (const tab of [two, three])
    await expectList(tab, ['Grace  synced', 'Theirs  synced', 'Three  synced', 'Two  synced']);
  expect((await all.client.listContacts({})).contacts).toHaveLength(4);
  expect(await two.evaluate(() => globalThis.contactsTab.told().errors)).toEqual([]);

  await two.evaluate(() => globalThis.contactsTab.clear());
  const names = await two.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  expect(names).toEqual([`kith.contacts ${all.user.id}`]);
});

// Chromium takes half a minute to notice.
test.skipIf(process.env['KITH_TEST_FULL'] === undefined)(
  'a device without room says so, and keeps what it has',
  async (context) => {
    needChromium(context);
    await using all = await start();
    await create(all.tab, 'Grace');
    const devtools = await all.context.newCDPSession(all.tab);
    const origin = `http://localhost:${pages.port}`;
    await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
    await expect.poll(() => create(all.tab, 'Many '.repeat(30))).toBe('STORAGE_FULL');
    const tab = await openTab(all.context, all.relay.address, all.user.id);
    expect((await list(tab)).filter((line) => line.startsWith('Grace'))).toEqual(['Grace  pending']);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin });
    await expect.poll(() => create(all.tab, 'Room')).not.toBe('STORAGE_FULL');
  },
);

test('a step that cannot be written leaves nothing behind, and another user finds nothing', async (context) => {
  needChromium(context);
  await using all = await start();
  await create(all.tab, 'Grace');
  const broken = await openTab(all.context, all.relay.address, all.user.id, true);
  expect(await create(broken, 'Half')).toBe('STORAGE_UNAVAILABLE');
  expect(await list(broken)).toEqual(['Grace  pending']);
  const again = await openTab(all.context, all.relay.address, all.user.id);
  expect(await list(again)).toEqual(['Grace  pending']);

  const other = await kith.user();
  const foreign = await openTab(all.context, all.relay.address, other.user.id);
  expect(await list(foreign)).toEqual([]);
  // Still signed in as the first.
  expect(await sync(foreign)).toBe('OTHER_USER');
});
