import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { hasChromium, needChromium, startChromium } from './support/browser.ts';
import { buildConsole, faultsOf, signInOn, type Visitor, visit } from './support/console.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from './support/kith.ts';

const DIST = 'packages/console/dist';

let browser: Browser;
let kith: Kith;
beforeAll(async () => {
  await buildConsole();
  if (!hasChromium) return;
  [browser, kith] = await Promise.all([startChromium(), startKith()]);
});
afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, kith];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

/** Signs in as the admin, and opens a page. */
async function enter(visitor: Visitor, path = ''): Promise<Page> {
  const page = await visitor.open(path);
  await signInOn(page, 'admin', ADMIN_PASSWORD);
  await page.getByRole('navigation').waitFor();
  return page;
}

/** A user whose name would be markup, if anything took it for that. */
async function awkwardUser() {
  const { user } = await kith.user(Role.EDITOR);
  const users = kith.client(UserService, (await kith.admin()).accessToken);
  const name = `<img src=x onerror="complain('ran')"> ${user.username.slice(0, 9)}`;
  await users.updateUser({ userId: user.id, name });
  return { id: user.id, name, username: user.username, users };
}

describe('every page', () => {
  test.for(['light', 'dark'] as const)(
    'is accessible, fits into 360 pixels and breaks no policy: %s',
    async (colorScheme, context) => {
      needChromium(context);
      const { id } = await awkwardUser();
      const { accessToken } = await kith.admin();
      const { contact } = await kith.client(ContactService, accessToken).createContact({
        givenName: '<script>complain("ran")</script>',
        emails: [{ address: 'grace@example.org', type: 'work' }],
        urls: [{ url: 'https://example.org/' }],
        notes: 'line\nline',
      });
      await using visitor = await visit(browser, kith.address, { colorScheme });
      const page = await visitor.open();
      await page.getByRole('heading', { name: 'Sign in' }).waitFor();
      const found = [await faultsOf(page, 'sign-in')];
      await signInOn(page, 'admin', ADMIN_PASSWORD);
      await page.getByRole('navigation').waitFor();
      for (const path of [
        '',
        'users',
        `users/${id}`,
        'users/invitations',
        'users/import',
        'activity',
        'outbox',
        'contacts',
        'contacts/import',
        `contacts/${contact!.id}`,
        'account',
        'none',
      ]) {
        await page.goto(`${kith.address}/console/${path}`);
        await page.locator('main h1').waitFor();
        await expect.poll(() => page.locator('.skeleton').count()).toBe(0);
        found.push(await faultsOf(page, path));
      }
      await page.keyboard.press('Control+k');
      await page.getByRole('dialog', { name: 'Commands' }).waitFor();
      found.push(await faultsOf(page, 'commands'));
      expect(found.flat()).toEqual([]);
      expect(visitor.complaints).toEqual([]);
    },
  );
});

