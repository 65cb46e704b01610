import { randomUUID } from 'node:crypto';
import type { RequestListener, ServerResponse } from 'node:http';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { createClock } from './clock.ts';
import { type Feed, startFeed } from './feed.testkit.ts';
import { seconds } from './issuer.testkit.ts';
import { Revocations } from './revocations.ts';
import type { Verifier } from './verify.ts';

const refusedFor = (reason: string) => expect.objectContaining({ name: 'VerificationError', reason });
const revoked = refusedFor('token_revoked');
const stale = refusedFor('revocations_stale');

/** Waits until a token is refused for this reason. */
async function expectRefusal(verifier: Verifier, token: string, reason: string): Promise<void> {
  await expect
    .poll(() => verifier.verify(token).catch((error: unknown) => error), { timeout: 30_000, interval: 10 })
    .toEqual(refusedFor(reason));
}

describe('a session that ended', () => {
  test('before the verifier came has its tokens refused', async () => {
    await using feed = await startFeed();
    const sid = randomUUID();
    feed.first = [feed.session(sid)];
    const verifier = await feed.follower();
    await expect(verifier.verify(await feed.sign({ sid }))).rejects.toEqual(revoked);
  });

  test('while the verifier watches has its tokens refused, those of others not', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const [sid, other] = [randomUUID(), randomUUID()];
    const token = await feed.sign({ sid });
    expect(await verifier.verify(token)).toMatchObject({ sessionId: sid });
    feed.send(feed.session(sid));
    await expectRefusal(verifier, token, 'token_revoked');
    await expect(verifier.verify(await feed.sign({ sid }))).rejects.toEqual(revoked);
    expect(await verifier.verify(await feed.sign({ sid: other }))).toMatchObject({ sessionId: other });
  });

  test('may be told of twice, and is forgotten when its last token has expired', async () => {
    await using feed = await startFeed();
    const sid = randomUUID();
    feed.first = [feed.session(sid), feed.session(sid)];
    const verifier = await feed.follower({ revocations: { apiKey: 'x', whenStale: 'accept' } });
    feed.clock.ms += seconds(599);
    const token = await feed.sign({ sid });
    await expect(verifier.verify(token)).rejects.toEqual(revoked);
    feed.clock.ms += seconds(1);
    expect(await verifier.verify(token)).toMatchObject({ sessionId: sid });
  });

  test('ends the tokens of an API key alike', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const id = randomUUID();
    const apiKey = { sid: id, client_id: id, scope: 'users.read', auth_time: undefined, amr: undefined };
    const token = await feed.sign(apiKey);
    expect(await verifier.verify(token)).toMatchObject({ kind: 'api_key' });
    feed.send(feed.session(id));
    await expectRefusal(verifier, token, 'token_revoked');
  });
});

describe('a user who changed', () => {
  const roleAfter = async (feed: Feed, verifier: Verifier, sub: string) => {
    feed.send(feed.session('the last one'));
    await expectRefusal(verifier, await feed.sign({ sid: 'the last one' }), 'token_revoked');
    const token = await verifier.verify(await feed.sign({ sub })).catch((error: Error & { reason: string }) => error);
    return 'role' in token ? token.role : token.reason;
  };

  test.each<[string, [role: Role, revision: number][], string]>([
    ['has another role', [[Role.VIEWER, 2]], 'viewer'],
    ['has a greater role', [[Role.ADMIN, 2]], 'admin'],
    ['may not sign in', [[Role.UNSPECIFIED, 2]], 'token_revoked'],
    ['has a role of a later version', [[77 as Role, 2]], 'token_revoked'],
    [
      'changed twice',
      [
        [Role.UNSPECIFIED, 2],
        [Role.VIEWER, 3],
      ],
      'viewer',
    ],
    [
      'changed twice, told in another order',
      [
        [Role.VIEWER, 12],
        [Role.UNSPECIFIED, 9],
      ],
      'viewer',
    ],
    ['changed often', [[Role.ADMIN, Number.MAX_SAFE_INTEGER]], 'admin'],
  ])('%s', async (_, changes, expected) => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const [sub, other] = [randomUUID(), randomUUID()];
    const token = await feed.sign({ sub });
    expect(await verifier.verify(token)).toMatchObject({ role: 'editor' });
    for (const [role, revision] of changes) feed.send(feed.user(sub, role, revision));
    expect(await roleAfter(feed, verifier, sub)).toBe(expected);
    expect(await roleAfter(feed, verifier, other)).toBe('editor');
  });

  test('has the permissions of the new role, and an API key those of its own that are among them', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const sub = randomUUID();
    const id = randomUUID();
    const scope = 'users.write contacts.read of.a.later.version';
    const session = await feed.sign({ sub, roles: ['admin'] });
    const apiKey = await feed.sign({
      sub,
      roles: ['admin'],
      sid: id,
      client_id: id,
      scope,
      auth_time: undefined,
      amr: undefined,
    });
    const permissions = async (token: string) => [...(await verifier.verify(token)).permissions].toSorted();
    expect(await permissions(apiKey)).toEqual(['contacts.read', 'of.a.later.version', 'users.write']);
    feed.send(feed.user(sub, Role.VIEWER, 5));
    expect(await roleAfter(feed, verifier, sub)).toBe('viewer');
    expect(await permissions(session)).toEqual(['contacts.read', 'contacts.write']);
    expect(await permissions(apiKey)).toEqual(['contacts.read']);
  });

  test('has the role of the token again when the change is forgotten', async () => {
    await using feed = await startFeed();
    const sub = randomUUID();
    feed.first = [feed.user(sub, Role.VIEWER, 2)];
    const verifier = await feed.follower({ revocations: { apiKey: 'x', whenStale: 'accept' } });
    expect(await verifier.verify(await feed.sign({ sub }))).toMatchObject({ role: 'viewer' });
    feed.clock.ms += seconds(600);
    expect(await verifier.verify(await feed.sign({ sub }))).toMatchObject({ role: 'editor' });
  });
});

