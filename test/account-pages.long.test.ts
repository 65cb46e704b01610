import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import type { BrowserContext, Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { InvitationService } from '../gen/kith/auth/v1/invitation_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from './support/authenticator.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn, type Visitor } from './support/console.ts';
import { freePort } from './support/free-port.ts';
import type { SignedIn } from './support/kith.ts';
import { signedIn } from './support/sign-in.ts';
import { startSite } from './support/site.ts';
import { startMailServer, type TestMailServer } from './support/smtp-server.ts';

const NEW = 'an entirely new password';

let mailServer: TestMailServer;
const site = startSite(async (resources) => {
  mailServer = resources.use(await startMailServer());
  const port = await freePort();
  return {
    env: {
      KITH_PORT: String(port),
      KITH_ISSUER: `http://localhost:${port}`,
      KITH_SMTP_URL: mailServer.url,
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_LOGIN_CODES: 'true',
    },
  };
});

const visitAccount = (options = {}) => site.visit({ base: '/account/', ...options });
const auth = (account?: SignedIn) => site.kith.client(AuthService, account?.accessToken);
const users = async () => site.kith.client(UserService, (await site.kith.admin()).accessToken);
const heading = (page: Page, name: string) => page.getByRole('heading', { name, exact: true }).waitFor();
const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
const fill = (page: Page, label: string, value: string) => page.getByLabel(label, { exact: true }).fill(value);
/** Where people go on once they have signed in. */
const inConsole = (page: Page) => page.getByTestId('signed-in-as').waitFor();

interface Letter {
  readonly subject: string;
  readonly code: string;
  readonly links: readonly string[];
}

/** The newest mail to an address about this, once the server has sent it. */
async function mailTo(address: string, subject: RegExp, from = 0): Promise<Letter> {
  const find = () =>
    mailServer.mails
      .slice(from)
      .findLast(({ to, parsed }) => to.includes(address) && subject.test(parsed.subject ?? ''));
  await expect.poll(() => find() !== undefined, { timeout: 30_000 }).toBe(true);
  const { parsed } = find()!;
  const text = parsed.text ?? '';
  return {
    subject: parsed.subject ?? '',
    code: /^\d{4} \d{4}$/m.exec(text)?.[0] ?? /^\S{64}$/m.exec(text)?.[0] ?? '',
    links: Array.from(text.matchAll(/https?:\S+/g), ([link]) => link),
  };
}

/** Somebody who is no user yet. */
let people = 0;
function newcomer() {
  people += 1;
  return { email: `newcomer${people}@example.org`, username: `newcomer${people}`, name: 'Grace Hopper', password: NEW };
}

/** A user with a verified address. */
async function verifiedUser(): Promise<SignedIn> {
  const account = await site.kith.user();
  await (await users()).updateUser({ userId: account.user.id, emailVerified: true });
  return account;
}

async function fillSignUp(page: Page, { name, username, password }: ReturnType<typeof newcomer>): Promise<void> {
  await fill(page, 'Your name', name);
  await fill(page, 'Username', username);
  await fill(page, 'Password', password);
  await press(page, 'Create an account');
}

