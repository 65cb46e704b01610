import type { RequestListener, ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { describe, expect, test } from 'vitest';
import { createClock } from './clock.ts';
import { type Issuer, seconds, startIssuer } from './issuer.testkit.ts';
import { KeySet } from './keys.ts';

const refusedFor = (reason: string) => expect.objectContaining({ name: 'VerificationError', reason });

const sign = (issuer: Issuer, count: number) => Promise.all(Array.from({ length: count }, () => issuer.sign()));

test('keys are fetched with the first token, once for all that come at that time', async () => {
  await using issuer = await startIssuer();
  const verifier = issuer.verifier();
  expect(issuer.requests).toBe(0);
  const tokens = await sign(issuer, 50);
  await Promise.all(tokens.map((token) => verifier.verify(token)));
  expect(issuer.requests).toBe(1);
});

describe('keys are fetched again', () => {
  test.each<[headers: Record<string, string>, freshSeconds: number]>([
    [{ 'cache-control': 'public, max-age=300' }, 300],
    [{ 'cache-control': 'max-age="120"' }, 120],
    [{ 'cache-control': 'max-age=300', age: '200' }, 100],
    [{}, 300],
    [{ 'cache-control': 'max-age=1' }, 30],
    [{ 'cache-control': 'max-age=100, no-cache' }, 30],
    [{ 'cache-control': 'no-store' }, 30],
    [{ 'cache-control': 'max-age=300', age: '900' }, 30],
    [{ 'cache-control': 'max-age=31536000' }, 3600],
    [{ 'cache-control': 's-maxage=5' }, 300],
  ])('when %o was %i s ago, and not sooner', async (headers, freshSeconds) => {
    await using issuer = await startIssuer();
    issuer.headers = { 'content-type': 'application/json', ...headers };
    const verifier = issuer.verifier({ keepKeysMs: seconds(7200) });
    const verify = async () => verifier.verify(await issuer.sign());
    await verify();
    issuer.clock.ms += seconds(freshSeconds * 0.8 - 5);
    await verify();
    expect(issuer.requests).toBe(1);
    issuer.clock.ms += seconds(freshSeconds);
    await verify();
    expect(issuer.requests).toBe(2);
  });

  test('before they are too old, while nobody waits', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    await verifier.verify(await issuer.sign());
    issuer.clock.ms += seconds(250);
    const { promise: asked, resolve: ask } = Promise.withResolvers<ServerResponse>();
    issuer.answer = (_, response) => ask(response);
    await verifier.verify(await issuer.sign()); // does not wait for the answer
    expect((await asked).writableEnded).toBe(false);
  });

  test('before a token is believed, after a long silence', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    const stolen = issuer.signer.privateKey;
    const { kid } = issuer.signer;
    await verifier.verify(await issuer.sign());
    await issuer.rotate('instead');
    issuer.clock.ms += seconds(1000);
    const forged = await issuer.sign({}, { kid }, stolen);
    await expect(verifier.verify(forged)).rejects.toEqual(refusedFor('token_invalid'));
  });
});

describe('a token of a key that is not known', () => {
  test('is looked for once, and no more for 5 s, however many there are', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    await verifier.verify(await issuer.sign());
    issuer.clock.ms += seconds(6);
    const flood = async () => {
      const forged = await Promise.all(
        Array.from({ length: 200 }, (_, i) => issuer.sign({}, { kid: `${i}`.padStart(43, 'x') })),
      );
      const answers = await Promise.allSettled(forged.map((token) => verifier.verify(token)));
      for (const answer of answers) expect(answer).toMatchObject({ reason: refusedFor('token_invalid') });
    };
    await flood();
    await flood();
    expect(issuer.requests).toBe(2);
    issuer.clock.ms += seconds(6);
    await flood();
    expect(issuer.requests).toBe(3);
  });

  test('is verified when the issuer has begun to sign with it', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    for (let round = 0; round < 10; round++) {
      await verifier.verify(await issuer.sign());
      const old = await issuer.sign();
      await issuer.rotate();
      issuer.clock.ms += seconds(6);
      await verifier.verify(await issuer.sign());
      await verifier.verify(old);
    }
    expect(issuer.errors).toEqual([]);
  });

  test('is not judged while the issuer cannot be asked', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    await verifier.verify(await issuer.sign());
    await issuer.rotate();
    issuer.clock.ms += seconds(6);
    issuer.answer = (_, response) => response.writeHead(503).end();
    await expect(verifier.verify(await issuer.sign())).rejects.toEqual(refusedFor('keys_unavailable'));
    issuer.answer = undefined;
    issuer.clock.ms += seconds(6);
    await verifier.verify(await issuer.sign());
  });
});