test('a user is found, created, edited against another save, deleted and taken back', async (context) => {
  needChromium(context);
  await using visitor = await visit(browser, kith.address);
  const page = await enter(visitor, 'users');
  const username = `in-a-browser-${Date.now()}`;

  // By the keyboard alone.
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  await page.locator('body').press('n');
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('Grace Hopper');
  await dialog.getByLabel('Username').fill('-');
  await dialog.getByLabel('Email').fill(`${username}@example.org`);
  await dialog.getByLabel('Password').fill('nanoseconds of wire');
  await page.keyboard.press('Enter');
  await dialog.getByText('Use 3 to 64 letters').waitFor();
  await dialog.getByLabel('Username').fill(username);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Grace Hopper' }).waitFor();
  const userId = new URL(page.url()).pathname.split('/').at(-1)!;

  await page.getByRole('button', { name: 'Edit' }).click();
  await dialog.getByLabel('Name', { exact: true }).fill('Rear Admiral Hopper');
  const users = kith.client(UserService, (await kith.admin()).accessToken);
  await users.updateUser({ userId, name: 'Grace Brewster Hopper', role: Role.EDITOR });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('Somebody else saved in between').waitFor();
  await dialog.getByRole('radio', { name: 'Grace Brewster Hopper' }).waitFor();
  await dialog.getByRole('radio', { name: 'Rear Admiral Hopper' }).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'Rear Admiral Hopper' }).waitFor();
  // What only the other has changed is kept.
  expect((await users.getUser({ userId })).user).toMatchObject({ name: 'Rear Admiral Hopper', role: Role.EDITOR });

  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Rear Admiral Hopper is back').waitFor();
  await page.getByRole('button', { name: 'Suspend' }).click();
  await page.getByRole('button', { name: 'Activate' }).waitFor();

  await page.getByRole('link', { name: 'Users', exact: true }).first().click();
  await page.getByRole('searchbox').fill(username);
  await page.getByRole('link', { name: /Rear Admiral Hopper/ }).waitFor();
  await page.getByLabel('State').selectOption('Suspended');
  expect(new URL(page.url()).search).toBe(`?q=${username}&state=2`);
  await page.reload();
  await page.getByRole('link', { name: /Rear Admiral Hopper/ }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('activity appears as it happens, waits while it is paused, and a name that is markup is text', async (context) => {
  needChromium(context);
  const { id, name, users } = await awkwardUser();
  await using visitor = await visit(browser, kith.address);
  const page = await enter(visitor, `activity?user=${id}`);
  await page.getByText('Live', { exact: true }).waitFor();
  const entries = page.locator('.activities li');
  const before = await entries.count();
  await users.updateUser({ userId: id, locale: 'de' });
  await expect.poll(() => entries.count()).toBe(before + 1);
  await page.getByRole('button', { name: 'Pause' }).click();
  for (const locale of ['en', 'fr']) await users.updateUser({ userId: id, locale });
  await page.getByRole('button', { name: '2 new' }).click();
  await expect.poll(() => entries.count()).toBe(before + 3);

  await page.goto(`${kith.address}/console/users/${id}`);
  await page.getByRole('heading', { name }).waitFor();
  await page.getByRole('button', { name: 'As curl' }).first().click();
  await page.getByText('UserService/GetUser').waitFor();
  expect(visitor.complaints).toEqual([]);
});

interface Chunk {
  readonly file: string;
  readonly css?: readonly string[];
  readonly imports?: readonly string[];
}

/** What is loaded for these modules, as gzip sends it, kB. */
function sizeOf(...modules: readonly string[]): number {
  const manifest = JSON.parse(readFileSync(join(DIST, '.vite/manifest.json'), 'utf8')) as Record<string, Chunk>;
  const files = new Set<string>();
  const seen = new Set<string>();
  const add = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    const chunk = manifest[name];
    if (chunk === undefined) throw new Error(`the build has no ${name}`);
    for (const file of [chunk.file, ...(chunk.css ?? [])]) files.add(file);
    for (const imported of chunk.imports ?? []) add(imported);
  };
  for (const name of ['index.html', ...modules]) add(name);
  const bytes = [...files].reduce((sum, file) => sum + readFileSync(join(DIST, `${file}.gz`)).length, 0);
  return (bytes + readFileSync(join(DIST, 'index.html')).length) / 1000;
}

test('the sign-in page has 60 kB at the most', () => {
  expect(sizeOf('src/sign-in/sign-in.ts')).toBeLessThan(60);
});

test.for([
  'overview',
  'users',
  'user',
  'invitations',
  'import-users',
  'activity',
  'outbox',
  'contacts',
  'import-contacts',
  'account',
])('the first load of a page has 170 kB at the most: %s', (page) => {
  const size = sizeOf('src/app/start.tsx', 'src/app/texts-de.ts', `src/app/pages/${page}.tsx`);
  expect(size).toBeLessThan(170);
});
