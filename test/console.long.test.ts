import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn, tabTo, type Visitor } from './support/console.ts';
import { ADMIN_PASSWORD } from './support/kith.ts';
import { startSite } from './support/site.ts';

const DIST = 'packages/console/dist';

const site = startSite();

/** Signs in as the admin, and opens a page. */
async function enter(visitor: Visitor, path = ''): Promise<Page> {
  const page = await visitor.open(path);
  await signInOn(page, 'admin', ADMIN_PASSWORD);
  await page.getByRole('navigation').waitFor();
  return page;
}

/** A user whose name would be markup, if anything took it for that. */
async function awkwardUser() {
  const { user } = await site.kith.user(Role.EDITOR);
  const users = site.kith.client(UserService, (await site.kith.admin()).accessToken);
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
      const { accessToken } = await site.kith.admin();
      const { contact } = await site.kith.client(ContactService, accessToken).createContact({
        givenName: '<script>complain("ran")</script>',
        emails: [{ address: 'grace@example.org', type: 'work' }],
        urls: [{ url: 'https://example.org/' }],
        notes: 'line\nline',
      });
      for (const nickname of ['G', ''])
        await site.kith.client(ContactService, accessToken).createContact({
          givenName: 'Grace',
          company: '<img src=x onerror="complain(1)">',
          nickname,
        });
      await using visitor = await site.visit({ colorScheme });
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
        'settings',
        'settings/mail',
        'contacts',
        'contacts/duplicates',
        'contacts/import',
        `contacts/${contact!.id}`,
        'account',
        'none',
      ]) {
        await page.goto(`${site.kith.address}/console/${path}`);
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
  await using visitor = await site.visit();
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
  const users = site.kith.client(UserService, (await site.kith.admin()).accessToken);
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
  await using visitor = await site.visit();
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

  await page.goto(`${site.kith.address}/console/users/${id}`);
  await page.getByRole('heading', { name }).waitFor();
  await page.getByRole('button', { name: 'As code' }).first().click();
  await page.getByText('UserService/GetUser').waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('charts of the overview tell what they draw in a sentence and in a table, and are drawn anew in the dark', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ colorScheme: 'light' });
  const page = await enter(visitor);
  const auth = site.kith.client(AuthService);
  const { user } = await site.kith.user();
  for (const password of ['wrong', 'wronger'])
    await auth.login({ identifier: user.username, password }).catch(() => {});
  await page.reload();
  const signIns = page.getByRole('figure', { name: 'Sign-ins' });
  const drawn = signIns.getByRole('img', { name: /^[1-9][\d,]* sign-ins and [2-9]\d* failed ones\.$/ });
  await drawn.waitFor();
  const [, failed] = /and (\d+) failed/.exec((await drawn.getAttribute('aria-label'))!)!;
  await signIns.getByText('As a table').click();
  const cells = await signIns.getByRole('row').getByRole('cell').allInnerTexts();
  expect(cells).toHaveLength(2 * 24);
  expect(cells.filter((_, i) => i % 2 === 1).reduce((sum, text) => sum + Number(text), 0)).toBe(Number(failed));

  const rate = page.getByRole('figure', { name: 'Activities per second' });
  await rate.getByRole('img', { name: /per second now/ }).waitFor();
  const colorOf = () =>
    drawn.locator('canvas').evaluate((canvas) => {
      const { data } = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, 400, 300);
      return data.findLast((_, i) => i % 4 === 0 && data[i + 3]! > 0);
    });
  const before = await colorOf();
  await page.getByLabel('Colors').selectOption('Dark');
  await expect.poll(colorOf).not.toBe(before);
  await page.getByLabel('Period').selectOption('Last hour');
  await expect.poll(() => signIns.getByRole('row').count()).toBe(61);
  expect(await faultsOf(page, 'charts')).toEqual([]);
  expect(visitor.complaints).toEqual([]);
});

