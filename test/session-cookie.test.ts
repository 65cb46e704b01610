import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Kith, startKith } from './support/kith.ts';

const OWN = { 'x-kith-session': 'cookie', 'sec-fetch-site': 'same-origin' };

let kith: Kith;
let secure: Kith;
beforeAll(async () => {
  [kith, secure] = await Promise.all([
    startKith({ env: { KITH_CORS_ORIGINS: 'https://app.example.org' } }),
    startKith({ env: { KITH_ISSUER: 'https://kith.example.org', KITH_FAST_PATH: 'false' } }),
  ]);
});
afterAll(async () => {
  for (const each of [kith, secure]) await each[Symbol.asyncDispose]();
});

type Headers = Readonly<Record<string, string>>;

/** Calls as a page does, over Connect. */
async function call(to: Kith, method: string, body: object, headers: Headers = OWN) {
  const response = await fetch(`${to.address}/kith.auth.v1.AuthService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as {
    signedIn?: { tokens: Tokens };
    tokens?: Tokens;
    details?: { debug?: { reason?: string } }[];
  };
  const [cookie, ...others] = response.headers.getSetCookie();
  expect(others).toEqual([]);
  return { status: response.status, answer, cookie, reason: answer.details?.[0]?.debug?.reason };
}

interface Tokens {
  readonly accessToken: string;
  readonly refreshToken?: string;
}

async function signIn(to: Kith) {
  const { user, password } = await to.user();
  const { answer, cookie = '' } = await call(to, 'Login', { identifier: user.username, password });
  return { ...answer.signedIn!.tokens, user, password, cookie, sent: cookie.split(';')[0]! };
}

test('a sign-in of a page has the refresh token in a cookie that no script can read, and not in the answer', async () => {
  const { cookie, refreshToken, accessToken } = await signIn(kith);
  expect(refreshToken).toBeUndefined();
  expect(accessToken).toMatch(/^ey/);
  // Without a path it is that of the service (RFC 6265, 5.1.4); without a domain it is that host's alone.
  expect(cookie).toMatch(/^kith_session=[\w.~-]+; Max-Age=(2592000|25919\d\d); HttpOnly; SameSite=Strict$/);
});

test('where browsers come by https, the cookie travels by https alone', async () => {
  const { cookie } = await signIn(secure);
  expect(cookie).toMatch(
    /^__Secure-kith_session=[\w.~-]+; Max-Age=(2592000|25919\d\d); HttpOnly; SameSite=Strict; Secure$/,
  );
});

test('a refresh takes the token from the cookie, and puts the next one there', async () => {
  const { sent, accessToken } = await signIn(kith);
  const next = await call(kith, 'RefreshAccessToken', {}, { ...OWN, cookie: `theme=dark; ${sent}; other=1` });
  expect(next.status).toBe(200);
  expect(next.answer.tokens?.refreshToken).toBeUndefined();
  expect(next.answer.tokens?.accessToken).not.toBe(accessToken);
  expect(next.cookie?.split(';')[0]).not.toBe(sent);
});

test('a sign-in with another step has no cookie before it is complete', async () => {
  const { user } = await kith.user();
  const { accessToken } = await kith.admin();
  const set = { userId: user.id, password: 'set by the admin', mustChangePassword: true };
  const response = await fetch(`${kith.address}/kith.user.v1.UserService/SetUserPassword`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${accessToken}` },
    body: JSON.stringify(set),
  });
  expect(response.status).toBe(200);
  const first = await call(kith, 'Login', { identifier: user.username, password: set.password });
  expect(first.cookie).toBeUndefined();
  const { challengeToken } = (first.answer as unknown as { challenge: { challengeToken: string } }).challenge;
  const second = await call(kith, 'CompleteLogin', { challengeToken, newPassword: 'chosen by the user' });
  expect(second.cookie).toMatch(/^kith_session=/);
  expect(second.answer.signedIn!.tokens.refreshToken).toBeUndefined();
});