describe('signing in', () => {
  test('leads to the console, which has the session, and a wrong password is told', async (context) => {
    needChromium(context);
    const { user, password } = await site.kith.user();
    await using visitor = await visitAccount();
    const page = await visitor.open('sign-in');
    await press(page, 'Sign in');
    // Beside each field, which is described by it; the first has the focus.
    for (const label of ['Username or email', 'Password']) {
      const field = page.getByLabel(label, { exact: true });
      expect(await field.getAttribute('aria-invalid')).toBe('true');
      const described = (await field.getAttribute('aria-describedby'))!.split(' ')[0]!;
      expect(await page.locator(`#${described}`).textContent()).toBe('Please fill this in.');
    }
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('field-identifier');
    await signInOn(page, user.username, 'not the password');
    await page.getByRole('alert').filter({ hasText: 'wrong' }).waitFor();
    await signInOn(page, user.username, password);
    await inConsole(page);
    // No script can read what the session goes on with.
    const readable = () =>
      [document.cookie, ...Object.values(localStorage), ...Object.values(sessionStorage)].join(' ');
    expect(await page.evaluate(readable)).not.toMatch(/kith_rt|eyJ/);

    const account = await visitor.open();
    await heading(account, 'Your account');
    await account.getByText(`You are signed in as ${user.name}.`).waitFor();
    await press(account, 'Sign out');
    await heading(account, 'Sign in');
    expect(await visitor.context.cookies()).toEqual([]);
    await page.getByLabel('Username or email').waitFor(); // the console's own: its session has ended as well
    expect(visitor.complaints).toEqual([]);
  });

  test('takes the second factor and another password, by the keyboard alone', async (context) => {
    needChromium(context);
    const { user, accessToken } = await site.kith.user();
    const factors = site.kith.client(SecondFactorService, accessToken);
    const authenticator = new Authenticator((await factors.enrollTotp({})).uri, site.kith.clock);
    const { recoveryCodes } = await factors.confirmTotp({ code: authenticator.next() });
    const set = { userId: user.id, password: 'set by the admin', mustChangePassword: true };
    await (await users()).setUserPassword(set);
    await using visitor = await visitAccount();
    const page = await visitor.open('sign-in');
    await heading(page, 'Sign in');
    const type = async (text: string) => {
      await page.keyboard.type(text);
      await page.keyboard.press('Tab');
    };
    await type(user.email);
    await page.keyboard.type(set.password);
    await page.keyboard.press('Enter');
    await heading(page, 'Second factor');
    await page.keyboard.type(authenticator.wrong());
    await page.keyboard.press('Enter');
    await page.getByText('The code is wrong.').waitFor();
    for (const _ of ['Continue', 'Use a recovery code instead']) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByLabel('Recovery code').waitFor();
    await page.keyboard.type(recoveryCodes[0]!);
    await page.keyboard.press('Enter');
    await heading(page, 'Choose a new password');
    await page.keyboard.type('12345678');
    await page.keyboard.press('Enter');
    await page.getByText('too easy to guess').waitFor();
    await page.keyboard.press('Control+a');
    await page.keyboard.type(NEW);
    await page.keyboard.press('Enter');
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });

  test('takes a code by mail in place of the password, in the window that asked for it', async (context) => {
    needChromium(context);
    const { user } = await verifiedUser();
    await using visitor = await visitAccount();
    const page = await visitor.open('sign-in');
    await press(page, 'Sign in with a code by email');
    await fill(page, 'Username or email', user.email);
    await press(page, 'Send code');
    await heading(page, 'Enter the code');
    await fill(page, 'Code', '0000 0000');
    await press(page, 'Sign in');
    await page.getByText('The code or the address is wrong').waitFor();
    await fill(page, 'Code', (await mailTo(user.email, /code to sign in/i)).code);
    await press(page, 'Sign in');
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });

  test('from the well-known URL leads to where the password is changed', async (context) => {
    needChromium(context);
    const { user, password } = await site.kith.user();
    await using visitor = await visitAccount();
    const page = await visitor.context.newPage();
    await page.goto(`${site.kith.address}/.well-known/change-password`);
    await page.locator('.notice', { hasText: 'Please sign in first.' }).waitFor();
    await signInOn(page, user.username, password);
    await fill(page, 'Current password', 'not the password');
    await fill(page, 'New password', NEW);
    await press(page, 'Change password');
    await page.getByText('The current password is wrong.').waitFor();
    await fill(page, 'Current password', password);
    await press(page, 'Change password');
    await page.locator('.notice', { hasText: 'Your password is changed.' }).waitFor();
    await signedIn(auth().login({ identifier: user.username, password: NEW }));
    expect(visitor.complaints).toEqual([]);
  });
});

