import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { ADMIN_PASSWORD, type Kith, startKith, type Protocol, protocols } from './support/kith.ts';
import { http1Request, sendHttp1 } from './support/raw.ts';
import { signedIn } from './support/sign-in.ts';

/** Who signs in is told where from, so every way to call is asked by a sign-in. */
const ways = protocols.filter(({ name }) => !name.includes('GET'));

/** Where a sign-in came from, by the list of sessions. */
async function seen(kith: Kith, protocol: Protocol, headers: Record<string, string>) {
  const client = createClient(AuthService, protocol.transport(kith.address));
  const { accessToken, user } = await signedIn(
    client.login({ identifier: 'admin', password: ADMIN_PASSWORD }, { headers }),
  );
  const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: user.id });
  return sessions.find(({ current }) => current)!;
}

let trusting: Kith;
let trustingNone: Kith;
let trustingOthers: Kith;
beforeAll(async () => {
  trusting = await startKith({ env: { KITH_TRUSTED_PROXIES: '127.0.0.0/8, 10.0.0.0/8, 2001:db8:aaaa::/48' } });
  trustingNone = await startKith();
  trustingOthers = await startKith({ env: { KITH_TRUSTED_PROXIES: '10.0.0.0/8' } });
});
afterAll(() => Promise.all([trusting, trustingNone, trustingOthers].map((kith) => kith[Symbol.asyncDispose]())));

describe.each(ways)('over $name', (protocol) => {
  test.each([
    ['an address', '192.0.2.1', '192.0.2.1'],
    ['an address of IPv6, in another spelling', '2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['an address of IPv4 in IPv6', '::ffff:192.0.2.1', '192.0.2.1'],
    ['an address with a port', '192.0.2.1:4711', '192.0.2.1'],
    ['an address of IPv6 with a port', '[2001:db8::1]:4711', '2001:db8::1'],
    ['two addresses: the right one is what the proxy wrote', '203.0.113.9, 192.0.2.1', '192.0.2.1'],
    ['addresses of proxies behind it', '192.0.2.1, 10.1.1.1, 2001:db8:aaaa::1', '192.0.2.1'],
    ['an address that claims to be a proxy, left of a client', '10.9.9.9, 192.0.2.1, 10.1.1.1', '192.0.2.1'],
    ['proxies alone', '10.1.1.1, 10.1.1.2', '10.1.1.1'],
    ['no address', 'unknown', '127.0.0.1'],
    ['no address behind a proxy', 'unknown, 10.1.1.1', '10.1.1.1'],
    ['an address and then none', '192.0.2.1, garbage', '127.0.0.1'],
    ['commas', ',,, ,', '127.0.0.1'],
    ['a quote and a semicolon', "' or 1=1; --", '127.0.0.1'],
    ['a number that is an address elsewhere', '3221225985', '127.0.0.1'],
    ['very many addresses', `${'203.0.113.9, '.repeat(400)}192.0.2.1`, '192.0.2.1'],
    ['very much else', 'x'.repeat(6000), '127.0.0.1'],
  ])('a proxy that is trusted says where the caller is: %s', async (_, header, address) => {
    expect(await seen(trusting, protocol, { 'x-forwarded-for': header })).toMatchObject({ address });
  });

  test.each([
    ['x-forwarded-for', '192.0.2.1'],
    ['x-forwarded-for', '127.0.0.1, 192.0.2.1'],
    ['x-real-ip', '192.0.2.1'],
    ['forwarded', 'for=192.0.2.1'],
    ['x-client-ip', '192.0.2.1'],
    ['cf-connecting-ip', '192.0.2.1'],
    ['true-client-ip', '192.0.2.1'],
    ['x-forwarded', '192.0.2.1'],
    ['x-forwarded-host', '192.0.2.1'],
  ])('nobody is believed who is no proxy: %s: %s', async (name, value) => {
    for (const kith of [trustingNone, trustingOthers]) {
      expect(await seen(kith, protocol, { [name]: value })).toMatchObject({ address: '127.0.0.1' });
    }
  });

  test('a proxy is believed in x-forwarded-for alone', async () => {
    const headers = { 'x-real-ip': '192.0.2.1', forwarded: 'for=192.0.2.1', 'x-client-ip': '192.0.2.1' };
    expect(await seen(trusting, protocol, headers)).toMatchObject({ address: '127.0.0.1' });
  });

  test('the user agent is one line of at most 256 characters', async () => {
    const { userAgent } = await seen(trusting, protocol, { 'user-agent': `kith test\t${'x'.repeat(400)}` });
    expect(userAgent).toBe(`kith test\uFFFD${'x'.repeat(246)}`);
  });
});

test('several headers of one name are one list, in which the last one is the proxy’s own', async () => {
  await using kith = await startKith({ env: { KITH_TRUSTED_PROXIES: '127.0.0.1' } });
  const body = JSON.stringify({ identifier: 'admin', password: ADMIN_PASSWORD });
  const request = http1Request(
    'POST',
    '/kith.auth.v1.AuthService/Login',
    { 'content-type': 'application/json', 'x-forwarded-for': '203.0.113.9', 'X-Forwarded-For': '192.0.2.1' },
    body,
  );
  const answer = await sendHttp1(kith.address, request);
  expect(answer.status).toBe(200);
  const { signedIn } = JSON.parse(answer.body.toString()) as {
    signedIn: { tokens: { accessToken: string }; user: { id: string } };
  };
  const { tokens, user } = signedIn;
  const { sessions } = await kith.client(SessionService, tokens.accessToken).listSessions({ userId: user.id });
  expect(sessions.map(({ address }) => address)).toEqual(['192.0.2.1']);
});

test('a connection to an address of IPv6 that carries IPv4 counts as IPv4', async () => {
  await using kith = await startKith({ env: { KITH_HOST: '::', KITH_TRUSTED_PROXIES: '10.0.0.0/8' } });
  const on = { ...kith, address: `http://127.0.0.1:${kith.port}` };
  expect(await seen(on, ways[0]!, {})).toMatchObject({ address: '127.0.0.1' });
});
