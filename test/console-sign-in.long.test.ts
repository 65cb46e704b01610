import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from './support/authenticator.ts';
import { needChromium } from './support/browser.ts';
import { signInOn, visit } from './support/console.ts';
import { startKith } from './support/kith.ts';
import { startSite } from './support/site.ts';

const site = startSite();

const nameOf = (page: Page) => page.getByTestId('signed-in-as');
const askedToSignIn = (page: Page) => page.getByRole('heading', { name: 'Sign in' }).waitFor();

test('a session survives a reload, is shared by tabs with one refresh, and ends in all of them', async (context) => {
  needChromium(context);
  const { user, password } = await site.kith.user();
  await using visitor = await site.visit();
  const calls: string[] = [];
  visitor.context.on('request', (request) => calls.push(request.url().split('/').at(-1)!));
  const countOf = (method: string) => calls.filter((call) => call === method).length;

  const first = await visitor.open('users?q=ada');
  await signInOn(first, user.username, 'not the password');
  await first.getByRole('alert').filter({ hasText: 'wrong' }).waitFor();
  await signInOn(first, user.username, password);
  await nameOf(first).filter({ hasText: user.name }).waitFor();
  // Signing in leads to where one wanted to be.
  expect(new URL(first.url()).search).toBe('?q=ada');

  // No script can read what the session goes on with, and no other path gets it.
  expect(await visitor.context.cookies()).toMatchObject([
    { name: 'kith_session', httpOnly: true, sameSite: 'Strict', path: '/kith.auth.v1.AuthService', secure: false },
  ]);
  const readable = () => [document.cookie, ...Object.values(localStorage), ...Object.values(sessionStorage)].join(' ');
  expect(await first.evaluate(readable)).not.toMatch(/kith_rt|eyJ/);

  expect(countOf('RefreshAccessToken')).toBe(0);
  await first.reload();
  await nameOf(first).waitFor();
  expect(countOf('RefreshAccessToken')).toBe(1);

  const others = [await visitor.open(), await visitor.open('account')];
  for (const tab of others) await nameOf(tab).waitFor();
  // They have the access token of the first.
  expect(countOf('RefreshAccessToken')).toBe(1);

  await others[0]!.getByRole('button', { name: 'Sign out' }).click();
  for (const tab of [first, ...others]) await askedToSignIn(tab);
  expect(await visitor.context.cookies()).toEqual([]);
  await first.reload();
  await askedToSignIn(first);
  expect(visitor.complaints).toEqual([]);
});

test('a session that is ended elsewhere leads to the sign-in page, which says why', async (context) => {
  needChromium(context);
  const { user, password, accessToken } = await site.kith.user();
  await using visitor = await site.visit();
  const page = await visitor.open();
  await signInOn(page, user.username, password);
  await nameOf(page).waitFor();
  await site.kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
  await page.reload();
  await page.getByText('Your session has ended').waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('a second factor and a new password are asked for, one after the other', async (context) => {
  needChromium(context);
  const { user, accessToken } = await site.kith.user();
  const factors = site.kith.client(SecondFactorService, accessToken);
  const authenticator = new Authenticator((await factors.enrollTotp({})).uri, site.kith.clock);
  const { recoveryCodes } = await factors.confirmTotp({ code: authenticator.next() });
  const set = { userId: user.id, password: 'set by the admin', mustChangePassword: true };
  await site.kith.client(UserService, (await site.kith.admin()).accessToken).setUserPassword(set);

  await using visitor = await site.visit();
  const page = await visitor.open();
  await signInOn(page, user.username, set.password);
  await page.getByLabel('Code').fill(authenticator.wrong());
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('alert').filter({ hasText: /./ }).waitFor();
  await page.getByRole('button', { name: 'Use a recovery code' }).click();
  await page.getByLabel('Recovery code').fill(recoveryCodes[0]!);
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByLabel('New password', { exact: true }).fill('chosen in the browser');
  await page.getByLabel('New password again').fill('chosen in the brewery');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('alert').filter({ hasText: 'differ' }).waitFor();
  await page.getByLabel('New password again').fill('chosen in the browser');
  await page.getByRole('button', { name: 'Continue' }).click();
  await nameOf(page).filter({ hasText: user.name }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('after too many wrong passwords the button counts down', async (context) => {
  needChromium(context);
  await using strict = await startKith({ env: { KITH_SIGN_IN_FAILURES_PER_ADDRESS: '5' } });
  await using visitor = await visit(site.browser, strict.address, { locale: 'de-DE' });
  const page = await visitor.open();
  for (let attempts = 0; attempts < 6; attempts += 1) {
    await page.getByLabel('Benutzername').fill(`nobody${attempts}`);
    await page.getByLabel('Passwort', { exact: true }).fill('wrong');
    await page.getByRole('button', { name: 'Anmelden' }).click();
    await page.locator('main:not([aria-busy])').waitFor();
  }
  const waiting = page.getByRole('button', { name: /Noch \d+ s warten/ });
  await waiting.waitFor();
  expect(await waiting.isDisabled()).toBe(true);
});

test('a page of another origin can neither show the console in a frame nor get at its session', async (context) => {
  needChromium(context);
  const { user, password } = await site.kith.user();
  await using visitor = await site.visit();
  await signInOn(await visitor.open(), user.username, password);
  await nameOf(visitor.context.pages()[0]!).waitFor();

  const elsewhere = createServer((_, response) => {
    response.setHeader('content-type', 'text/html').end(`<iframe src="${site.kith.address}/console/"></iframe>`);
  }).listen(0);
  await once(elsewhere, 'listening');
  const page = await visitor.context.newPage();
  await page.goto(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`);
  expect(await page.frames()[1]!.locator('#root').count()).toBe(0);
  const outcome = await page.evaluate(
    (url) =>
      fetch(`${url}/kith.auth.v1.AuthService/RefreshAccessToken`, {
        method: 'POST',
        credentials: 'include',
        mode: 'no-cors',
        body: '{}',
      }).then(
        ({ type }) => type,
        () => 'failed',
      ),
    site.kith.address,
  );
  expect(['opaque', 'failed']).toContain(outcome);
  await page.close();
  // What it sent has not used the cookie.
  await visitor.context.pages()[0]!.reload();
  await nameOf(visitor.context.pages()[0]!).waitFor();
  elsewhere.close();
});
