/**
 * Take a picture of each page of the console and of the account pages, in light and dark, 1280 and 390 pixels wide, into the
 * folder that is named, or tmp/console. With names of pages (`users,sign-up`) those alone. `readme` in place of a folder: the
 * pictures of the README, into docs/images. Starts a Kith with some users, contacts and activity of its own, and needs
 * Chromium.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { ContactFormat, Role } from '../packages/client/src/contract.ts';
import { createKith } from '../packages/client/src/index.ts';
import { startKith } from '../packages/client/src/testing.ts';
import { toPng } from '../src/contacts/photos/pictures.testkit.ts';
import { startChromium } from '../test/support/browser.ts';

/** Pages in the README, in light or dark. */
const README = new Map([
  ['overview', 'light'],
  ['users-selected', 'dark'],
  ['contact', 'light'],
  ['import-users', 'dark'],
]);

const isReadme = process.argv[2] === 'readme';
const out = resolve(isReadme ? 'docs/images' : (process.argv[2] ?? 'tmp/console'));
const only = isReadme ? [...README.keys()] : process.argv[3]?.split(',');
const isWanted = (name: string) => only === undefined || only.includes(name);
await mkdir(out, { recursive: true });

await using server = await startKith({ env: { KITH_SIGN_UP: 'open', KITH_SERVICE_NAME: 'Example' } });
const { admin } = server;
const PEOPLE = [
  'Ada Lovelace',
  'Grace Hopper',
  'Alan Turing',
  'Katherine Johnson',
  'Zoë Müller',
  'Софья Ковалевская',
  'Edsger Dijkstra',
  'Margaret Hamilton',
  'Barbara Liskov',
  'Donald Knuth',
  'Radia Perlman',
  'Frances Allen',
];
const ids: string[] = [];
for (const [i, name] of PEOPLE.entries()) {
  const username = `person${i}`;
  const role = [Role.VIEWER, Role.EDITOR, Role.ADMIN][i % 3]!;
  const { user } = await admin.users.create({
    username,
    email: `${username}@example.org`,
    name,
    role,
    password: `password of ${username}`,
  });
  ids.push(user.id);
}
const alan = createKith({ url: server.url, credentials: { identifier: 'person2', password: 'password of person2' } });
for (const [i, name] of PEOPLE.slice(0, 8).entries()) {
  const [givenName = '', familyName = ''] = name.split(' ');
  await alan.contacts.create({
    givenName,
    familyName,
    company: ['Analytical Engines', 'US Navy', 'Bletchley Park', 'NASA'][i % 4]!,
    jobTitle: 'Engineer',
    emails: [{ address: `${i}@example.org`, type: 'work', primary: true }],
    phones: [{ number: `+49 30 12345${i}`, type: 'mobile', primary: true }],
    notes: 'Met at the conference.',
    starred: i % 3 === 0,
  });
}
await alan.contacts.create({
  givenName: 'Ada',
  middleName: 'King',
  familyName: 'Lovelace',
  namePrefix: 'Lady',
  nickname: 'Enchantress of Number',
  company: 'Analytical Engines',
  jobTitle: 'Programmer',
  emails: [{ address: 'ada@example.org', type: 'home' }, { address: '0@example.org' }],
  addresses: [{ street: '12 St James’s Square', postalCode: 'SW1Y 4JH', city: 'London', country: 'GB', type: 'home' }],
  birthday: { year: 1815, month: 12, day: 10 },
  notes: 'Wrote the first program.',
});
await alan.contacts.create({
  givenName: 'Grace',
  familyName: 'Hopper',
  company: 'US Navy',
  emails: [{ address: '1@example.org' }],
});
await alan.contacts.import({
  format: ContactFormat.VCARD_4,
  content: new TextEncoder().encode('BEGIN:VCARD\nVERSION:4.0\nFN:Emmy Noether\nN:Noether;Emmy;;;\nEND:VCARD\n'),
  source: 'phone.vcf',
});
const { contacts } = await alan.contacts.list().page();
for (const [i, { id }] of contacts.filter(({ nickname }, at) => at % 2 === 0 || nickname !== '').entries()) {
  await alan.contacts.setPhoto({ contactId: id, image: portrait(160, 160, i) });
}
for (const [i, [name, color]] of [
  ['Conference', '#4338ca'],
  ['Family', '#0a7f5a'],
  ['Suppliers', '#b42318'],
].entries()) {
  const { label } = await alan.labels.create({ name: name!, color: color! });
  const labelled = contacts.filter((_, at) => at % 3 <= i);
  await alan.contacts.label({ contacts: labelled.map(({ id }) => ({ contactId: id })), addLabelIds: [label.id] });
}
for (const name of ['rosalind', 'dorothy', 'mary']) await alan.invitations.create({ email: `${name}@example.org` });