describe('signing up', () => {
  test('takes the code of the mail, and says beside the field what is taken', async (context) => {
    needChromium(context);
    const person = newcomer();
    const { user } = await site.kith.user();
    await using visitor = await visitAccount();
    const page = await visitor.open('sign-up');
    await fill(page, 'Email address', 'grace');
    await press(page, 'Send code');
    await page.getByText('This is not an email address.').waitFor();
    await fill(page, 'Email address', person.email);
    await press(page, 'Send code');
    await heading(page, 'Enter the code');
    await fill(page, 'Code', (await mailTo(person.email, /^Your code/)).code);
    await fillSignUp(page, { ...person, username: user.username });
    await page.getByText('This username is taken.').waitFor();
    await fillSignUp(page, person);
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });

  test('goes on from the link in the mail, where the browser that asked knows the address', async (context) => {
    needChromium(context);
    const person = newcomer();
    await using visitor = await visitAccount();
    const asked = await visitor.open('sign-up');
    await fill(asked, 'Email address', person.email);
    await press(asked, 'Send code');
    await heading(asked, 'Enter the code');
    const page = await visitor.context.newPage();
    await page.goto((await mailTo(person.email, /^Your code/)).links[0]!);
    await heading(page, 'Create an account');
    expect(await page.getByLabel('Email address').inputValue()).toBe(person.email);
    // Nobody reads the code over the shoulder or in the history.
    expect(page.url()).toBe(`${site.kith.address}/account/sign-up`);
    await fillSignUp(page, person);
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });

  test('with an invitation begins at the link in its mail', async (context) => {
    needChromium(context);
    const person = newcomer();
    const { accessToken } = await site.kith.admin();
    await site.kith.client(InvitationService, accessToken).createInvitation({ email: person.email });
    await using visitor = await visitAccount();
    const page = await visitor.context.newPage();
    await page.goto((await mailTo(person.email, /invited/)).links[0]!);
    await fill(page, 'Email address', person.email);
    await press(page, 'Send code');
    await fill(page, 'Code', (await mailTo(person.email, /^Your code/)).code);
    await fillSignUp(page, person);
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });
});

describe('an address', () => {
  test('is confirmed with a code that the page has mailed', async (context) => {
    needChromium(context);
    const { user, password } = await site.kith.user();
    await using visitor = await visitAccount();
    const page = await visitor.open();
    await signInOn(page, user.username, password);
    await page.getByText(`${user.email} is not confirmed yet.`).waitFor();
    await page.getByRole('link', { name: 'Confirm your email address' }).click();
    await press(page, 'Send a code');
    await fill(page, 'Code', '1234567');
    await press(page, 'Confirm');
    await page.getByText('The code has eight digits.').waitFor();
    await fill(page, 'Code', (await mailTo(user.email, /^Your code to confirm/)).code);
    await press(page, 'Confirm');
    await page.getByText('Your email address is confirmed.').first().waitFor();
    expect(visitor.complaints).toEqual([]);
  });

  test('is changed from the link in the mail to the new one, and taken back from that to the old one', async (context) => {
    needChromium(context);
    const account = await verifiedUser();
    const { user, password } = account;
    const next = `next.${user.email}`;
    await auth(account).requestEmailChange({ email: next });
    await using visitor = await visitAccount();
    const page = await visitor.context.newPage();
    await page.goto((await mailTo(next, /^Your code/)).links[0]!);
    await signInOn(page, user.username, password);
    await heading(page, 'Confirm your new email address');
    await press(page, 'Confirm');
    await page.getByText('Your email address is changed.').first().waitFor();

    await using owner = await visitAccount();
    const back = await owner.context.newPage();
    await back.goto((await mailTo(user.email, /address has been changed/)).links[0]!);
    await fill(back, 'Email address', next);
    await fill(back, 'New password', NEW);
    await press(back, 'Take back');
    await back.getByRole('alert').filter({ hasText: 'the address is wrong' }).waitFor();
    await fill(back, 'Email address', user.email);
    await press(back, 'Take back');
    await inConsole(back);
    expect((await (await users()).getUser({ userId: user.id })).user).toMatchObject({ email: user.email });
    expect([...visitor.complaints, ...owner.complaints]).toEqual([]);
  });
});