describe('what is not complete', () => {
  test('makes a verifier not ready, and what it tells holds all the same', async () => {
    await using feed = await startFeed();
    const sid = randomUUID();
    feed.incomplete = true;
    feed.first = [feed.session(sid)];
    const verifier = feed.verifier({ revocations: { apiKey: 'x' } });
    await expectRefusal(verifier, await feed.sign({ sid }), 'token_revoked');
    await expect(verifier.verify(await feed.sign())).rejects.toEqual(stale);
    await expect(verifier.ready(1)).rejects.toEqual(stale);
    feed.incomplete = false;
    feed.send();
    await verifier.ready(60_000);
    await verifier.verify(await feed.sign());
  });

  test('does not count as heard', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const sid = randomUUID();
    feed.incomplete = true;
    feed.clock.ms += 5001;
    feed.send(feed.session(sid));
    await expectRefusal(verifier, await feed.sign({ sid }), 'token_revoked');
    await expect(verifier.verify(await feed.sign())).rejects.toEqual(stale);
  });
});

describe('when nothing is heard', () => {
  test('for 5 s, tokens are refused until something is', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const token = await feed.sign();
    feed.clock.ms += 5000;
    await verifier.verify(token);
    feed.clock.ms += 1;
    await expect(verifier.verify(token)).rejects.toEqual(stale);
    await expect(verifier.ready(1)).rejects.toEqual(stale);
    const ready = verifier.ready(60_000);
    feed.send();
    await ready;
    await verifier.verify(token);
  });

  test('before the first message, likewise; but what is wrong with a token is said all the same', async () => {
    await using feed = await startFeed();
    const connected = Promise.withResolvers<void>();
    const serve = feed.otherwise;
    const held: Parameters<RequestListener>[] = [];
    feed.otherwise = (...call) => {
      held.push(call);
      connected.resolve();
    };
    const verifier = feed.verifier({ revocations: { apiKey: 'x' } });
    await connected.promise;
    await expect(verifier.verify(await feed.sign())).rejects.toEqual(stale);
    await expect(verifier.verify(await feed.sign({ exp: 1 }))).rejects.toEqual(refusedFor('token_expired'));
    await expect(verifier.verify('x')).rejects.toEqual(refusedFor('token_invalid'));
    feed.otherwise = serve;
    for (const call of held) serve(...call);
    await verifier.ready(60_000);
    await verifier.verify(await feed.sign());
  });

  test('tokens are accepted if that is wanted, but for those that are known to be revoked', async () => {
    await using feed = await startFeed();
    const sid = randomUUID();
    feed.first = [feed.session(sid)];
    const verifier = await feed.follower({ revocations: { apiKey: 'x', whenStale: 'accept' } });
    feed.first = new ConnectError('stopping', Code.Unavailable);
    feed.end(feed.first);
    feed.clock.ms += seconds(60);
    await verifier.verify(await feed.sign());
    await expect(verifier.verify(await feed.sign({ sid }))).rejects.toEqual(revoked);
  });

  test('a connection is given up, and another made', async () => {
    await using feed = await startFeed();
    const revocations = new Revocations({
      url: `${feed.address}/kith.auth.v1.RevocationService/WatchRevocations`,
      fetch: (input, init) => globalThis.fetch(input, init),
      clock: createClock(),
      getToken: () => 'x',
      onError: (error) => feed.errors.push(error),
      staleMs: 50,
    });
    await expect.poll(() => feed.credentials.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
    expect(feed.errors[0]).toMatchObject({ cause: new Error('nothing was heard for too long') });
    await revocations.close();
    await expect.poll(() => feed.open, { timeout: 30_000 }).toBe(0);
  });
});

