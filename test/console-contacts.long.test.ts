import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { readImageHeader } from '../src/contacts/photos/image-header.ts';
import { coloursOf, fromJpeg, quarters, toPng } from '../src/contacts/photos/pictures.testkit.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn, tabTo } from './support/console.ts';
import { startSite } from './support/site.ts';

const site = startSite();

/** A user with contacts of these given names, on the page of contacts. */
async function withContacts(page: Page, ...names: string[]) {
  const { user, password, accessToken } = await site.kith.user();
  const contacts = site.kith.client(ContactService, accessToken);
  for (const givenName of names) await contacts.createContact({ givenName });
  await signInOn(page, user.username, password);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  return { contacts, labels: site.kith.client(LabelService, accessToken) };
}

test('a contact is created, edited, found, deleted and taken back', async (context) => {
  needChromium(context);
  const { user, password } = await site.kith.user();
  await using visitor = await site.visit();
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

test('every field is added, refused at its place, shown, changed and taken away, by the keyboard alone', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page);
  const { keyboard } = page;
  const dialog = page.getByRole('dialog');
  const group = (name: string) => dialog.getByRole('group', { name, exact: true });
  const button = (name: string) => dialog.getByRole('button', { name, exact: true });
  const press = async (name: string) => {
    await tabTo(button(name));
    await keyboard.press('Enter');
  };
  /** Adds a field, which then has the focus. */
  const add = async (name: string, ...texts: string[]) => {
    await press('Add a field');
    await press(name);
    for (const [i, text] of texts.entries()) {
      if (i > 0) await keyboard.press('Tab');
      await keyboard.type(text);
    }
  };

  await page.locator('body').press('n');
  await tabTo(dialog.getByLabel('Given name', { exact: true }));
  await keyboard.type('Grace');
  await tabTo(group('Phone numbers').getByLabel('Kind'));
  await keyboard.type('work');
  await add('Title', 'Dr');
  await add('Middle name', 'Brewster');
  await add('Pronouns', 'she/her');
  await add('Birthday', '30', 'F', '1906');
  await add('Postal addresses', '1 Main Street', '22201', 'Arlington', '', 'US', 'home');
  await add('Web addresses', 'example.com/grace', 'blog');
  await add('Messengers and networks', '@grace', 'Signal', 'work');
  await add('Other dates', '', 'J', '1930', 'wedding');
  await add('Own fields', 'Rank', 'Rear Admiral');
  expect(await faultsOf(page, 'the form')).toEqual([]);
  await press('Save');

  // What is wrong stands where it was entered: the number that there is a kind of, and the day that there is not.
  await group('Phone numbers')
    .getByRole('textbox', { name: 'Number' })
    .and(page.locator('[aria-invalid=true]'))
    .waitFor();
  const birthday = group('Birthday');
  await birthday.getByLabel('Day').and(page.locator('[aria-invalid=true]')).waitFor();
  expect(await dialog.locator('[aria-invalid=true]').count()).toBe(4);
  expect(await faultsOf(page, 'what is wrong')).toEqual([]);
  await tabTo(birthday.getByLabel('Month'), 'Shift+Tab');
  await keyboard.type('D');
  await tabTo(group('Phone numbers').getByRole('textbox', { name: 'Number' }));
  await keyboard.type('(202) 555-0143');
  await press('Add: Phone numbers');
  await keyboard.type('+1 202 555 0199');
  await tabTo(group('Phone numbers').getByRole('radio').first());
  await keyboard.press('ArrowDown');
  await press('Save');
  await page.getByRole('heading', { name: 'Dr Grace Brewster' }).waitFor();
  const [saved] = (await contacts.listContacts({})).contacts;
  expect(saved).toMatchObject({
    namePrefix: 'Dr',
    phones: [
      { number: '(202) 555-0143', type: 'work', primary: false },
      { number: '+1 202 555 0199', type: '', primary: true },
    ],
    birthday: { year: 1906, month: 12, day: 30 },
    dates: [{ date: { year: 1930, month: 1 }, type: 'wedding' }],
    messagingHandles: [{ handle: '@grace', service: 'Signal', type: 'work' }],
    addresses: [{ street: '1 Main Street', postalCode: '22201', city: 'Arlington', country: 'US', type: 'home' }],
    customFields: [{ label: 'Rank', value: 'Rear Admiral' }],
  });

  // The card has all of it.
  const card = page.getByRole('region', { name: 'Dr Grace Brewster' });
  for (const text of ['she/her', '30 December 1906', 'January 1930', 'Rear Admiral'])
    await card.getByText(text).first().waitFor();
  expect(await card.getByRole('link', { name: 'https://example.com/grace' }).getAttribute('rel')).toContain('noopener');
  await tabTo(card.getByRole('button', { name: 'QR code' }));
  await keyboard.press('Enter');
  await dialog.getByRole('img', { name: 'QR code' }).waitFor();
  expect(await faultsOf(page, 'a QR code')).toEqual([]);
  await keyboard.press('Escape');

  // What is emptied or removed is gone, and nothing else is.
  await tabTo(card.getByRole('button', { name: 'Edit' }), 'Shift+Tab');
  await keyboard.press('Enter');
  await tabTo(dialog.getByLabel('Title', { exact: true }));
  await keyboard.press('Control+a');
  await keyboard.press('Backspace');
  await press('Remove: Rank');
  await tabTo(birthday.getByLabel('Year'), 'Shift+Tab');
  await keyboard.press('Delete');
  await press('Save');
  await page.getByRole('heading', { name: 'Grace Brewster', exact: true }).waitFor();
  const { contact } = await contacts.getContact({ contactId: saved!.id });
  expect(contact).toEqual({
    ...saved,
    namePrefix: '',
    customFields: [],
    birthday: { ...saved!.birthday, year: undefined },
    etag: contact!.etag,
    updateTime: contact!.updateTime,
  });
  expect(visitor.complaints).toEqual([]);
});

