import { once } from 'node:events';
import http2 from 'node:http2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';

const ME = '/kith.auth.v1.AuthService/UserMe';
const LOGIN = '/kith.auth.v1.AuthService/Login';
const CHECK = '/grpc.health.v1.Health/Check';
const CONNECTIONS = 4;
const STREAMS = 100;

/** Calls over a connection of its own, and says the status of the answer, once it is there. */
class Caller implements Disposable {
  readonly #session: http2.ClientHttp2Session;

  constructor({ address }: Kith) {
    this.#session = http2.connect(address);
  }

  async connected(): Promise<void> {
    if (this.#session.connecting) await once(this.#session, 'connect');
  }

  async call(path: string, body: object, headers: http2.OutgoingHttpHeaders = {}): Promise<number> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/json',
      ...headers,
    });
    stream.end(JSON.stringify(body));
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    stream.resume();
    return Number(answer[':status']);
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

const bearer = ({ accessToken }: SignedIn) => ({ authorization: `Bearer ${accessToken}` });

describe.each([
  ['with the fast path', 'true'],
  ["by Connect's own way", 'false'],
])('a flood of calls keeps others waiting for few of them, %s', (_, fast) => {
  let kith: Kith;
  let greedy: SignedIn;
  let other: SignedIn;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_FAST_PATH: fast } });
    [greedy, other] = await Promise.all([kith.user(Role.VIEWER), kith.user(Role.VIEWER)]);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each([
    ['of another user', ME, () => bearer(greedy)],
    ['of strangers', CHECK, () => ({})],
  ])('%s', async (_name, path, headers) => {
    using callers = new DisposableStack();
    const flood = Array.from({ length: CONNECTIONS }, () => callers.use(new Caller(kith)));
    const one = callers.use(new Caller(kith));
    await Promise.all([...flood, one].map((caller) => caller.connected()));
    expect(await one.call(ME, {}, bearer(other))).toBe(200); // its token is known from now on
    let answered = 0;
    const calls = flood.flatMap((caller) =>
      Array.from({ length: STREAMS }, async () => {
        await caller.call(path, {}, headers());
        answered += 1;
      }),
    );
    expect(await one.call(ME, {}, bearer(other))).toBe(200);
    const before = answered;
    await Promise.all(calls);
    expect(before).toBeLessThan((CONNECTIONS * STREAMS) / 2);
  });
});

test('whoever signs in from an address they know does not wait behind strangers, from however many addresses', async () => {
  await using kith = await startKith({ env: { KITH_TRUSTED_PROXIES: '127.0.0.1' } });
  const user = await kith.user(Role.VIEWER);
  using caller = new Caller(kith);
  const signIn = (identifier: string, password: string, address: string) =>
    caller.call(LOGIN, { identifier, password }, { 'x-forwarded-for': address });
  expect(await signIn(user.user.username, user.password, '198.51.100.1')).toBe(200);
  let answered = 0;
  const guesses = Array.from({ length: 90 }, async (_, i) => {
    await signIn(`somebody ${i}`, 'a wrong password', `192.0.2.${i}`);
    answered += 1;
  });
  expect(await signIn(user.user.username, user.password, '198.51.100.1')).toBe(200);
  const before = answered;
  await Promise.all(guesses);
  expect(before).toBeLessThan(45);
});