describe('a forgotten password', () => {
  test('is replaced with the code of the mail', async (context) => {
    needChromium(context);
    const { user } = await site.kith.user();
    await using visitor = await visitAccount();
    const page = await visitor.open('sign-in');
    await page.getByRole('link', { name: 'Forgotten your password?' }).click();
    await fill(page, 'Username or email', user.username);
    await press(page, 'Send code');
    await heading(page, 'Choose a new password');
    await fill(page, 'Code', '0000 0000');
    await fill(page, 'New password', NEW);
    await press(page, 'Set password');
    await page.getByText('The code or the address is wrong').waitFor();
    await fill(page, 'Code', (await mailTo(user.email, /^Your code/)).code);
    await press(page, 'Set password');
    await inConsole(page);
    expect(visitor.complaints).toEqual([]);
  });

  test('is replaced from the link in the mail on another device, with the second factor afterwards', async (context) => {
    needChromium(context);
    const account = await site.kith.user();
    const { user } = account;
    const factors = site.kith.client(SecondFactorService, account.accessToken);
    const authenticator = new Authenticator((await factors.enrollTotp({})).uri, site.kith.clock);
    await factors.confirmTotp({ code: authenticator.next() });
    await auth().requestPasswordReset({ identifier: user.username });
    await using visitor = await visitAccount({ locale: 'de-DE' });
    const sent: string[] = [];
    visitor.context.on('request', (request) => sent.push(request.url(), JSON.stringify(request.headers())));
    const page = await visitor.context.newPage();
    const { code, links } = await mailTo(user.email, /^Your code/);
    await page.goto(links[0]!);
    await heading(page, 'Neues Passwort wählen');
    expect(await page.getByLabel('Benutzername oder E-Mail').inputValue()).toBe('');
    await fill(page, 'Benutzername oder E-Mail', user.email);
    await fill(page, 'Neues Passwort', NEW);
    await press(page, 'Passwort setzen');
    await heading(page, 'Zweiter Faktor');
    await fill(page, 'Code', authenticator.next());
    await press(page, 'Weiter');
    await inConsole(page);
    // No log of a server and no other page gets the code: not as a path, query or referrer.
    expect(sent.join('\n')).not.toContain(code.replace(' ', ''));
    expect(visitor.complaints).toEqual([]);
  });
});

/** What a scanner fills in. */
const JUNK = { email: 'scanner@scan.example', text: 'scanner', password: 'Scanner-12345', numeric: '12345678' };

/**
 * Opens every link of a mail as the most curious of scanners does: asks for it, draws it, and for each thing to click, fills
 * in whatever can be and clicks. Its browser keeps what it has learnt.
 */
async function scan(scanner: BrowserContext, { links }: Letter): Promise<void> {
  for (const link of links) {
    for (const method of ['HEAD', 'GET']) await fetch(link, { method });
    const page = await scanner.newPage();
    const open = async () => {
      await page.goto('about:blank');
      await page.goto(link);
      await page.locator('h1').waitFor();
    };
    await open();
    const count = await page.locator('a, button').count();
    for (let i = 0; i < count; i += 1) {
      if (i > 0) await open();
      await clickAround(page, i);
    }
    await page.close();
  }
}

/** Clicks one thing, and then what that leads to. */
async function clickAround(page: Page, first: number): Promise<void> {
  for (const target of [first, 0]) {
    for (const input of await page.locator('input').all()) {
      const [type, inputmode] = [await input.getAttribute('type'), await input.getAttribute('inputmode')];
      const name = inputmode ?? type ?? 'text';
      await input.fill(JUNK[name as keyof typeof JUNK] ?? JUNK.text);
    }
    const clickable = page.locator('form button[type=submit], a, button').nth(target);
    if ((await clickable.count()) === 0) return;
    await clickable.click();
    await page.locator('main:not([aria-busy]) h1').waitFor();
  }
}

