import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { InvitationService } from '../gen/kith/auth/v1/invitation_service_pb.ts';
import { type User, UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn } from './support/console.ts';
import { ADMIN_PASSWORD } from './support/kith.ts';
import { startSite } from './support/site.ts';

const site = startSite(() => ({ env: { KITH_SIGN_UP: 'invitation', KITH_LOGIN_CODES: 'true' } }));

async function enter(page: Page) {
  await signInOn(page, 'admin', ADMIN_PASSWORD);
  await page.getByRole('navigation').waitFor();
  return site.kith.client(UserService, (await site.kith.admin()).accessToken);
}

test('the sign-in page leads to what else people can do', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await visitor.open();
  await page.getByRole('link', { name: 'Accept an invitation' }).waitFor();
  expect(await page.getByRole('link').evaluateAll((links) => links.map((link) => link.getAttribute('href')))).toEqual([
    '/account/reset-password',
    '/account/sign-in',
    '/account/accept-invitation',
  ]);
  expect(await faultsOf(page, 'sign-in')).toEqual([]);
  await page.getByRole('link', { name: 'Forgotten' }).click();
  await page.getByRole('heading', { name: /password/i }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('a selection of users is suspended, given a role and deleted, each with what failed, and taken back', async (context) => {
  needChromium(context);
  // One after the other, since the list is in the order of their creation.
  const made = [await site.kith.user(), await site.kith.user(), await site.kith.user()];
  await using visitor = await site.visit();
  const page = await visitor.open('users');
  const users = await enter(page);
  const group = `group${Date.now()}`;
  const people: User[] = [];
  for (const [i, { user }] of made.entries())
    people.push((await users.updateUser({ userId: user.id, name: `${group} ${'ABC'[i]}` })).user!);
  const statesOf = async () =>
    Promise.all(people.map(async ({ id }) => (await users.getUser({ userId: id })).user!.state));
  const bar = page.getByRole('region', { name: 'Selection' });
  const dialog = page.getByRole('dialog');
  const select = async () => {
    await page.getByRole('checkbox', { name: `Select ${group} C` }).check();
    await page.getByRole('checkbox', { name: `Select ${group} A` }).click({ modifiers: ['Shift'] });
    await page.getByText('3 selected').waitFor();
  };

  await page.getByRole('searchbox').fill(group);
  await expect.poll(() => page.getByRole('row').count()).toBe(4);
  await select();
  expect(await faultsOf(page, 'a selection')).toEqual([]);
  await bar.getByRole('button', { name: 'Suspend' }).click();
  await page.getByText('Changed 3 users').waitFor();
  expect(await statesOf()).toEqual([UserState.SUSPENDED, UserState.SUSPENDED, UserState.SUSPENDED]);
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Taken back: 3').waitFor();
  expect(await statesOf()).toEqual([UserState.ACTIVE, UserState.ACTIVE, UserState.ACTIVE]);

  await expect.poll(() => page.getByRole('row').filter({ hasText: 'Active' }).count()).toBe(3);

  // One that somebody else has changed meanwhile is told, with why, and the others are done.
  await select();
  await users.updateUser({ userId: people[1]!.id, name: `${group} B!` });
  await bar.getByLabel('Role').selectOption('Admin');
  await bar.getByRole('button', { name: 'Give role' }).click();
  await dialog.getByText('3 of 3 1 failed.').waitFor();
  await dialog.getByRole('row').first().getByText('Somebody else has changed this').waitFor();
  expect(await faultsOf(page, 'results')).toEqual([]);
  await dialog.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Taken back: 2').waitFor();
  for (const { id } of people) expect((await users.getUser({ userId: id })).user!.role).toBe(Role.VIEWER);

  await expect.poll(() => page.getByText(`${group} B!`).count()).toBe(1);
  await page.getByRole('checkbox', { name: 'Select all' }).check();
  await bar.getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Deleted 3 users').waitFor();
  expect(await statesOf()).toEqual([UserState.DELETED, UserState.DELETED, UserState.DELETED]);
  expect(visitor.complaints).toEqual([]);
});

test('people are invited, again and no more, in German', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ locale: 'de-DE' });
  const page = await visitor.open('users/invitations');
  await page.getByLabel('Benutzername').fill('admin');
  await page.getByLabel('Passwort', { exact: true }).fill(ADMIN_PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByText('Niemand ist eingeladen').waitFor();
  await page.getByText('KITH_SIGN_UP=invitation').waitFor();
  const dialog = page.getByRole('dialog');
  const invite = async (text: string) => {
    await page.getByRole('button', { name: 'Einladen' }).click();
    await dialog.getByLabel('E-Mail').fill(text);
    await dialog.getByRole('button', { name: 'Einladen' }).click();
  };
  await invite('no-address');
  await dialog.getByText('Das ist keine E-Mail-Adresse').first().waitFor();
  await dialog.getByRole('button', { name: 'Schließen' }).last().click();
  await invite('ada@example.org');
  await page.getByText('ada@example.org ist eingeladen').waitFor();
  await invite('grace@example.org, ada@example.org\nmary@example.org');
  await dialog.getByText('Diese E-Mail-Adresse ist schon eingeladen').waitFor();
  await dialog.getByRole('button', { name: 'Schließen' }).last().click();
  await expect.poll(() => page.getByRole('row').count()).toBe(4);
  expect(await faultsOf(page, 'invitations')).toEqual([]);
  await page.getByRole('button', { name: 'Noch einmal senden: ada@example.org' }).click();
  await page.getByText('Noch einmal an ada@example.org gesendet').waitFor();
  await page.getByRole('button', { name: 'Widerrufen: mary@example.org' }).click();
  await expect.poll(() => page.getByRole('row').count()).toBe(3);
  const invitations = site.kith.client(InvitationService, (await site.kith.admin()).accessToken);
  expect((await invitations.listInvitations({})).invitations.map(({ email }) => email).toSorted()).toEqual([
    'ada@example.org',
    'grace@example.org',
  ]);

  // Each of them has a mail, which waits, since there is no mail server.
  await page.getByRole('link', { name: 'E-Mails' }).click();
  await page.getByLabel('Zustand').selectOption('Wartet');
  await page.getByRole('button', { name: /^Zeigen: .*grace@example\.org$/ }).click();
  await dialog.getByText('/account/').waitFor();
  expect(await faultsOf(page, 'a mail')).toEqual([]);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: /^Noch einmal senden: .*grace@example\.org$/ }).click();
  await page.getByText('Noch einmal an grace@example.org gesendet').waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('a file of users is shown with who is there and what cannot be read, and imported with a result each', async (context) => {
  needChromium(context);
  const { user } = await site.kith.user();
  await using visitor = await site.visit();
  const page = await visitor.open('users/import');
  const users = await enter(page);
  const stem = `imported${Date.now()}`;
  const file = (name: string, text: string) =>
    page.getByLabel('File').setInputFiles({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
  const rows = [
    'Login;E-Mail;Display name;Role;Remark',
    `${stem}-a;${stem}-a@example.org;"Ada ""the"" first";editor;x`,
    `${user.username};${stem}-b@example.org;Somebody else;;`,
    `${stem}-c;${stem}-c@example.org;Carol;chief;`,
    `${stem}-d;not an address;Dora;;`,
  ];
  await file('users.csv', `\uFEFF${rows.join('\r\n')}`);
  await page.getByText('4 found, of which 1 cannot be read.').waitFor();
  await page
    .getByRole('row', { name: /Ada "the" first/ })
    .getByText('new', { exact: true })
    .waitFor();
  await page
    .getByRole('row', { name: /Somebody else/ })
    .getByText('is there')
    .waitFor();
  await page.getByRole('row', { name: /chief/ }).getByText('refused').waitFor();
  expect(await faultsOf(page, 'a preview')).toEqual([]);
  await page.getByRole('button', { name: 'Import 3' }).click();
  await page.getByText('4 done.').waitFor();
  await page.getByRole('button', { name: /refused/ }).click();
  await expect.poll(() => page.getByRole('row').count()).toBe(4);
  await page.getByRole('row', { name: /Dora/ }).getByText(/email/).waitFor();
  expect(await faultsOf(page, 'results')).toEqual([]);
  const { users: found } = await users.listUsers({ query: stem });
  expect(found).toMatchObject([{ username: `${stem}-a`, name: 'Ada "the" first', role: Role.EDITOR }]);

  await file(
    'users.jsonl',
    `${JSON.stringify({ username: `${stem}-a`, email: `${stem}-a@example.org`, name: 'Ada' })}\n{"nickname":"x"}\n`,
  );
  await page.getByText('There is no such field').waitFor();
  await page.getByLabel('Change users who are there').check();
  await page.getByRole('button', { name: 'Import 1' }).click();
  await page.getByRole('cell', { name: 'changed' }).waitFor();
  expect((await users.getUser({ userId: found[0]!.id })).user!.name).toBe('Ada');
  expect(visitor.complaints).toEqual([]);
});

test('metadata is changed member by member, and what is wrong stands at its field', async (context) => {
  needChromium(context);
  const { user } = await site.kith.user();
  await using visitor = await site.visit();
  const page = await visitor.open(`users/${user.id}`);
  const users = await enter(page);
  await users.updateUser({ userId: user.id, publicMetadata: '{"plan":"free","seats":12345678901234567890}' });
  await page.reload();
  await page.getByRole('button', { name: 'Metadata' }).click();
  const dialog = page.getByRole('dialog');
  const shown = dialog.getByLabel('Public metadata');
  await expect.poll(() => shown.inputValue()).toBe('{\n  "plan": "free",\n  "seats": 12345678901234567890\n}');
  await shown.fill('{\n  "plan": "team",\n  "seats": 12345678901234567890,\n}');
  await dialog.getByLabel('Private metadata').fill('{ "risk": 0.10 }');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('This is not a JSON object. See line 4.').waitFor();
  expect(await shown.getAttribute('aria-invalid')).toBe('true');
  expect(await faultsOf(page, 'metadata')).toEqual([]);
  // What somebody else adds meanwhile stays.
  await users.updateUser({ userId: user.id, publicMetadata: '{"color":"blue"}' });
  await shown.fill('{"plan":"team","seats":12345678901234567890}');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText(/^Saved/).waitFor();
  expect((await users.getUser({ userId: user.id })).user).toMatchObject({
    publicMetadata: '{"plan":"team","seats":12345678901234567890,"color":"blue"}',
    privateMetadata: '{"risk":0.10}',
  });

  await page.getByRole('button', { name: 'Metadata' }).click();
  await dialog.getByLabel('Private metadata').fill(JSON.stringify({ text: 'ü'.repeat(9_000) }));
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('There is more metadata than a user may have').first().waitFor();
  expect(await dialog.getByLabel('Private metadata').getAttribute('aria-invalid')).toBe('true');
  expect(visitor.complaints).toEqual([]);
});