const USERS_FILE = [
  'username,email,Full name,role',
  'rosalind,rosalind@example.org,Rosalind Franklin,editor',
  'person1,person1@example.org,Grace Hopper,viewer',
  'dorothy,dorothy@example.org,Dorothy Vaughan,chief',
].join('\n');
const CONTACTS_FILE = [
  'First Name,Last Name,E-mail 1 - Value,Phone 1 - Value,Shoe size',
  'Rosalind,Franklin,rosalind@example.org,020 7946 0958,38',
  'Dorothy,Vaughan,dorothy.example.org,,39',
].join('\n');

/** What is done on a page before its picture is taken. */
type Prepare = (page: Page) => Promise<unknown>;
const drop = (name: string, content: string) => (page: Page) =>
  page.locator('input[type=file]').setInputFiles({ name, mimeType: 'text/csv', buffer: Buffer.from(content) });

const VIEWS: readonly [name: string, path: string, prepare?: Prepare][] = [
  ['overview', '', (page) => page.getByRole('img', { name: /per second now/ }).waitFor()],
  ['users', 'users'],
  ['user', `users/${ids[0]}`],
  [
    'users-selected',
    'users',
    async (page) => {
      for (const at of [1, 2, 4]) await page.locator('tbody input[type=checkbox]').nth(at).check();
    },
  ],
  ['metadata', `users/${ids[0]}`, (page) => page.getByRole('button', { name: 'Metadata' }).click()],
  ['invitations', 'users/invitations'],
  ['import-users', 'users/import', drop('users.csv', USERS_FILE)],
  ['outbox', 'outbox'],
  ['settings', 'settings'],
  ['settings-changed', 'settings?changed=1'],
  [
    'as-code',
    'settings',
    async (page) => {
      await page.getByRole('button', { name: 'As code' }).click();
      await page.getByRole('button', { name: 'TypeScript' }).click();
    },
  ],
  ['mail-templates', 'settings/mail'],
  ['mail-templates-dark', 'settings/mail?colors=dark&language=de&width=390', (page) => page.waitForTimeout(500)],
  ['mail-template-text', 'settings/mail?kind=password_reset&as=text'],
  ['imports', 'contacts/import'],
  ['import-contacts', 'contacts/import', drop('contacts.csv', CONTACTS_FILE)],
  ['activity', 'activity'],
  ['contacts', 'contacts'],
  ['contact', `contacts/${contacts.find(({ nickname }) => nickname !== '')!.id}`],
  [
    'contact-form',
    `contacts/${contacts.find(({ nickname }) => nickname !== '')!.id}`,
    async (page) => {
      await page.getByRole('button', { name: 'Edit', exact: true }).click();
      await page.getByRole('button', { name: 'Add a field' }).click();
    },
  ],
  [
    'contact-photo',
    `contacts/${contacts[0]!.id}`,
    async (page) => {
      await page.getByRole('button', { name: 'Change photo' }).click();
      const buffer = Buffer.from(portrait(480, 320, 1));
      await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer });
    },
  ],
  ['duplicates', 'contacts/duplicates'],
  ['account', 'account'],
];