describe('a scanner that opens every link, fills in what it finds and clicks on it', () => {
  /** The scanner has come to nothing: it has no session, and nobody has the password that it fills in. */
  async function expectNothingOf(scanner: Visitor, identifier: string): Promise<void> {
    expect(await scanner.context.cookies()).toEqual([]);
    const login = auth().login({ identifier, password: JUNK.password });
    await expect(login).rejects.toThrow('identifier or the password is wrong');
  }

  test('keeps nobody from a new password, and gets none', async (context) => {
    needChromium(context);
    const { user, password } = await site.kith.user();
    await using scanner = await visitAccount();
    await using visitor = await visitAccount();
    const asked = await visitor.open('reset-password');
    await fill(asked, 'Username or email', user.email);
    await press(asked, 'Send code');
    const letter = await mailTo(user.email, /^Your code/);
    await scan(scanner.context, letter);
    await expectNothingOf(scanner, user.email);
    await signedIn(auth().login({ identifier: user.email, password }));
    const page = await visitor.context.newPage();
    await page.goto(letter.links[0]!);
    await fill(page, 'New password', NEW);
    await press(page, 'Set password');
    await inConsole(page);
  });

  test('keeps nobody from signing up, and has no account', async (context) => {
    needChromium(context);
    const person = newcomer();
    const { accessToken } = await site.kith.admin();
    await site.kith.client(InvitationService, accessToken).createInvitation({ email: person.email });
    await using scanner = await visitAccount();
    await using visitor = await visitAccount();
    const invitation = await mailTo(person.email, /invited/);
    await scan(scanner.context, invitation);
    const page = await visitor.context.newPage();
    await page.goto(invitation.links[0]!);
    await fill(page, 'Email address', person.email);
    await press(page, 'Send code');
    const letter = await mailTo(person.email, /^Your code/);
    await scan(scanner.context, letter);
    await expectNothingOf(scanner, person.email);
    await fill(page, 'Code', letter.code);
    await fillSignUp(page, person);
    await inConsole(page);
  });

  test('confirms no address, and keeps nobody from it', async (context) => {
    needChromium(context);
    const account = await site.kith.user();
    const { user, password } = account;
    await auth(account).requestEmailVerification({});
    await using scanner = await visitAccount();
    await using visitor = await visitAccount();
    const letter = await mailTo(user.email, /^Your code to confirm/);
    await scan(scanner.context, letter);
    await expectNothingOf(scanner, user.email);
    expect((await auth(account).userMe({})).user?.emailVerifiedTime).toBeUndefined();
    const page = await visitor.context.newPage();
    await page.goto(letter.links[0]!);
    await signInOn(page, user.username, password);
    await press(page, 'Confirm');
    await page.getByText('Your email address is confirmed.').first().waitFor();
  });

  test('takes no account back, and keeps nobody from it', async (context) => {
    needChromium(context);
    const account = await verifiedUser();
    const { user, password } = account;
    const next = `next.${user.email}`;
    await auth(account).requestEmailChange({ email: next });
    await using scanner = await visitAccount();
    await using visitor = await visitAccount();
    const change = await mailTo(next, /^Your code/);
    await scan(scanner.context, change);
    await auth(account).confirmEmailChange({ code: change.code });
    const letter = await mailTo(user.email, /address has been changed/);
    await scan(scanner.context, letter);
    await expectNothingOf(scanner, next);
    await signedIn(auth().login({ identifier: next, password }));
    const page = await visitor.context.newPage();
    await page.goto(letter.links[0]!);
    await fill(page, 'Email address', user.email);
    await fill(page, 'New password', NEW);
    await press(page, 'Take back');
    await inConsole(page);
  });
});

describe('every page', () => {
  test.for([
    ['light', 'en-GB'],
    ['dark', 'de-DE'],
  ] as const)(
    'is accessible, fits into 360 pixels and breaks no policy: %s, %s',
    async ([colorScheme, locale], context) => {
      needChromium(context);
      const { user, password } = await site.kith.user();
      await using visitor = await visitAccount({ colorScheme, locale });
      const page = await visitor.context.newPage();
      const found: string[] = [];
      const look = async (path: string) => {
        await page.goto('about:blank');
        await page.goto(`${site.kith.address}/account/${path}`);
        await page.locator('h1').waitFor();
        if ((await page.locator('input').count()) > 0) {
          await page.locator('button[type=submit]').click();
          await page.locator('[aria-invalid]').first().waitFor();
        }
        found.push(...(await faultsOf(page, path)));
      };
      for (const path of ['sign-in', 'sign-up', 'sign-up#code=12345678', 'accept-invitation', 'reset-password'])
        await look(path);
      for (const path of ['reset-password#code=12345678', `take-back#token=${'k'.repeat(64)}`, 'none'])
        await look(path);
      await page.goto(`${site.kith.address}/account/`);
      await page.locator('input[name=identifier]').fill(user.username);
      await page.locator('input[name=password]').fill(password);
      await page.keyboard.press('Enter');
      await page.locator('a[href="change-password"]').waitFor();
      for (const path of ['', 'change-password', 'verify-email', 'verify-email#code=12345678', 'confirm-email'])
        await look(path);
      expect(found).toEqual([]);
      expect(visitor.complaints).toEqual([]);
    },
  );
});

test('all of the pages have 12 kB at the most, as gzip sends them', async () => {
  let bytes = 0;
  for await (const file of glob('packages/account/dist/{index.html,assets/*.{js,css}}')) {
    bytes += gzipSync(readFileSync(file)).length;
  }
  expect(bytes).toBeGreaterThan(5000);
  expect(bytes).toBeLessThan(12_000);
});
