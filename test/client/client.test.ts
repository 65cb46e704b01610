import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempDisposable, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startRelay } from '../../check/relay.ts';
import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import {
  type Challenge,
  KithError,
  memoryStore,
  type Reason,
  webStorageStore,
} from '../../packages/client/src/index.ts';
import { createKith, fileStore } from '../../packages/client/src/node.ts';
import * as contract from '../../packages/client/src/contract.ts';
import { purge } from '../../src/purge.ts';
import { Authenticator } from '../support/authenticator.ts';
import { type CallProxy, startCallProxy } from '../support/http-proxy.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from '../support/kith.ts';
import { codeIn, mailsTo } from '../support/outbox.ts';
import { signedIn } from '../support/sign-in.ts';
import { openApp } from '../support/stored.ts';
import { clientProtocols, openKith } from './clients.ts';

/** What a call fails with. Throws when it does not fail. */
async function errorOf(call: Promise<unknown>): Promise<KithError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KithError)) throw new Error('the call did not fail with a KithError', { cause: error });
  return error;
}

const reasonOf = async (call: Promise<unknown>): Promise<Reason | undefined> => (await errorOf(call)).reason;

const countOf = (proxy: CallProxy, method: string) => proxy.calls.filter((path) => path.endsWith(`/${method}`)).length;