test('the main ways through the console take a keyboard and nothing else', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await visitor.open();
  const { keyboard } = page;
  const username = `by-keyboard-${Date.now()}`;
  const dialog = page.getByRole('dialog');
  const heading = (name: string) => page.getByRole('heading', { name, exact: true });
  const focused = page.locator(':focus');
  const type = async (label: string, text: string) => {
    await tabTo(dialog.getByLabel(label, { exact: true }));
    await keyboard.press('Control+a');
    await keyboard.type(text);
  };
  const press = async (name: string, within: Page | Locator = page) => {
    await tabTo(within.getByRole('button', { name, exact: true }).last());
    await keyboard.press('Enter');
  };

  // The sign-in page has the focus where one begins.
  await tabTo(page.getByLabel('Username or email'));
  await keyboard.type('admin');
  await keyboard.press('Tab');
  await keyboard.type(ADMIN_PASSWORD);
  await keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await tabTo(page.getByRole('link', { name: 'Skip to the content' }));
  await keyboard.press('Enter');
  expect(await focused.getAttribute('id')).toBe('content');

  // To a page by its name, and back where one was when that is given up.
  const typeCommand = async (text: string, key: string) => {
    await keyboard.press('Control+k');
    await dialog.getByRole('combobox').and(focused).waitFor();
    await keyboard.type(text);
    await keyboard.press(key);
    await dialog.waitFor({ state: 'detached' });
  };
  await typeCommand('user', 'Escape');
  await typeCommand('users', 'Enter');
  await heading('Users').waitFor();
  await keyboard.press('n');
  await type('Name', 'Ada Lovelace');
  await type('Username', username);
  await type('Email', `${username}@example.org`);
  await type('Password', 'notes by the translator');
  await keyboard.press('Enter');
  await heading('Ada Lovelace').waitFor();
  await press('Edit');
  await type('Name', 'Ada King');
  await press('Save', dialog);
  await heading('Ada King').waitFor();
  await press('Suspend');
  await press('Activate');
  await press('Delete');
  await press('Undo', page.getByRole('status'));
  await page.getByText('Ada King is back').waitFor();

  // A list is searched, filtered, and one of it opened; several are selected.
  await page.locator('body').press('g');
  await keyboard.press('u');
  await heading('Users').waitFor();
  await keyboard.press('/');
  await keyboard.insertText(username);
  // The list of a search takes the place of the one before: what is focused in that one is gone.
  await expect.poll(() => page.getByRole('row').count()).toBe(2);
  await page.getByRole('row', { name: /Ada King/ }).waitFor();
  await tabTo(page.getByRole('checkbox', { name: 'Select Ada King' }));
  await keyboard.press('Space');
  await page.getByText('1 selected').waitFor();
  await tabTo(page.getByRole('link', { name: /Ada King/ }));
  await keyboard.press('Enter');
  await heading('Ada King').waitFor();

  await keyboard.press('g');
  await keyboard.press('a');
  await page.getByText('Live', { exact: true }).waitFor();
  await press('Pause');
  await press('Go on');

  await keyboard.press('g');
  await keyboard.press('m');
  const name = page.getByLabel('Name', { exact: true });
  await tabTo(name);
  await keyboard.press('End');
  await keyboard.type('!');
  await keyboard.press('Enter');
  await page.getByText(/^Saved .*!/).waitFor();
  await name.press('Backspace');
  await keyboard.press('Enter');

  await tabTo(page.getByRole('button', { name: 'Keyboard shortcuts' }), 'Shift+Tab');
  await keyboard.press('Enter');
  await dialog.getByText('Ctrl K').waitFor();
  await keyboard.press('Escape');
  expect(await focused.innerText()).toBe('Keyboard shortcuts');
  await press('Sign out');
  await heading('Sign in').waitFor();
  expect(visitor.complaints).toEqual([]);
});

interface Chunk {
  readonly file: string;
  readonly css?: readonly string[];
  readonly imports?: readonly string[];
  readonly dynamicImports?: readonly string[];
}

/** What is loaded for these modules, with the texts of each in the longer language, as gzip sends it, kB. */
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
    for (const imported of chunk.dynamicImports ?? []) if (/texts[-/]de/.test(imported)) add(imported);
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
  'mail-templates',
  'settings',
  'contacts',
  'contact-card',
  'contact-form',
  'duplicates',
  'import-contacts',
  'account',
])('the first load of a page has 170 kB at the most: %s', (page) => {
  const size = sizeOf('src/app/start.tsx', `src/app/pages/${page}.tsx`);
  expect(size).toBeLessThan(170);
});