test('a key that the issuer takes back verifies nothing any more, what was verified before included', async () => {
  await using issuer = await startIssuer();
  const verifier = issuer.verifier();
  const token = await issuer.sign();
  await verifier.verify(token);
  await issuer.rotate('instead');
  issuer.clock.ms += seconds(6);
  await verifier.verify(await issuer.sign());
  await expect(verifier.verify(token)).rejects.toEqual(refusedFor('token_invalid'));
});

test('a key that comes back with the same id and other numbers verifies what it signs, and nothing before', async () => {
  await using issuer = await startIssuer();
  const verifier = issuer.verifier();
  const token = await issuer.sign();
  const { kid } = issuer.signer;
  await verifier.verify(token);
  await issuer.rotate('instead');
  issuer.keys[0]!.kid = kid;
  issuer.clock.ms += seconds(1000);
  await verifier.verify(await issuer.sign({}, { kid }));
  await expect(verifier.verify(await issuer.sign())).rejects.toEqual(refusedFor('token_invalid'));
});

describe('while the issuer cannot be reached', () => {
  test('its last keys are used for an hour, and no longer, and then again when it is back', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    await verifier.verify(await issuer.sign());
    issuer.answer = (request) => request.socket.destroy();
    for (const minutes of [10, 20, 29]) {
      issuer.clock.ms += seconds(minutes * 60);
      await verifier.verify(await issuer.sign());
    }
    expect(issuer.errors).toHaveLength(3);
    issuer.clock.ms += seconds(60);
    await expect(verifier.verify(await issuer.sign())).rejects.toEqual(refusedFor('keys_unavailable'));
    issuer.answer = undefined;
    issuer.clock.ms += seconds(6);
    await verifier.verify(await issuer.sign());
  });

  test('one that never was there is asked again each second', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier();
    issuer.answer = (request) => request.socket.destroy();
    const token = await issuer.sign();
    for (let round = 1; round <= 3; round++) {
      await expect(verifier.verify(token)).rejects.toEqual(refusedFor('keys_unavailable'));
      await expect(verifier.verify(token)).rejects.toEqual(refusedFor('keys_unavailable'));
      expect(issuer.errors).toHaveLength(round);
      issuer.clock.ms += seconds(1);
    }
    issuer.answer = undefined;
    await verifier.verify(token);
  });

  test('a verifier is ready once it can be', async () => {
    await using issuer = await startIssuer();
    const verifier = issuer.verifier({ now: Date.now });
    issuer.answer = (request) => request.socket.destroy();
    await expect(verifier.ready(10)).rejects.toEqual(refusedFor('keys_unavailable'));
    issuer.answer = (request) => {
      issuer.answer = undefined;
      request.socket.destroy();
    };
    await verifier.ready(60_000);
    await verifier.verify(await issuer.sign());
  });
});

