import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn, tabTo } from './support/console.ts';
import { startSite } from './support/site.ts';

const site = startSite();

/** A user with two pairs of contacts that may be the same, on the page of contacts. */
async function withDuplicates(page: Page) {
  const { user, password, accessToken } = await site.kith.user();
  const contacts = site.kith.client(ContactService, accessToken);
  const create = async (contact: Parameters<typeof contacts.createContact>[0]) =>
    (await contacts.createContact(contact)).contact!;
  const ada = await create({
    givenName: 'Ada',
    familyName: 'Lovelace',
    company: 'Analytical Engines',
    emails: [{ address: 'ada@example.org', type: 'work' }],
    phones: [{ number: '+44 20 7946 0958' }],
    notes: 'Met in London.',
    birthday: { month: 12, day: 10 },
  });
  const augusta = await create({
    givenName: 'Augusta',
    familyName: 'Lovelace',
    jobTitle: 'Countess',
    emails: [{ address: 'ADA@example.org' }, { address: 'augusta@example.org' }],
    notes: 'Writes letters.',
    addresses: [{ city: 'London' }],
  });
  const grace = await create({ givenName: 'Grace', familyName: 'Hopper', company: 'US Navy' });
  await create({ givenName: 'Grace', familyName: 'Hopper', company: 'US Navy', nickname: 'Amazing Grace' });
  await signInOn(page, user.username, password);
  await page.getByRole('heading', { name: 'Contacts' }).waitFor();
  const get = async (contactId: string) => (await contacts.getContact({ contactId })).contact!;
  const count = async () => (await contacts.listContacts({})).contacts.length;
  return { contacts, ada, augusta, grace, get, count };
}