test('a photo is cut out of a picture with keys, shown, taken away and brought back', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ colorScheme: 'dark' });
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page, 'Ada');
  const [{ id: contactId } = { id: '' }] = (await contacts.listContacts({})).contacts;
  const photo = async () => {
    const { photoId } = (await contacts.getContact({ contactId })).contact!;
    return photoId === '' ? undefined : (await contacts.getContactPhoto({ photoId })).image;
  };
  await page.getByRole('link', { name: /Ada/ }).click();
  const card = page.getByRole('region', { name: 'Ada' });
  const dialog = page.getByRole('dialog');
  await card.getByText('A', { exact: true }).waitFor();
  await tabTo(card.getByRole('button', { name: 'Add photo' }));
  await page.keyboard.press('Enter');
  const file = dialog.getByLabel('Picture');
  await file.and(page.locator(':focus')).waitFor();
  await file.setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
  await dialog.getByText('This picture cannot be read').waitFor();
  await file.setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: toPng(quarters(900, 300)) });
  await dialog.getByRole('img', { name: 'The photo as it will be' }).waitFor();
  expect(await faultsOf(page, 'a picture that is cut')).toEqual([]);
  await dialog.getByLabel('Zoom').and(page.locator(':focus')).waitFor();
  expect(await dialog.getByLabel('Top to bottom').isDisabled()).toBe(true);
  await page.keyboard.press('End');
  await page.keyboard.press('Home');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Home');
  await tabTo(dialog.getByRole('button', { name: 'Save photo' }));
  await page.keyboard.press('Enter');
  await page.getByText('Saved the photo of Ada').waitFor();
  // The left third of the picture, in the card and in the list.
  const left = await photo();
  expect([coloursOf(await fromJpeg(left!)), readImageHeader(left!).width]).toEqual(['RRBB', 300]);
  const pictures = page.locator('img.avatar');
  await expect.poll(() => pictures.count()).toBe(2);
  expect(await pictures.evaluateAll((all) => all.map((each) => (each as HTMLImageElement).naturalWidth))).toEqual([
    96, 300,
  ]);
  expect(await faultsOf(page, 'a photo in a card')).toEqual([]);

  // Another one, dropped and pulled.
  await card.getByRole('button', { name: 'Change photo' }).click();
  await dialog.getByRole('img', { name: 'The photo of Ada' }).waitFor();
  expect(await faultsOf(page, 'a photo')).toEqual([]);
  const dropped = await page.evaluateHandle(
    (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], 'b.png', { type: 'image/png' }));
      return data;
    },
    [...toPng(quarters(900, 300))],
  );
  await dialog.locator('.file-drop').dispatchEvent('drop', { dataTransfer: dropped });
  const box = (await dialog.getByRole('img', { name: 'The photo as it will be' }).boundingBox())!;
  await page.mouse.move(box.x + box.width - 10, box.y + 20);
  await page.mouse.down();
  for (let i = 0; i < 8; i += 1) await page.mouse.move(box.x + box.width - 10 - (i * box.width) / 5, box.y + 20);
  await page.mouse.up();
  await dialog.getByRole('button', { name: 'Save photo' }).click();
  await dialog.waitFor({ state: 'detached' });
  expect(coloursOf(await fromJpeg((await photo())!))).toBe('GGYY');
  await page.getByRole('button', { name: 'Undo' }).last().click();
  await expect.poll(photo).toEqual(left);

  await card.getByRole('button', { name: 'Change photo' }).click();
  await dialog.getByRole('button', { name: 'Remove photo' }).click();
  await page.getByText('Removed the photo of Ada').waitFor();
  await expect.poll(() => pictures.count()).toBe(0);
  await page.getByRole('button', { name: 'Undo' }).last().click();
  await expect.poll(() => pictures.count()).toBe(2);
  expect(await photo()).toEqual(left);
  await card.getByRole('button', { name: 'Earlier versions' }).click();
  await dialog.getByRole('img', { name: 'Photo' }).first().waitFor();
  expect(await faultsOf(page, 'versions with photos')).toEqual([]);
  expect(visitor.complaints).toEqual([]);
});

