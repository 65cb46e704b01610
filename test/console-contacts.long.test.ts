import { readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { hasChromium, needChromium, startChromium } from './support/browser.ts';
import { buildConsole, faultsOf, signInOn, visit } from './support/console.ts';
import { type Kith, startKith } from './support/kith.ts';

let browser: Browser;
let kith: Kith;
beforeAll(async () => {
  if (!hasChromium) return;
  await buildConsole();
  [browser, kith] = await Promise.all([startChromium(), startKith()]);
});
afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, kith];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

/** A user with contacts of these given names, on the page of contacts. */
async function withContacts(page: Page, ...names: string[]) {
  const { user, password, accessToken } = await kith.user();
  const contacts = kith.client(ContactService, accessToken);
  for (const givenName of names) await contacts.createContact({ givenName });
  await signInOn(page, user.username, password);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  return { contacts, labels: kith.client(LabelService, accessToken) };
}

test('a contact is created, edited, found, deleted and taken back', async (context) => {
  needChromium(context);
  const { user, password } = await kith.user();
  await using visitor = await visit(browser, kith.address);
  const page = await visitor.open('contacts');
  await signInOn(page, user.username, password);
  await page.getByText('No contacts yet').waitFor();
  await page.getByRole('button', { name: 'New contact' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Given name').fill('Katherine');
  await dialog.getByLabel('Email', { exact: true }).fill('not an address');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('An email address has an @').waitFor();
  await dialog.getByLabel('Email', { exact: true }).fill('katherine@example.org');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'Katherine' }).waitFor();
  await page.getByRole('button', { name: 'Edit' }).click();
  await dialog.getByLabel('Family name').fill('Johnson');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'Katherine Johnson' }).waitFor();
  await page.getByRole('searchbox').fill('johns');
  await page.getByRole('link', { name: /Katherine Johnson/ }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByText('No contact matches').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByRole('link', { name: /Katherine Johnson/ }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('labels are created, given to a selection and by dropping, filter the list, and are taken back', async (context) => {
  needChromium(context);
  await using visitor = await visit(browser, kith.address);
  const page = await visitor.open('contacts');
  const { contacts, labels } = await withContacts(page, 'Ada', 'Grace', 'Katherine');
  const shown = page.getByRole('list', { name: 'Contacts' }).getByRole('listitem');
  await expect.poll(() => shown.count()).toBe(3);
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  const dialog = page.getByRole('dialog');

  await button('New label').click();
  await dialog.getByLabel('Name').fill('Navy');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: /^Navy 0/ }).waitFor();

  // By the keyboard: two are selected and labelled.
  await page.getByRole('checkbox', { name: 'Select Ada' }).focus();
  await page.keyboard.press('Space');
  await page.getByRole('checkbox', { name: 'Select Grace' }).focus();
  await page.keyboard.press('Space');
  await page.getByText('2 selected').waitFor();
  expect(await faultsOf(page, 'a selection')).toEqual([]);
  await button('Add label').focus();
  await page.keyboard.press('Enter');
  await page.getByText('2 contacts have the label Navy').waitFor();
  await page.getByRole('button', { name: /^Navy 2/ }).waitFor();
  await page.getByRole('status').getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Taken back: 2').waitFor();
  await page.getByRole('button', { name: /^Navy 0/ }).waitFor();

  await shown.filter({ hasText: 'Grace' }).dragTo(page.getByRole('button', { name: /^Navy/ }));
  await page.getByText('1 contact has the label Navy').waitFor();
  await page.getByRole('button', { name: /^Navy 1/ }).click();
  await expect.poll(() => shown.allInnerTexts()).toEqual([expect.stringContaining('Grace')]);
  const [label] = (await labels.listLabels({})).labels;
  expect(new URL(page.url()).search).toBe(`?label=${label!.id}`);

  await button('Edit: Navy').click();
  await dialog.getByLabel('Name').fill('US Navy');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await button('Edit: US Navy').click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect.poll(() => shown.count()).toBe(3);
  await page
    .getByRole('status')
    .filter({ hasText: 'Deleted the label US Navy' })
    .getByRole('button', { name: 'Undo' })
    .last()
    .click();
  await page.getByRole('button', { name: /^US Navy 1/ }).waitFor();

  await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
  await page.getByRole('region', { name: 'Selection' }).getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Deleted 3 contacts').waitFor();
  await page.getByText('No contacts yet').waitFor();
  expect((await contacts.listContacts({ deleted: true })).contacts).toHaveLength(3);
  expect(visitor.complaints).toEqual([]);
});