describe.each(clientProtocols)('over $protocol', ({ protocol, httpVersion }) => {
  const admin = { identifier: 'admin', password: ADMIN_PASSWORD };

  let shared: Kith;
  beforeAll(async () => {
    shared = await startKith();
  });
  afterAll(() => shared[Symbol.asyncDispose]());

  /** A server and a proxy before it; the server is that of the other tests, unless its clock is to be moved. */
  async function startAll(own?: 'own') {
    const stack = new AsyncDisposableStack();
    const kith = own === 'own' ? stack.use(await startKith()) : shared;
    const proxy = stack.use(await startCallProxy(kith.address, httpVersion));
    return { kith, proxy, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  }

  test('signs in at the first call, and every method answers what its rpc does', async () => {
    const kith = shared;
    using client = openKith(kith.address, { protocol, credentials: admin });
    const [first, second] = await Promise.all([client.auth.userMe(), client.admin.getStatus()]);
    expect(first.user!.username).toBe('admin');
    expect(second.database!.kind).toBe('SQLite');
    const { user } = await client.users.create({
      username: 'grace',
      email: 'grace@example.org',
      name: 'Grace',
      password: 'a password of grace',
    });
    expect((await client.users.getDetails({ userId: user.id })).user.name).toBe('Grace');
    expect((await client.raw(contract.UserService).getUser({ userId: user.id })).user!.id).toBe(user.id);
    expect((await createClient(contract.UserService, client.transport).getUser({ userId: user.id })).user!.id).toBe(
      user.id,
    );
  });

  test('a refusal has its reason, what the reason is about, the fields in question and the id of the request', async () => {
    const kith = shared;
    using client = openKith(kith.address, { protocol, credentials: admin });
    const account = { username: 'admin', email: 'x@example.org', name: 'X', password: 'not guessed first' };
    const headers = { 'x-request-id': 'of-this-call' };
    const taken = await errorOf(client.users.create(account, { headers }));
    expect(taken).toMatchObject({ code: 'AlreadyExists', reason: 'USERNAME_TAKEN', requestId: 'of-this-call' });
    const invalid = await errorOf(client.contacts.create({ givenName: 'A\n', emails: [{ address: 'nonsense' }] }));
    expect(invalid.reason).toBe('FIELDS_INVALID');
    expect(invalid.violations).toEqual([
      { field: 'givenName', rule: 'string.line', message: expect.any(String) },
      { field: 'emails[0].address', rule: expect.any(String), message: expect.any(String) },
    ]);
    expect(await errorOf(client.users.get({ userId: randomUUID() }))).toMatchObject({
      code: 'NotFound',
      reason: 'USER_NOT_FOUND',
      violations: [],
    });
    using stranger = openKith(kith.address, { protocol });
    expect(await reasonOf(stranger.auth.userMe())).toBe('ACCESS_TOKEN_MISSING');
  });

  test('a list gives every item of every page, and single pages', async () => {
    const kith = shared;
    const { accessToken } = await kith.user(Role.EDITOR);
    using client = openKith(kith.address, { protocol, credentials: () => accessToken });
    for (const givenName of ['A', 'B', 'C', 'D', 'E']) await client.contacts.create({ givenName });
    const names: string[] = [];
    const list = client.contacts.list({ pageSize: 2 });
    for await (const { givenName } of list) names.push(givenName);
    expect(names.toSorted()).toEqual(['A', 'B', 'C', 'D', 'E']);
    const first = await list.page();
    const second = await list.page(first.nextPageToken);
    expect([...first.contacts, ...second.contacts].map(({ givenName }) => givenName)).toEqual(names.slice(0, 4));
  });

  test('an update is made of what the resource is now, again when somebody else was faster, and not for ever', async () => {
    const kith = shared;
    const { accessToken } = await kith.user(Role.EDITOR);
    using client = openKith(kith.address, { protocol, credentials: () => accessToken });
    const { contact } = await client.contacts.create({ givenName: 'Grace', notes: '0' });
    const increment = ({ notes }: { notes: string }) => ({ notes: String(Number(notes) + 1) });
    await Promise.all([1, 2, 3].map(() => client.contacts.update(contact.id, increment)));
    expect((await client.contacts.get({ contactId: contact.id })).contact).toMatchObject({
      givenName: 'Grace',
      notes: '3',
    });
    let asked = 0;
    const always = client.contacts.update(contact.id, async (current) => {
      asked += 1;
      await client.contacts.update({ contactId: contact.id, notes: `${current.notes}!` });
      return { starred: true };
    });
    expect(await reasonOf(always)).toBe('ETAG_MISMATCH');
    expect(asked).toBe(5);
    const unchanged = await client.contacts.update(contact.id, () => undefined);
    expect(unchanged.contact).toMatchObject({ notes: '3!!!!!', starred: false });
  });

  test('fifty calls at once with an expired token make one refresh, and all are answered', async () => {
    await using all = await startAll('own');
    const { refreshToken, user } = await all.kith.user();
    using client = openKith(all.proxy.address, { protocol, credentials: { refreshToken } });
    await client.auth.userMe();
    expect(countOf(all.proxy, 'RefreshAccessToken')).toBe(1);
    all.kith.clock.offsetMs += all.kith.config.accessTokenTtlMs + 1000;
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.users.get({ userId: user.id })));
    expect(new Set(answers.map((answer) => answer.user.id))).toEqual(new Set([user.id]));
    expect(countOf(all.proxy, 'RefreshAccessToken')).toBe(2);
  });

  test('an access token is replaced before it expires, and no call is refused', async () => {
    await using all = await startAll();
    const { refreshToken } = await all.kith.user();
    const store = memoryStore(refreshToken);
    using client = openKith(all.proxy.address, { protocol, credentials: { store } });
    await client.auth.userMe();
    const { replaceTimeMs } = (await store.load())!;
    expect(replaceTimeMs).toBeLessThan(Date.now() + all.kith.config.accessTokenTtlMs - 20_000);
    await store.exclusive(async () => store.save({ ...(await store.load())!, replaceTimeMs: 0 }));
    using later = openKith(all.proxy.address, { protocol, credentials: { store } });
    await later.auth.userMe();
    expect([countOf(all.proxy, 'RefreshAccessToken'), countOf(all.proxy, 'UserMe')]).toEqual([2, 2]);
  });

  test('the answer of a refresh that is lost ends no session', async () => {
    await using all = await startAll();
    const { refreshToken } = await all.kith.user();
    let lost = 0;
    all.proxy.drops = (path) => path.endsWith('/RefreshAccessToken') && (lost += 1) === 1;
    using client = openKith(all.proxy.address, { protocol, credentials: { refreshToken } });
    await client.auth.userMe();
    expect(countOf(all.proxy, 'RefreshAccessToken')).toBe(2);
  });

  test('a session that is revoked is told once, as one error, and no further call is sent', async () => {
    await using all = await startAll();
    const { accessToken, refreshToken, user } = await all.kith.user();
    const told: KithError[] = [];
    const onSessionEnded = (error: KithError) => void told.push(error);
    using client = openKith(all.proxy.address, { protocol, credentials: { refreshToken, onSessionEnded } });
    await client.auth.userMe();
    await all.kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
    const refusals = await Promise.all(Array.from({ length: 50 }, () => reasonOf(client.auth.userMe())));
    expect(new Set(refusals)).toEqual(new Set(['SESSION_ENDED']));
    expect(told.map(({ reason }) => reason)).toEqual(['SESSION_ENDED']);
    const sent = all.proxy.calls.length;
    expect(await reasonOf(client.auth.userMe())).toBe('SESSION_ENDED');
    expect(all.proxy.calls.length).toBe(sent);
    expect(countOf(all.proxy, 'RefreshAccessToken')).toBe(1);
    expect(told.length).toBe(1);
  });

  test.each(['call', 'watch'])(
    'a session that is over right after its renewal is told by the %s that finds out',
    async (kind) => {
      await using all = await startAll('own');
      const { refreshToken, user, password } = await all.kith.user();
      const kept = memoryStore(refreshToken);
      const isExpired = () => all.kith.clock.offsetMs > 0;
      const store = {
        ...kept,
        async save(session: Parameters<typeof kept.save>[0]) {
          await kept.save(session);
          if (!isExpired() || session === undefined) return;
          const { accessToken } = await signInTo(all.kith, user.username, password);
          await all.kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
        },
      };
      const told: (Reason | undefined)[] = [];
      const onSessionEnded = ({ reason }: KithError) => void told.push(reason);
      // A watch does not end, which the proxy would wait for.
      const url = kind === 'watch' ? all.kith.address : all.proxy.address;
      using client = openKith(url, { protocol, credentials: { store, onSessionEnded } });
      await client.auth.userMe();
      all.kith.clock.offsetMs += all.kith.config.accessTokenTtlMs + 1000;
      const watch = async () => {
        for await (const event of client.activity.watch({ userId: user.id }))
          if (event.kind === 'state' && event.state === 'live') return;
      };
      expect(await reasonOf(kind === 'watch' ? watch() : client.auth.userMe())).toBe('SESSION_ENDED');
      expect(told).toEqual(['SESSION_ENDED']);
      const sent = all.proxy.calls.length;
      expect(await reasonOf(client.auth.userMe())).toBe('SESSION_ENDED');
      expect([all.proxy.calls.length, told.length]).toEqual([sent, 1]);
    },
  );

  test('a watch tells that the session is over, also with an earlier token of it', async () => {
    await using all = await startAll('own');
    const { refreshToken, user, password } = await all.kith.user();
    const told: (Reason | undefined)[] = [];
    const onSessionEnded = ({ reason }: KithError) => void told.push(reason);
    using client = openKith(all.kith.address, { protocol, credentials: { refreshToken, onSessionEnded } });
    const states: string[] = [];
    const ends: unknown[] = [];
    client.watchActivity(user.id, (event) => void (event.kind === 'state' && states.push(event.state)), {
      onError: (error) => void ends.push(error),
    });
    await expect.poll(() => states.at(-1)).toBe('live');
    all.kith.clock.offsetMs += all.kith.config.accessTokenTtlMs + 1000;
    await client.auth.userMe();
    const { accessToken } = await signInTo(all.kith, user.username, password);
    await all.kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
    await expect.poll(() => ends).toMatchObject([{ reason: 'SESSION_ENDED' }]);
    expect(told).toEqual(['SESSION_ENDED']);
  });

  test('with a password, a session that is over is replaced by another', async () => {
    await using all = await startAll();
    const { user, password, accessToken } = await all.kith.user();
    const credentials = { identifier: user.username, password };
    using client = openKith(all.proxy.address, { protocol, credentials });
    await client.auth.userMe();
    await all.kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
    expect(await reasonOf(client.auth.userMe())).toBe('SESSION_ENDED');
    expect((await client.auth.userMe()).user!.id).toBe(user.id);
    expect(countOf(all.proxy, 'Login')).toBe(2);
  });

  test('a create whose answer is lost is made once', async () => {
    await using all = await startAll();
    const { accessToken } = await all.kith.user();
    const { lost } = loseFirstAnswers(all.proxy, 'CreateContact');
    using client = openKith(all.proxy.address, { protocol, credentials: () => accessToken });
    const rounds = Array.from({ length: 20 }, async (_, i) => {
      const { contact } = await client.contacts.create(
        { givenName: `${i}` },
        { headers: { 'x-request-id': `call-${i}` } },
      );
      return contact.id;
    });
    const ids = await Promise.all(rounds);
    expect(lost.size).toBe(20);
    const stored: string[] = [];
    for await (const { id } of client.contacts.list()) stored.push(id);
    expect(stored.toSorted()).toEqual(ids.toSorted());
  });

  test('a read whose answer is lost is repeated; what might be done twice is not', async () => {
    await using all = await startAll();
    const { accessToken, user } = await all.kith.user();
    using client = openKith(all.proxy.address, { protocol, credentials: () => accessToken });
    loseFirstAnswers(all.proxy, 'GetUser');
    const headers = { 'x-request-id': 'a-read' };
    expect((await client.users.get({ userId: user.id }, { headers })).user.id).toBe(user.id);
    expect(countOf(all.proxy, 'GetUser')).toBe(2);
    all.proxy.drops = () => true;
    const error = await errorOf(client.users.update({ userId: user.id, name: 'Another' }));
    expect(error.reason).toBeUndefined();
    expect(countOf(all.proxy, 'UpdateUser')).toBe(1);
    expect(await errorOf(client.users.get({ userId: user.id }))).toMatchObject({ reason: undefined });
    expect(countOf(all.proxy, 'GetUser')).toBe(2 + 4);
  });

  test('a call ends with its signal and with its time, whatever attempts are left', async () => {
    await using all = await startAll();
    const { accessToken, user } = await all.kith.user();
    using client = openKith(all.proxy.address, { protocol, credentials: () => accessToken });
    const ended = new AbortController();
    all.proxy.drops = () => {
      ended.abort();
      return true;
    };
    const { signal } = ended;
    expect(await errorOf(client.users.get({ userId: user.id }, { signal }))).toMatchObject({ code: 'Canceled' });
    expect(countOf(all.proxy, 'GetUser')).toBe(1);
    await expectSilence(protocol, accessToken);
  });

  test('a watch goes on after cuts, an expired token and another server, and tells each activity once', async () => {
    await using relay = await startRelay();
    await using first = await startKith();
    relay.upstream = first.address;
    const { user, password, accessToken, refreshToken } = await first.user();
    using client = openKith(relay.address, { protocol, credentials: { refreshToken } });
    const seen: string[] = [];
    const states: string[] = [];
    const problems: unknown[] = [];
    const cancel = client.watchActivity(
      user.id,
      (event) => {
        if (event.kind === 'activity') seen.push(event.activity.details || event.activity.action);
        if (event.kind === 'state') states.push(event.state);
      },
      { actionPrefixes: ['kith.contact'], onError: (error) => void problems.push(error) },
    );
    const record = (server: Kith, token: string) =>
      server.client(ContactService, token).createContact({ givenName: 'Grace' });
    await expect.poll(() => states.at(-1)).toBe('live');
    await record(first, accessToken);
    await expect.poll(() => seen.length).toBe(1);

    relay.upstream = undefined;
    relay.cut(() => true);
    await expect.poll(() => states.at(-1)).toBe('connecting');
    await record(first, accessToken);
    relay.upstream = first.address;
    await expect.poll(() => seen.length).toBe(2);

    first.clock.offsetMs += first.config.accessTokenTtlMs + 1000;
    relay.cut(() => true);
    const { accessToken: later } = await signInTo(first, user.username, password);
    await record(first, later);
    await expect.poll(() => seen.length).toBe(3);

    await first.stop();
    await using second = await startKith({ database: first.database });
    second.clock.offsetMs = first.clock.offsetMs;
    await record(second, (await signInTo(second, user.username, password)).accessToken);
    relay.upstream = second.address;
    await expect.poll(() => seen.length).toBe(4);
    await expect.poll(() => states.at(-1)).toBe('live');
    cancel();
    expect({ seen, problems }).toEqual({ seen: Array(4).fill('kith.contact.created'), problems: [] });
  });
});