test('labels are created, given to a selection and by dropping, filter the list, and are taken back', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
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
  await using visitor = await site.visit();
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
  await using visitor = await site.visit();
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
  await page.getByRole('button', { name: 'Take this import back' }).waitFor();
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
  await page.goto(`${site.kith.address}/console/contacts/import`);
  await page
    .getByLabel('File')
    .setInputFiles({ name: 'people.vcf', mimeType: 'text/vcard', buffer: await readFile(await (await saved).path()) });
  await page.getByLabel('Country').fill('gb');
  await page.getByText('0 would be created or changed').waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('what a contact was before a change is shown and restored', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page, 'Hedy');
  const [{ id: contactId } = { id: '' }] = (await contacts.listContacts({})).contacts;
  await contacts.updateContact({ contactId, company: 'MGM', notes: 'Frequency hopping' });
  await contacts.updateContact({ contactId, notes: '' });
  await page.goto(page.url().replace(/contacts.*$/, `contacts/${contactId}`));
  await page.getByRole('button', { name: 'Earlier versions' }).click();
  const dialog = page.getByRole('dialog');
  const versions = dialog.getByRole('listitem').filter({ hasText: 'Changed' });
  await versions.first().getByText('Frequency hopping').waitFor();
  await versions.nth(1).getByText('Before: Company').waitFor();
  expect(await versions.nth(1).getByText('empty').count()).toBe(2);
  expect(await faultsOf(page, 'the earlier versions')).toEqual([]);
  await versions.first().getByRole('button', { name: 'Restore this' }).click();
  await page.getByText('The contact is as it was then.').waitFor();
  await page.getByText('Frequency hopping').waitFor();
  expect((await contacts.getContact({ contactId })).contact).toMatchObject({
    company: 'MGM',
    notes: 'Frequency hopping',
  });
  expect(visitor.complaints).toEqual([]);
});

test('an import is taken back as a whole, but for what was changed since, also later', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ colorScheme: 'dark' });
  const page = await visitor.open('contacts');
  const { contacts } = await withContacts(page);
  const { contact: ada } = await contacts.createContact({ givenName: 'Ada', uid: 'ada', company: 'Before' });
  const cards = ['ada', 'grace', 'mary'].map(
    (name) => `BEGIN:VCARD\nVERSION:4.0\nUID:${name}\nFN:${name}\nN:;${name};;;\nORG:After\nEND:VCARD\n`,
  );
  await page.getByRole('link', { name: 'Import' }).click();
  const file = { name: 'people.vcf', mimeType: 'text/vcard', buffer: Buffer.from(cards.join('')) };
  await page.getByLabel('File').setInputFiles(file);
  await page.getByRole('button', { name: 'Import 3' }).click();
  await page.getByRole('button', { name: 'Take this import back' }).waitFor();
  const grace = (await contacts.listContacts({ query: 'grace' })).contacts[0]!;
  await contacts.updateContact({ contactId: grace.id, jobTitle: 'Rear Admiral' });

  await page.getByRole('button', { name: 'Take this import back' }).click();
  await page.getByText('1 that were created are deleted, 1 that were changed are as before').waitFor();
  await page.getByText('1 stay as they are').waitFor();
  expect(await faultsOf(page, 'an import taken back')).toEqual([]);
  const left = (await contacts.listContacts({})).contacts;
  const texts = left.map(({ company, jobTitle }) => `${company} ${jobTitle}`);
  expect(new Set(texts)).toEqual(new Set(['After Rear Admiral', 'Before ']));
  expect((await contacts.getContact({ contactId: ada!.id })).contact).toMatchObject({ givenName: 'Ada' });

  // What is left of it can be taken back from the list of earlier imports.
  await page.goto(`${site.kith.address}/console/contacts/import`);
  await page.getByText('2 created, 1 changed').waitFor();
  expect(await faultsOf(page, 'earlier imports')).toEqual([]);
  await contacts.deleteContact({ contactId: grace.id });
  await tabTo(page.getByRole('button', { name: 'Take back: people.vcf' }));
  await page.keyboard.press('Enter');
  await page.getByText(/^Taken back|nothing left to take back/).waitFor();
  expect((await contacts.listContacts({})).contacts).toHaveLength(1);
  expect(visitor.complaints).toEqual([]);
});