describe('a stream that ends', () => {
  test.each([
    ['well', undefined],
    ['because the server stops', new ConnectError('stopping', Code.Unavailable)],
    ['because the credential has expired', new ConnectError('expired', Code.Unauthenticated)],
  ])('%s is taken up again, with what was missed', async (_, error) => {
    await using feed = await startFeed();
    const tokens = ['first', 'second', 'third'];
    const verifier = await feed.follower({ revocations: { getToken: async () => tokens.shift()! } });
    const sid = randomUUID();
    const token = await feed.sign({ sid });
    await verifier.verify(token);
    feed.first = [feed.session(sid)];
    feed.end(error);
    await expectRefusal(verifier, token, 'token_revoked');
    expect(feed.credentials).toEqual(['Bearer first', 'Bearer second']);
    expect(feed.errors).toHaveLength(1);
    expect(String(feed.errors[0]!.cause)).toContain(error?.rawMessage ?? 'undefined');
  });

  test('is taken up again when the connection is cut', async () => {
    await using feed = await startFeed();
    let cut = () => {};
    const serve = feed.otherwise;
    feed.otherwise = (request, response) => {
      cut = () => request.socket.destroy();
      serve(request, response);
    };
    const verifier = await feed.follower();
    const sid = randomUUID();
    feed.first = [feed.session(sid)];
    cut();
    await expectRefusal(verifier, await feed.sign({ sid }), 'token_revoked');
  });

  test('is asked for again after a credential could not be had', async () => {
    await using feed = await startFeed();
    const getToken = () => {
      getToken.calls += 1;
      if (getToken.calls === 1) throw new Error('thrown');
      if (getToken.calls === 2) return Promise.reject(new Error('rejected'));
      return 'x';
    };
    getToken.calls = 0;
    await feed.follower({ revocations: { getToken } });
    expect(feed.errors.map(({ cause }) => cause)).toEqual([new Error('thrown'), new Error('rejected')]);
  });
});