test('a stream of requests that is refused for its token is not sent twice, and the next one has another token', async () => {
  await using kith = await startKith();
  const { refreshToken } = await kith.user(Role.EDITOR);
  using client = createKith({ url: kith.address, credentials: { refreshToken } });
  await client.auth.userMe();
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  let made = 0;
  const record = async () => {
    const requests = (async function* () {
      made += 1;
      yield { sequence: 1n, activities: [{ id: randomUUID(), action: 'page.viewed' }] };
    })();
    const answers = await Array.fromAsync(client.raw(contract.ActivityService).streamUserActivity(requests));
    return answers.map(({ sequence, recordedCount }) => [Number(sequence), recordedCount]);
  };
  const refused = await record().catch((error: unknown) => KithError.from(error).reason);
  expect(refused).toBe('ACCESS_TOKEN_EXPIRED');
  expect(await record()).toEqual([
    [0, 0],
    [1, 1],
  ]);
  expect(made).toBe(2);
});

test('a namespace has the methods that take one request', async () => {
  using client = createKith({ url: 'http://localhost:1' });
  expect(Object.keys(client.activity).toSorted()).toEqual(['list', 'record', 'recorder', 'watch']);
  // @ts-expect-error it streams its requests
  expect(client.activity.stream).toBeUndefined();
});

