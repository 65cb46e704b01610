import { EventEmitter, once } from 'node:events';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { Client as PgClient } from 'pg';
import { expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { CLOCKS_DIFFER_MS } from '../src/kernel/clock.ts';
import { KEEP_MS, LEAD_MS } from '../src/identity/tokens/key-schedule.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { generator } from './support/generator.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from './support/kith.ts';
import { refreshed, signedIn } from './support/sign-in.ts';

const ISSUER = 'https://kith.example.org';
const ROTATIONS = 6;
const WORKERS = 3;

/** How far time moves on at once, milliseconds. */
const TICK_MS = 30_000;

/** How far the clock of each instance is off, milliseconds. */
const SKEWS_MS = [0, CLOCKS_DIFFER_MS / 2 - 5000, 5000 - CLOCKS_DIFFER_MS / 2];

/** How long a token must be good yet to be tried: nobody's clock passes its end meanwhile. */
const REMAINING_MS = CLOCKS_DIFFER_MS + 2 * TICK_MS;

/** Time stands still but for ticks, so that no result depends on how fast the machine is. */
const time = { nowMs: Date.now() };

/** Servers on one database, each with a clock of its own. */
async function startInstances(database: TestDatabase): Promise<Kith[]> {
  const instances: Kith[] = [];
  for (const skewMs of SKEWS_MS) {
    const kith = await startKith({ database, env: { KITH_ISSUER: ISSUER } });
    Object.defineProperty(kith.clock, 'offsetMs', { get: () => time.nowMs + skewMs - Date.now() });
    instances.push(kith);
  }
  return instances;
}

/** A service that verifies offline: it keeps the keys for as long as it may and asks for no others meanwhile. */
function createVerifier(kith: Kith) {
  let cached: { keys: ReturnType<typeof createLocalJWKSet>; untilMs: number } | undefined;
  return async (token: string): Promise<void> => {
    if (cached === undefined || time.nowMs >= cached.untilMs) {
      const askedMs = time.nowMs;
      const response = await fetch(`${kith.address}/.well-known/jwks.json`);
      const maxAgeS = Number(/^public, max-age=(\d+)$/.exec(response.headers.get('cache-control') ?? '')?.[1]);
      cached = {
        keys: createLocalJWKSet((await response.json()) as JSONWebKeySet),
        untilMs: askedMs + maxAgeS * 1000,
      };
    }
    await jwtVerify(token, cached.keys, {
      issuer: ISSUER,
      audience: 'kith',
      typ: 'at+jwt',
      algorithms: ['ES256'],
      currentDate: new Date(time.nowMs),
    });
  };
}

async function publishedKids({ address }: Kith): Promise<string[]> {
  const { keys } = (await (await fetch(`${address}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

test('keys that rotate six times under load fail no verification, on any instance or offline', async () => {
  await using database = await databases[1]!.create();
  await using stopping = new AsyncDisposableStack();
  const instances = await startInstances(database);
  for (const kith of instances) stopping.use(kith);
  const verifiers = instances.map(createVerifier);
  const verifications = [
    ...instances.map((kith) => (token: string) => kith.client(AuthService, token).userMe({})),
    ...verifiers,
  ];

  const failures: string[] = [];
  const signers = new Set<string>();
  let verified = 0;
  let ticks = 0;
  let done = false;
  const rounds = Array.from({ length: WORKERS }, () => 0);
  const progress = new EventEmitter();

  /** Refreshes on any instance, and verifies what it got, and something it got before, on all. */
  async function work(worker: number): Promise<void> {
    const random = generator(worker);
    const signedIn = await instances[0]!.user();
    let { refreshToken } = signedIn;
    let kept = [signedIn.accessToken];
    const attempt = async (what: string, call: () => Promise<unknown>) => {
      try {
        await call();
      } catch (error) {
        failures.push(`${what}, after ${ticks} ticks: ${String(error)}`);
      }
    };
    while (!done) {
      const begun = ticks;
      await attempt('refreshing', async () => {
        const renewed = await refreshed(
          random.pick(instances).client(AuthService).refreshAccessToken({ refreshToken }),
        );
        ({ refreshToken } = renewed);
        kept.push(renewed.accessToken);
      });
      kept = kept.filter((token) => decodeJwt(token).exp! * 1000 > time.nowMs + REMAINING_MS);
      for (const token of new Set([kept[0], random.pick(kept), kept.at(-1)])) {
        if (token === undefined) continue;
        const { kid } = decodeProtectedHeader(token);
        signers.add(kid!);
        await Promise.all(
          verifications.map((verify, i) => attempt(`verifying with ${i} what ${kid} signed`, () => verify(token))),
        );
        verified += verifications.length;
      }
      rounds[worker] = begun;
      progress.emit('round');
    }
  }

  /** Moves time on, and waits until every worker has done all it does since. */
  async function pass(ms: number): Promise<void> {
    for (const endMs = time.nowMs + ms; time.nowMs < endMs; ) {
      time.nowMs += TICK_MS;
      const tick = ++ticks;
      while (rounds.some((begun) => begun < tick)) await once(progress, 'round');
    }
  }

  const workers = Promise.all(Array.from({ length: WORKERS }, (_, i) => work(i)));
  const kids = await publishedKids(instances[0]!);
  try {
    for (let i = 0; i < ROTATIONS; i++) {
      const auth = instances[i % instances.length]!.client(AuthService);
      const { accessToken } = await signedIn(auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
      // Every instance at the same moment: one key comes of it.
      const made = await Promise.all(
        instances.map((kith) => kith.client(SigningKeyService, accessToken).rotateSigningKey({})),
      );
      const [kid, ...others] = new Set(made.map(({ signingKey }) => signingKey!.kid));
      expect(others).toEqual([]);
      kids.push(kid!);
      // Twice a second each reads the keys, which is soon in the time that passes here.
      for (const kith of instances) await expect.poll(() => publishedKids(kith), { timeout: 30_000 }).toContain(kid);
      await pass(LEAD_MS + CLOCKS_DIFFER_MS + TICK_MS);
    }
    await pass(Math.max(TICK_MS, KEEP_MS - ROTATIONS * LEAD_MS));
  } finally {
    done = true;
    await workers;
  }

  expect(failures).toEqual([]);
  expect(new Set(kids).size).toBe(ROTATIONS + 1);
  expect([...signers].toSorted()).toEqual(kids.toSorted());
  expect(verified).toBeGreaterThan(ticks * WORKERS * verifications.length);

  // What the first keys signed has expired since.
  await expect.poll(() => publishedKids(instances[1]!), { timeout: 30_000 }).not.toContain(kids[0]);
  expect((await publishedKids(instances[1]!))[0]).toBe(kids.at(-1));
  const client = new PgClient({ connectionString: database.url });
  await client.connect();
  try {
    // Each instance erases private keys when it has seen that another key signs.
    const privateKeys = async () =>
      (await client.query<{ kid: string }>("select kid from signing_keys where private_key_sealed <> ''")).rows;
    await expect.poll(privateKeys, { timeout: 30_000 }).toEqual([{ kid: kids.at(-1) }]);
  } finally {
    await client.end();
  }
}, 300_000);