test('signing out removes the cookie, and what it held is of no use', async () => {
  const { sent, accessToken } = await signIn(kith);
  const out = await call(kith, 'Logout', {}, { ...OWN, authorization: `Bearer ${accessToken}` });
  expect(out.cookie).toBe('kith_session=; Max-Age=0; HttpOnly; SameSite=Strict');
  const after = await call(kith, 'RefreshAccessToken', {}, { ...OWN, cookie: sent });
  expect(after).toMatchObject({ status: 401, reason: 'ERROR_REASON_SESSION_ENDED' });
});

describe('a call for a session in a cookie is refused, and gets none,', () => {
  const asked = { 'x-kith-session': 'cookie' };
  test.for<[string, Headers]>([
    ['from another site', { ...asked, 'sec-fetch-site': 'cross-site' }],
    ['from another origin of the same site', { ...asked, 'sec-fetch-site': 'same-site' }],
    ['from an origin that may call', { ...asked, origin: 'https://app.example.org' }],
    ['from an opaque origin', { ...asked, origin: 'null' }],
    ['from what does not say where it comes from', asked],
    ['with another origin that says it is the same', { ...asked, 'sec-fetch-site': 'same-origin, cross-site' }],
    ['with another value of the header', { ...OWN, 'x-kith-session': 'cookies' }],
  ])('%s', async ([, headers]) => {
    const { user, password, sent } = await signIn(kith);
    const refused = { status: 403, reason: 'ERROR_REASON_COOKIE_REFUSED', cookie: undefined };
    expect(await call(kith, 'Login', { identifier: user.username, password }, headers)).toMatchObject(refused);
    expect(await call(kith, 'RefreshAccessToken', {}, { ...headers, cookie: sent })).toMatchObject(refused);
    // It has used nothing up.
    expect(await call(kith, 'RefreshAccessToken', {}, { ...OWN, cookie: sent })).toMatchObject({ status: 200 });
  });
});

test.for<[string, (to: Kith) => string]>([
  ['its own address', (to) => new URL(to.address).origin],
  ['the address that callers know', () => 'https://kith.example.org'],
])('a browser that says no more than the origin is let in from %s', async ([, originOf]) => {
  const headers = { 'x-kith-session': 'cookie', origin: originOf(secure) };
  const { user, password } = await secure.user();
  const { cookie } = await call(secure, 'Login', { identifier: user.username, password }, headers);
  expect(cookie).toMatch(/^__Secure-kith_session=/);
});

test.for<[string, (sent: string) => string]>([
  ['none', () => 'theme=dark'],
  ['an empty one', () => 'kith_session='],
  ['one that is no token', () => 'kith_session=nonsense'],
  ['two, one of which somebody else may have set', (sent) => `kith_session=theirs; ${sent}`],
  ['one with a longer name', (sent) => `x${sent}`],
  ['one behind more than is read', (sent) => `a=${'a'.repeat(8192)}; ${sent}`],
])('a refresh with cookies of which there is %s is refused', async ([, cookieOf]) => {
  const { sent } = await signIn(kith);
  const refused = await call(kith, 'RefreshAccessToken', {}, { ...OWN, cookie: cookieOf(sent) });
  expect(refused).toMatchObject({ status: 401, reason: 'ERROR_REASON_REFRESH_TOKEN_INVALID', cookie: undefined });
});

test('without the header, nothing is read from a cookie and none is set', async () => {
  const { sent, user, password } = await signIn(kith);
  const headers = { cookie: sent, 'sec-fetch-site': 'same-origin' };
  const refused = await call(kith, 'RefreshAccessToken', {}, headers);
  expect(refused).toMatchObject({ status: 401, reason: 'ERROR_REASON_REFRESH_TOKEN_INVALID', cookie: undefined });
  const signedIn = await call(kith, 'Login', { identifier: user.username, password }, headers);
  expect(signedIn.cookie).toBeUndefined();
  expect(signedIn.answer.signedIn!.tokens.refreshToken).toMatch(/./);
});

test('pages of allowed origins may not send the header', async () => {
  const preflight = await fetch(`${kith.address}/kith.auth.v1.AuthService/Login`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://app.example.org',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,x-kith-session',
    },
  });
  expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).not.toContain('x-kith-session');
  expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
});