/** A call to a server that never answers is given up by its own clock. */
async function expectSilence(protocol: (typeof clientProtocols)[number]['protocol'], accessToken: string) {
  await using silent = await startRelay();
  silent.stall(true);
  silent.upstream = silent.address;
  using client = openKith(silent.address, { protocol, credentials: () => accessToken });
  expect(await errorOf(client.auth.userMe({}, { timeoutMs: 50 }))).toMatchObject({ code: 'DeadlineExceeded' });
}

/** Loses the first answer to each call of a method, told apart by `x-request-id`. */
function loseFirstAnswers(proxy: CallProxy, method: string) {
  const lost = new Set<string>();
  proxy.drops = (path, requestId) => {
    if (!path.endsWith(`/${method}`) || lost.has(requestId)) return false;
    lost.add(requestId);
    return true;
  };
  return { lost };
}

function signInTo(kith: Kith, identifier: string, password: string) {
  return signedIn(kith.client(AuthService).login({ identifier, password }));
}

test('a sign-in asks for another password and for the code of the second factor, again when they are refused', async () => {
  await using kith = await startKith();
  const { accessToken } = await kith.admin();
  const account = { username: 'ada', email: 'ada@example.org', name: 'Ada', password: 'the first password' };
  await kith.client(UserService, accessToken).createUser({ ...account, mustChangePassword: true });
  using client = createKith({ url: kith.address });
  const passwords = ['password1', 'the second password'];
  const refusals: (Reason | undefined)[] = [];
  const user = await client.signIn({
    identifier: 'ada',
    password: account.password,
    newPassword: ({ error }) => {
      refusals.push(error?.reason);
      return passwords.shift()!;
    },
  });
  expect(user.username).toBe('ada');
  expect(refusals).toEqual([undefined, 'PASSWORD_TOO_COMMON']);

  const app = new Authenticator((await client.secondFactor.enrollTotp()).uri, kith.clock);
  const { recoveryCodes } = await client.secondFactor.confirmTotp({ code: app.next() });
  await client.signOut();
  expect(await reasonOf(client.auth.userMe())).toBe('ACCESS_TOKEN_MISSING');
  const answers = [{ totpCode: app.wrong() }, { recoveryCode: recoveryCodes[0]! }];
  const asked: unknown[] = [];
  const credentials = {
    identifier: 'ada',
    password: 'the second password',
    secondFactor: ({ methods, error }: Challenge<'totpCode' | 'recoveryCode'>) => {
      asked.push([...methods, error?.reason]);
      return answers.shift()!;
    },
  };
  expect((await client.signIn(credentials)).username).toBe('ada');
  expect(asked).toEqual([
    ['totpCode', 'recoveryCode', undefined],
    ['totpCode', 'recoveryCode', 'SECOND_FACTOR_WRONG'],
  ]);
  const without = await errorOf(client.signIn({ identifier: 'ada', password: 'the second password' }));
  expect(without).toMatchObject({ code: 'FailedPrecondition', message: expect.stringContaining('secondFactor') });
});