test('a contact that somebody else saved meanwhile is shown in three versions', async (context) => {
  needChromium(context);
  await using visitor = await visit(browser, kith.address);
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page, 'Grace');
  await page.getByRole('link', { name: /Grace/ }).click();
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Family name').fill('Hopper');
  await dialog
    .getByLabel('Email', { exact: true })
    .or(dialog.getByRole('button', { name: 'Add' }).first())
    .first()
    .click();
  await dialog.getByLabel('Email', { exact: true }).fill('mine@example.org');
  const [contact] = (await contacts.listContacts({})).contacts;
  await contacts.updateContact({
    contactId: contact!.id,
    company: 'US Navy',
    emails: { values: [{ address: 'theirs@example.org' }] },
  });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('Somebody else saved in between').waitFor();
  expect(await faultsOf(page, 'a conflict')).toEqual([]);
  await dialog.getByRole('radio', { name: 'theirs@example.org' }).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'Grace Hopper' }).waitFor();
  expect((await contacts.getContact({ contactId: contact!.id })).contact).toMatchObject({
    familyName: 'Hopper',
    company: 'US Navy',
    emails: [{ address: 'theirs@example.org' }],
  });
  expect(visitor.complaints).toEqual([]);
});

test('a file of contacts is shown, imported, exported and imported again', async (context) => {
  needChromium(context);
  await using visitor = await visit(browser, kith.address);
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page);
  await page.getByRole('link', { name: 'Import' }).click();
  const text = [
    'Given Name,Surname,E-mail 1 - Value,Phone 1 - Value',
    'Ada,Lovelace,ada@example.org,020 7946 0958',
    '<b>Grace</b>,Hopper,grace@example.org,',
    ',,,',
  ].join('\n');
  await page.getByLabel('File').setInputFiles({ name: 'people.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
  await page.getByRole('button', { name: 'Import 2' }).waitFor();
  await page.getByLabel('Surname').selectOption('Last Name');
  await page.getByLabel('Country').fill('gb');
  await page.getByText('2 would be created or changed').waitFor();
  await page.getByRole('cell', { name: '<b>Grace</b> Hopper' }).waitFor();
  expect(await faultsOf(page, 'a preview')).toEqual([]);
  expect((await contacts.listContacts({})).contacts).toEqual([]);

  await page.getByRole('button', { name: 'Import 2' }).click();
  await page.getByRole('button', { name: 'Delete the 2 created' }).waitFor();
  expect((await contacts.listContacts({})).contacts).toMatchObject([
    { givenName: '<b>Grace</b>', familyName: 'Hopper' },
    { givenName: 'Ada', familyName: 'Lovelace', phones: [{ e164: '+442079460958' }], source: 'people.csv' },
  ]);

  await page.getByRole('link', { name: 'Contacts', exact: true }).first().click();
  await page.getByRole('button', { name: 'Export' }).click();
  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save file' }).click();
  expect((await saved).suggestedFilename()).toBe('contacts.vcf');
  expect(await readFile(await (await saved).path(), 'utf8')).toMatch(/^BEGIN:VCARD\r\nVERSION:4.0[^]*FN:Ada Lovelace/);

  // What was exported changes nothing when it is imported, in the same country.
  await page.goto(`${kith.address}/console/contacts/import`);
  await page
    .getByLabel('File')
    .setInputFiles({ name: 'people.vcf', mimeType: 'text/vcard', buffer: await readFile(await (await saved).path()) });
  await page.getByLabel('Country').fill('gb');
  await page.getByText('0 would be created or changed').waitFor();
  expect(visitor.complaints).toEqual([]);
});