describe('an answer is not taken for a stream', () => {
  const type = { 'content-type': 'application/connect+json' };
  const envelope = (flags: number, text: string | Buffer, length = Buffer.byteLength(text)) => {
    const head = Buffer.from([flags, 0, 0, 0, 0]);
    head.writeUInt32BE(length, 1);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const stream =
    (...parts: Buffer[]): RequestListener =>
    (_, response) =>
      response.writeHead(200, type).end(Buffer.concat(parts));
  const revocations = (...list: unknown[]) => envelope(0, JSON.stringify({ revocations: list }));
  const expireTime = '2999-01-01T00:00:00Z';

  test.each<[string, RequestListener, cause: RegExp]>([
    ['that is refused', (_, r) => r.writeHead(401, type).end('{"code":"unauthenticated","message":"no"}'), /401.*no/],
    ['that is refused by who knows whom', (_, r) => r.writeHead(502).end('<html>'), /502/],
    ['that sends elsewhere', (_, r) => r.writeHead(307, { location: '/elsewhere' }).end(), /307/],
    ['of another type', (_, r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), /text\/html/],
    ['of no type', (_, r) => r.writeHead(200).end(), /without a content type/],
    ['that is empty', stream(), /cut off/],
    ['that is cut off in its head', stream(Buffer.from([0, 0])), /cut off/],
    ['that is cut off in a message', stream(envelope(0, '{}', 100)), /cut off/],
    ['that is cut off after a message', stream(envelope(0, '[]')), /not of the contract/],
    ['that is compressed', stream(envelope(1, '{}')), /flags 1/],
    ['that is flagged as nobody knows', stream(envelope(4, '{}')), /flags 4/],
    ['that announces too much', stream(envelope(0, '', 0xffffffff)), /more than/],
    ['that is no JSON', stream(envelope(0, '{')), /JSON/],
    ['that is no UTF-8', stream(envelope(0, Buffer.from([0x22, 0xff, 0x22]))), /./],
    ['that ends with an error', stream(envelope(2, '{"error":{"code":"internal"}}')), /internal/],
    ['that ends with an error without a reason', stream(envelope(2, '{"error":{}}')), /no reason/],
    ['whose message is a list', stream(envelope(0, '[]')), /not of the contract/],
    ['whose revocations are none', stream(envelope(0, '{"revocations":1}')), /not of the contract/],
    ['with a revocation of null', stream(revocations(null)), /not of the contract/],
    ['that never forgets', stream(revocations({ sessionId: 'x' })), /not of the contract/],
    ['with a session of a number', stream(revocations({ sessionId: 1, expireTime })), /not of the contract/],
    ['with a user of null', stream(revocations({ user: null, expireTime })), /not of the contract/],
    ['with a user without an id', stream(revocations({ user: {}, expireTime })), /not of the contract/],
    [
      'with a revision of letters',
      stream(revocations({ user: { userId: 'x', revision: 'x' }, expireTime })),
      /contract/,
    ],
  ])('%s', async (_, answer, cause) => {
    await using feed = await startFeed();
    feed.otherwise = answer;
    const verifier = feed.verifier({ revocations: { apiKey: 'x' } });
    await expect.poll(() => feed.errors.length, { timeout: 30_000 }).toBeGreaterThan(0);
    expect(String(feed.errors[0]!.cause)).toMatch(cause);
    await expect(verifier.verify(await feed.sign())).rejects.toEqual(stale);
    await expect(verifier.ready(1)).rejects.toMatchObject({ reason: 'revocations_stale', cause: feed.errors.at(-1) });
  });

  test('a credential is not sent to where an answer sends', async () => {
    await using feed = await startFeed();
    await using other = await startFeed();
    feed.otherwise = ({ url }, response) => response.writeHead(307, { location: `${other.address}${url}` }).end();
    feed.verifier({ revocations: { apiKey: 'x' } });
    await expect.poll(() => feed.errors.length, { timeout: 30_000 }).toBeGreaterThan(1);
    expect(other.credentials).toEqual([]);
  });

  test('a stream may come in any pieces', async () => {
    await using feed = await startFeed();
    const sids = Array.from({ length: 20 }, () => randomUUID());
    const bytes = Buffer.concat([
      ...sids.slice(0, 19).map((sessionId) => revocations({ sessionId, expireTime })),
      envelope(0, '{}'),
      revocations({ sessionId: sids[19], expireTime }),
    ]);
    const sendSlowly = async (response: ServerResponse) => {
      response.writeHead(200, type);
      for (const [i, byte] of bytes.entries()) {
        if (!response.write(Buffer.of(byte)) || i % 7 === 0) await new Promise(setImmediate);
      }
    };
    feed.otherwise = (_, response) => void sendSlowly(response);
    const verifier = feed.verifier({ revocations: { apiKey: 'x' } });
    for (const sid of sids) await expectRefusal(verifier, await feed.sign({ sid }), 'token_revoked');
    expect(feed.errors).toEqual([]);
  });

  test('a message may hold very many revocations', async () => {
    await using feed = await startFeed();
    const sids = Array.from({ length: 100_000 }, () => randomUUID());
    feed.first = sids.map((sid) => feed.session(sid));
    const verifier = await feed.follower();
    for (const sid of [sids[0], sids[50_000], sids[99_999]]) {
      await expect(verifier.verify(await feed.sign({ sid }))).rejects.toEqual(revoked);
    }
  });
});

describe('a verifier that is closed', () => {
  test('has no connection left, and refuses every token', async () => {
    await using feed = await startFeed();
    const verifier = await feed.follower();
    const token = await feed.sign();
    await verifier.verify(token);
    await verifier.close();
    await expect(verifier.verify(token)).rejects.toEqual(refusedFor('keys_unavailable'));
    await expect(verifier.ready()).rejects.toEqual(refusedFor('keys_unavailable'));
    await expect.poll(() => feed.open, { timeout: 30_000 }).toBe(0);
    await verifier.close();
    expect(feed.errors).toEqual([]);
  });

  test('while it connects, waits or fetches does not linger', async () => {
    await using feed = await startFeed();
    feed.answer = () => {};
    feed.otherwise = () => {};
    const waiting = feed.verifier({ revocations: { apiKey: 'x' } });
    const calls = Promise.allSettled([waiting.verify(await feed.sign()), waiting.ready(60_000)]);
    await waiting[Symbol.asyncDispose]();
    const refused = { status: 'rejected', reason: refusedFor('keys_unavailable') };
    expect(await calls).toEqual([refused, refused]);
    const hanging = feed.verifier({ revocations: { getToken: () => new Promise(() => {}) } });
    await hanging.close();
    expect(feed.errors).toEqual([]);
  });
});

test('the connection asks by the contract, with the credential', async () => {
  await using feed = await startFeed();
  const asked = Promise.withResolvers<{ headers: Record<string, unknown>; body: Buffer; method: string }>();
  feed.otherwise = (request) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () =>
      asked.resolve({ headers: request.headers, body: Buffer.concat(chunks), method: request.method! }),
    );
  };
  feed.verifier({ revocations: { apiKey: 'kith_ak_x' } });
  const { headers, body, method } = await asked.promise;
  expect(method).toBe('POST');
  expect(headers).toMatchObject({
    'content-type': 'application/connect+json',
    'connect-protocol-version': '1',
    authorization: 'Bearer kith_ak_x',
  });
  expect(body).toEqual(Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]));
});