test('a mailed code signs in where it was asked for, and is asked for again after a wrong one', async () => {
  await using kith = await startKith();
  const { user } = await kith.user();
  const { accessToken } = await kith.admin();
  await kith.client(UserService, accessToken).updateUser({ userId: user.id, emailVerified: true });
  using client = createKith({ url: kith.address, credentials: { store: memoryStore() } });
  const refusals: (Reason | undefined)[] = [];
  const mailedCode = async ({ error }: { readonly error: KithError | undefined }) => {
    refusals.push(error?.reason);
    if (error === undefined) return '0000 0000';
    return vi.waitFor(async () => codeIn(kith, (await mailsTo(kith, user.id))[0]!), { timeout: 30_000 });
  };
  const signedInUser = await client.signIn({ identifier: user.username, mailedCode });
  expect(signedInUser.id).toBe(user.id);
  expect(refusals).toEqual([undefined, 'MAILED_CODE_INVALID']);
  expect((await client.auth.userMe()).user?.id).toBe(user.id);
  const another = client.signIn({ identifier: user.username, mailedCode: () => '0000 0001' });
  expect(await reasonOf(another)).toBe('MAILED_CODE_INVALID');
});

test('credentials that have no session cannot sign in or out, and are sent as they are', async () => {
  await using kith = await startKith();
  const { accessToken } = await kith.admin();
  const { secret } = await kith
    .client(ApiKeyService, accessToken)
    .createApiKey({ name: 'of a service', permissions: [Permission.USERS_READ] });
  using client = createKith({ url: kith.address, credentials: { apiKey: secret } });
  expect((await client.users.list().page()).users.map(({ username }) => username)).toEqual(['admin']);
  await expect(client.signOut()).rejects.toThrow('no session');
  using wrong = createKith({ url: kith.address, credentials: { apiKey: `${secret}x` } });
  expect(await reasonOf(wrong.auth.userMe())).toMatch(/^(API_KEY|ACCESS_TOKEN)_INVALID$/);
  const given: (string | undefined)[] = [];
  const tokenFor = (refused: string | undefined) => {
    given.push(refused);
    return accessToken;
  };
  using other = createKith({ url: kith.address, credentials: tokenFor });
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  expect(await reasonOf(other.auth.userMe())).toBe('ACCESS_TOKEN_EXPIRED');
  expect(given).toEqual([undefined, accessToken]);
});