const ACCOUNT_VIEWS: readonly [name: string, path: string][] = [
  ['account-sign-in', 'sign-in'],
  ['account-sign-up', 'sign-up'],
  ['account-sign-up-link', 'sign-up#code=12345678'],
  ['account-reset', 'reset-password'],
  ['account-reset-link', 'reset-password#code=12345678'],
  ['account-take-back', `take-back#token=${'k'.repeat(64)}`],
];
const OWN_ACCOUNT_VIEWS: readonly [name: string, path: string][] = [
  ['account-home', ''],
  ['account-verify', 'verify-email'],
  ['account-change-password', 'change-password'],
];

await using browser = await startChromium();
for (const colorScheme of ['light', 'dark'] as const) {
  const context = await browser.newContext({ colorScheme, locale: 'en', viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
  page.on('pageerror', (error) => console.error(error));
  await takeAccount(page, ACCOUNT_VIEWS, colorScheme);
  await page.goto(`${server.url}/console/`);
  await page.locator('input[name=identifier]').waitFor();
  if (isWanted('sign-in')) await take(page, 'sign-in', colorScheme);
  await page.fill('input[name=identifier]', 'person2');
  await page.fill('input[name=password]', 'password of person2');
  await page.keyboard.press('Enter');
  await page.locator('nav').first().waitFor();
  for (const [name, path, prepare] of VIEWS) {
    if (!isWanted(name)) continue;
    await page.goto(`${server.url}/console/${path}`);
    await page.locator('main h1').waitFor();
    await prepare?.(page);
    await page.locator('main :is(progress, .skeleton)').first().waitFor({ state: 'detached' });
    await take(page, name, colorScheme);
  }
  await takeAccount(page, OWN_ACCOUNT_VIEWS, colorScheme);
  await context.close();
}

/** A picture of somebody: head and shoulders. */
function portrait(width: number, height: number, tone: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8ClampedArray(width * height * 4);
  const [head, body, wall] = [
    [232, 190, 160],
    [50 + tone * 30, 70, 140 - tone * 20],
    [200 - tone * 15, 215, 205 + tone * 8],
  ] as const;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [across, down] = [(x - width / 2) / height, y / height];
      const isHead = (across / 0.17) ** 2 + ((down - 0.4) / 0.22) ** 2 < 1;
      const isBody = (across / 0.36) ** 2 + ((down - 1) / 0.4) ** 2 < 1;
      data.set([...(isHead ? head : isBody ? body : wall), 255], (y * width + x) * 4);
    }
  }
  return Uint8Array.from(toPng({ data, width, height }));
}

/** Takes account pages, and one whose form was sent empty. */
async function takeAccount(page: Page, views: typeof ACCOUNT_VIEWS, scheme: string): Promise<void> {
  for (const [name, path] of views.filter(([each]) => isWanted(each))) {
    await page.goto('about:blank'); // another fragment alone would load nothing
    await page.goto(`${server.url}/account/${path}`);
    await page.locator('main h1').waitFor();
    await take(page, name, scheme);
    if (name !== 'account-sign-up-link') continue;
    await page.locator('button[type=submit]').click();
    await take(page, 'account-errors', scheme);
  }
}

async function take(page: Page, name: string, scheme: string): Promise<void> {
  if (isReadme && README.get(name) !== scheme) return;
  for (const width of isReadme ? [1280] : [1280, 390]) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 800 });
    await page.waitForLoadState('networkidle', { timeout: 2000 }).catch(() => {}); // a watch never rests
    if (isReadme) await writeFile(join(out, `${name}.webp`), await webpOf(page));
    else await page.screenshot({ path: join(out, `${name}-${scheme}-${width}.png`) });
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

/** A picture of the page of a third of the size that PNG has. */
async function webpOf(page: Page): Promise<Buffer> {
  const devtools = await page.context().newCDPSession(page);
  const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: 80 });
  return Buffer.from(data, 'base64');
}