test('duplicates are told apart, merged field by field and taken back, by the keyboard alone', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await visitor.open('contacts');
  const { ada, augusta, get, count } = await withDuplicates(page);
  const { keyboard } = page;
  const title = (name: string) => page.getByRole('heading', { name, exact: true });
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  const toast = (text: string) => page.getByRole('status').filter({ hasText: text });
  const undo = async (text: string) => {
    await toast(text).waitFor();
    await tabTo(page.getByRole('button', { name: 'Undo' }).last());
    await keyboard.press('Enter');
  };

  const link = page.getByRole('link', { name: /^Duplicates/ });
  await link.filter({ hasText: '2' }).waitFor();
  await tabTo(link);
  await keyboard.press('Enter');
  await page.getByText('Pair 1 of 2').waitFor();
  await page.getByText('the name and the company').waitFor();
  expect(await faultsOf(page, 'a pair')).toEqual([]);
  await keyboard.press('j');
  await title('Ada Lovelace and Augusta Lovelace').and(page.locator(':focus')).waitFor();
  await keyboard.press('k');
  await title('Grace Hopper and Grace Hopper').and(page.locator(':focus')).waitFor();

  await keyboard.press('x');
  await title('Ada Lovelace and Augusta Lovelace').and(page.locator(':focus')).waitFor();
  await undo('two different people');
  await page.getByText('of 2').waitFor();
  await keyboard.press('k');
  await title('Grace Hopper and Grace Hopper').waitFor();
  await keyboard.press('x');
  await title('Ada Lovelace and Augusta Lovelace').and(page.locator(':focus')).waitFor();
  await page.getByText('Pair 1 of 1').waitFor();

  // The one that was created first stays; its given name does not, and its note stands alone.
  const choose = (field: string) => page.getByRole('radiogroup', { name: field }).getByRole('radio', { checked: true });
  await tabTo(choose('Given name'));
  await keyboard.press('ArrowRight');
  await tabTo(choose('Notes'));
  await keyboard.press('ArrowRight');
  await page.getByRole('radiogroup', { name: 'Email addresses' }).getByText('Both').waitFor();
  await keyboard.press('m');
  await page.getByText('No duplicates').waitFor();
  const merged = await get(ada.id);
  expect(merged).toMatchObject({
    givenName: 'Augusta',
    familyName: 'Lovelace',
    company: 'Analytical Engines',
    jobTitle: 'Countess',
    notes: 'Met in London.',
    birthday: { month: 12, day: 10 },
    addresses: [{ city: 'London' }],
  });
  expect(merged.emails.map(({ address }) => address)).toEqual(['ada@example.org', 'augusta@example.org']);
  expect(await count()).toBe(3);

  await undo('Merged into Augusta Lovelace');
  await toast('The other contact is there again').waitFor();
  await title('Ada Lovelace and Augusta Lovelace').waitFor();
  expect(await get(augusta.id)).toMatchObject({ givenName: 'Augusta', notes: 'Writes letters.' });

  // Merged once more, the other way round; the card and the list of merges take it back as well.
  await tabTo(page.getByRole('radiogroup', { name: 'Which one stays' }).getByRole('radio', { checked: true }));
  await keyboard.press('ArrowRight');
  await keyboard.press('m');
  await page.getByText('No duplicates').waitFor();
  await page.goto(`${site.kith.address}/console/contacts/${ada.id}`);
  await tabTo(page.getByRole('link', { name: 'Show the other contact' }));
  await keyboard.press('Enter');
  await page.getByText('One contact was merged into this one').waitFor();
  expect(await faultsOf(page, 'a merged contact')).toEqual([]);
  await tabTo(button('Take back'));
  await keyboard.press('Enter');
  await toast('The other contact is there again').waitFor();
  expect(await get(ada.id)).toMatchObject({ givenName: 'Ada' });

  await page.goto(`${site.kith.address}/console/contacts/duplicates`);
  await title('Ada Lovelace and Augusta Lovelace').waitFor();
  await keyboard.press('m');
  await toast('Merged into Ada Lovelace').waitFor();
  await tabTo(page.getByRole('link', { name: 'Merged', exact: true }), 'Shift+Tab');
  await keyboard.press('Enter');
  expect(await faultsOf(page, 'merges')).toEqual([]);
  await tabTo(button('Take back: Ada Lovelace'));
  await keyboard.press('Enter');
  await page.getByText('Nothing was merged').waitFor();
  expect(await count()).toBe(4);

  await tabTo(page.getByRole('link', { name: 'Not the same' }), 'Shift+Tab');
  await keyboard.press('Enter');
  await tabTo(button('May be the same: Grace Hopper and Grace Hopper'));
  expect(await faultsOf(page, 'pairs that are not the same')).toEqual([]);
  await keyboard.press('Enter');
  await page.getByText('No pair is marked').waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('a contact that somebody changed, or deleted, while it was compared is shown as it is now', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ locale: 'de-DE', colorScheme: 'dark' });
  const { user, password, accessToken } = await site.kith.user();
  const contacts = site.kith.client(ContactService, accessToken);
  const create = async (givenName: string) =>
    (await contacts.createContact({ givenName, emails: [{ address: 'same@example.org' }] })).contact!;
  const [first, second] = [await create('Ada'), await create('Ada K.')];
  const page = await visitor.open('contacts/duplicates');
  await page.getByLabel('Benutzername').fill(user.username);
  await page.getByLabel('Passwort', { exact: true }).fill(password);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Ada und Ada K.' }).waitFor();

  await contacts.updateContact({ contactId: second.id, company: 'Analytical Engines' });
  await page.getByRole('button', { name: 'Zusammenführen' }).click();
  await page.getByText('So sind sie jetzt').waitFor();
  await page.getByRole('radiogroup', { name: 'Firma' }).getByText('Analytical Engines').waitFor();
  await page.getByText('geändert', { exact: true }).waitFor();
  expect(await faultsOf(page, 'a conflict')).toEqual([]);
  expect((await contacts.listContacts({})).contacts).toHaveLength(2);

  await contacts.deleteContact({ contactId: second.id });
  await page.getByRole('button', { name: 'Zusammenführen' }).click();
  await page.getByText('Einer der beiden ist nicht mehr da').waitFor();
  await page.getByText('Keine Dubletten').waitFor();
  expect((await contacts.getContact({ contactId: first.id })).contact).toMatchObject({ givenName: 'Ada', company: '' });
  expect(visitor.complaints).toEqual([]);
});