test('processes that share the file of a session make one refresh, and one of them that died delays the others only', async () => {
  const directory = await mkdtempDisposable(join(tmpdir(), 'kith-session-'));
  await using stack = new AsyncDisposableStack();
  stack.use(directory);
  const kith = stack.use(await startKith());
  const proxy = stack.use(await startCallProxy(kith.address, '1.1'));
  const path = join(directory.path, 'new', 'session.json');
  const { refreshToken } = await kith.user();
  const store = fileStore(path);
  await store.exclusive(() => store.save({ refreshToken, accessToken: '', replaceTimeMs: 0 }));
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const children = [1, 2, 3].map(() => {
    const script = resolve('test/client/file-store-process.ts');
    const child = spawn(process.execPath, [script, proxy.address, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    stack.defer(() => void child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { next: async () => String((await lines.next()).value), go: () => child.stdin.write('go\n') };
  });
  expect(await Promise.all(children.map(({ next }) => next()))).toEqual(Array(3).fill('10 answers'));
  expect(countOf(proxy, 'RefreshAccessToken')).toBe(1);
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  for (const { go } of children) go();
  expect(await Promise.all(children.map(({ next }) => next()))).toEqual(Array(3).fill('10 answers'));
  expect(countOf(proxy, 'RefreshAccessToken')).toBe(2);
  expect(await readdir(join(directory.path, 'new'))).toEqual(['session.json']);

  await writeFile(`${path}.lock`, 'of a process that died');
  await utimes(`${path}.lock`, new Date(0), new Date(0));
  expect(await store.exclusive(async () => 'taken')).toBe('taken');
  expect(await readdir(join(directory.path, 'new'))).toEqual(['session.json']);
});

test('a watch whose cursor is too old tells of the gap, lists what is kept and goes on behind it', async () => {
  await using kith = await startKith({ env: { KITH_ACTIVITY_DAYS: '1' } });
  using client = createKith({ url: kith.address, credentials: { identifier: 'admin', password: ADMIN_PASSWORD } });
  const userId = (await client.auth.userMe()).user!.id;
  const { watchCursor: from } = await client.activity.list({ userId }).page();
  await client.contacts.create({ givenName: 'forgotten' });
  kith.clock.offsetMs += 2 * 24 * 60 * 60 * 1000;
  await client.contacts.create({ givenName: 'kept' });
  await using app = await openApp(kith);
  await purge(app);
  const listed: string[] = [];
  const watched: string[] = [];
  for await (const event of client.activity.watch({ userId, from, actionPrefixes: ['kith.contact'] })) {
    if (event.kind === 'gap') {
      for await (const { action } of event.activities) listed.push(action);
      await client.contacts.create({ givenName: 'watched' });
    }
    if (event.kind === 'activity') watched.push(event.activity.action);
    if (watched.length > 0) break;
  }
  expect({ listed, watched }).toEqual({ listed: ['kith.contact.created'], watched: ['kith.contact.created'] });
});

test('clients that share a Web Storage make one refresh, and each has the session that another opened', async () => {
  await using kith = await startKith();
  await using proxy = await startCallProxy(kith.address, '1.1');
  const { user, password } = await kith.user();
  sessionStorage.clear();
  const open = () =>
    openKith(proxy.address, { protocol: 'connect', credentials: { store: webStorageStore(sessionStorage) } });
  const tabs = Array.from({ length: 10 }, open);
  expect(await reasonOf(tabs[0]!.auth.userMe())).toBe('ACCESS_TOKEN_MISSING');
  await tabs[0]!.signIn({ identifier: user.username, password });
  const ids = async () => (await Promise.all(tabs.map((tab) => tab.auth.userMe()))).map((answer) => answer.user!.id);
  expect(new Set(await ids())).toEqual(new Set([user.id]));
  expect(countOf(proxy, 'RefreshAccessToken')).toBe(0);
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  expect(new Set(await ids())).toEqual(new Set([user.id]));
  expect(countOf(proxy, 'RefreshAccessToken')).toBe(1);
  await tabs[1]!.signOut();
  expect(sessionStorage.length).toBe(0);
  expect(await reasonOf(tabs[2]!.auth.userMe())).toBe('SESSION_ENDED');
});