describe('an answer is not believed', () => {
  const json = (body: unknown): RequestListener => {
    return (_, response) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  };

  /** Sends until nobody reads. */
  const endlessly: RequestListener = (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.write('{"keys":[');
    const more = () => {
      while (response.write('{},'.repeat(10_000)));
    };
    response.on('drain', more);
    more();
  };

  test.each<[string, (issuer: Issuer) => RequestListener | Promise<RequestListener>]>([
    ['that is an error', () => (_, response) => response.writeHead(500).end()],
    ['that is partial', (issuer) => (_, response) => response.writeHead(206, issuer.headers).end('{"keys":[]}')],
    ['that is cut off', () => (_, response) => response.writeHead(200, { 'content-length': 100 }).end('{"keys":[')],
    ['of no content type', (issuer) => (_, response) => response.end(JSON.stringify({ keys: issuer.keys }))],
    [
      'of another content type',
      (issuer) => (_, response) =>
        response.setHeader('content-type', 'text/html').end(JSON.stringify({ keys: issuer.keys })),
    ],
    ['that is no JSON', () => (_, response) => response.setHeader('content-type', 'application/json').end('{"keys"')],
    [
      'that is no UTF-8',
      () => (_, response) =>
        response.setHeader('content-type', 'application/json').end(Buffer.from([0x22, 0xff, 0x22])),
    ],
    ['that is empty', () => json({})],
    ['that is null', () => json(null)],
    ['that is a list', (issuer) => json(issuer.keys)],
    ['without keys', () => json({ keys: [] })],
    ['whose keys are none', () => json({ keys: [null, 1, 'x', [], {}] })],
    ['of more keys than there can be', (issuer) => json({ keys: Array.from({ length: 101 }, () => issuer.keys[0]) })],
    ['with two keys of one id', (issuer) => json({ keys: [issuer.keys[0], issuer.keys[0]] })],
    ['that is endless', () => endlessly],
    [
      'with a point that is not on the curve',
      (issuer) => json({ keys: [{ ...issuer.keys[0], x: issuer.keys[0]!.y }] }),
    ],
    ['with keys for encryption', (issuer) => json({ keys: [{ ...issuer.keys[0], use: 'enc' }] })],
    ['with keys of another algorithm', (issuer) => json({ keys: [{ ...issuer.keys[0], alg: 'ES384' }] })],
    ['with keys without an id', (issuer) => json({ keys: [{ ...issuer.keys[0], kid: undefined }] })],
    ['with a secret for a key', (issuer) => json({ keys: [{ kty: 'oct', k: 'AAAA', kid: issuer.signer.kid }] })],
    [
      'with RSA keys',
      async (issuer) => {
        const { publicKey } = await generateKeyPair('RS256');
        return json({ keys: [{ ...(await exportJWK(publicKey)), kid: issuer.signer.kid }] });
      },
    ],
  ])('%s', async (_, answer) => {
    await using issuer = await startIssuer();
    const fresh = issuer.verifier();
    const verifier = issuer.verifier();
    const token = await issuer.sign();
    await verifier.verify(token);
    issuer.answer = await answer(issuer);
    // Without keys nothing is known; keys that are there stay.
    await expect(fresh.verify(token)).rejects.toEqual(refusedFor('keys_unavailable'));
    issuer.clock.ms += seconds(260);
    await verifier.verify(token);
    await expect.poll(() => issuer.errors, { timeout: 30_000 }).toHaveLength(2);
  });

  test('that sends elsewhere', async () => {
    await using issuer = await startIssuer();
    await using other = await startIssuer();
    const verifier = issuer.verifier();
    for (const status of [301, 302, 303, 307, 308]) {
      issuer.clock.ms += seconds(6);
      const location = `${other.address}/.well-known/jwks.json`;
      issuer.answer = (_, response) => response.writeHead(status, { location }).end();
      await expect(verifier.verify(await other.sign({ iss: issuer.address }))).rejects.toEqual(
        refusedFor('keys_unavailable'),
      );
    }
    expect(other.requests).toBe(0);
  });

  test.each<[string, RequestListener]>([
    ['that never comes', () => {}],
    ['that never ends', (_, response) => response.setHeader('content-type', 'application/json').write('{"keys":[')],
  ])('%s', async (_, answer) => {
    await using issuer = await startIssuer();
    issuer.answer = answer;
    const url = `${issuer.address}/.well-known/jwks.json`;
    const errors: Error[] = [];
    const keys = new KeySet({
      url,
      fetch: (input, init) => globalThis.fetch(input, init),
      clock: createClock(Date.now),
      keepMs: 1000,
      timeoutMs: 50,
      onError: (error) => errors.push(error),
    });
    await expect(keys.find('x')).rejects.toEqual(refusedFor('keys_unavailable'));
    expect(errors).toEqual([expect.objectContaining({ cause: new Error('no answer within 50 ms') })]);
    await expect.poll(() => issuer.connections(), { timeout: 30_000 }).toBe(0);
  });
});

test('keys of other kinds are passed over, and of a private key its public half is taken', async () => {
  await using issuer = await startIssuer();
  const { publicKey } = await generateKeyPair('EdDSA');
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  issuer.keys = [
    { ...(await exportJWK(publicKey)), kid: 'e'.repeat(43) },
    { ...(await exportJWK(privateKey)), kid: 'p'.repeat(43) },
    ...issuer.keys,
  ];
  const verifier = issuer.verifier();
  await verifier.verify(await issuer.sign());
  await verifier.verify(await issuer.sign({}, { kid: 'p'.repeat(43) }, privateKey));
  await expect(verifier.verify(await issuer.sign({}, { kid: 'e'.repeat(43) }))).rejects.toEqual(
    refusedFor('token_invalid'),
  );
});
