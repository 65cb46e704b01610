import type { JWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { type DatabaseKind, databases } from '../../../test/support/databases.ts';
import { userRow } from '../../../test/support/rows.ts';
import type { Caller } from '../../kernel/access.ts';
import { type Database, openDatabase } from '../../storage/database.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { CLOCKS_DIFFER_MS } from '../../kernel/clock.ts';
import { JWKS_MAX_AGE_MS, KEEP_MS, LEAD_MS } from './key-schedule.ts';
import { listSigningKeys, rotateSigningKey, type ScheduledKey } from './rotation.ts';
import { SigningKeys } from './signing-keys.ts';

const START_MS = 1_800_000_000_000;
const PERIOD_MS = 30 * 24 * 60 * 60 * 1000;
/** How often servers look at the keys, milliseconds: seldom enough that a test sets a clock between two looks. */
const AS_SERVERS = 500;
const KEYRING = createKeyring(Buffer.alloc(32, 'keys'));

interface Clock {
  nowMs: number;
  /** By how much it was set back, all in all: the other clock was not. */
  setMs?: number;
}

/** What an instance of the service has: its view of the keys, its clock, and what it would log. */
interface Instance extends AsyncDisposable {
  readonly keys: SigningKeys;
  readonly clock: Clock;
  readonly rotated: string[];
  readonly errors: unknown[];
  rotate(compromised?: boolean): Promise<ScheduledKey>;
}

/** A database and the instances that share it. */
interface Installation extends AsyncDisposable {
  readonly database: Database;
  start(nowMs?: number, secret?: string): Promise<Instance>;
  /** How often anything was read so far. */
  reads(): number;
  /** Waits until the only instance has looked at the time, and has done what is due. */
  tended(): Promise<void>;
  stored(): Promise<{ kid: string; isErased: boolean }[]>;
}

/** `readIntervalMs`: how often the instances look at the time and the keys, milliseconds. */
async function install({ create }: DatabaseKind, readIntervalMs = 20): Promise<Installation> {
  await using opening = new AsyncDisposableStack();
  const database = opening.use(await openDatabase(opening.use(await create()).url));
  const admin = userRow({ role: 'admin' });
  await database.db.insertInto('users').values(admin).execute();
  const caller: Caller = {
    userId: admin.id,
    sessionId: admin.id,
    kind: 'session',
    permissions: new Set(),
    signInMs: START_MS,
  };
  let reads = 0;
  const db = database.db.withPlugin({
    transformQuery({ node }) {
      if (node.kind === 'SelectQueryNode') reads++;
      return node;
    },
    transformResult: async ({ result }) => result,
  });
  const opened = opening.move();
  return {
    database,
    async start(nowMs = START_MS, secret) {
      const clock: Clock = { nowMs };
      const [rotated, errors]: [string[], unknown[]] = [[], []];
      const options = {
        database: { ...database, db },
        keyring: secret === undefined ? KEYRING : createKeyring(Buffer.alloc(32, secret)),
        now: () => clock.nowMs,
        monotonic: () => clock.nowMs + (clock.setMs ?? 0),
        periodMs: PERIOD_MS,
        onRotated: (kid: string) => rotated.push(kid),
        onError: (error: unknown) => errors.push(error),
        readIntervalMs,
      };
      const keys = await SigningKeys.open(options);
      return {
        keys,
        clock,
        rotated,
        errors,
        rotate: (compromised = false) => rotateSigningKey({ ...options, signingKeys: keys }, caller, compromised),
        [Symbol.asyncDispose]: () => keys[Symbol.asyncDispose](),
      };
    },
    reads: () => reads,
    async tended() {
      const before = reads; // each look begins by reading, and after the one before has ended
      await expect.poll(() => reads - before, { timeout: 30_000 }).toBeGreaterThanOrEqual(2);
    },
    async stored() {
      const rows = await database.db.selectFrom('signing_keys').selectAll().orderBy('activate_ms').execute();
      return rows.map((row) => ({ kid: row.kid, isErased: row.private_key_sealed === '' }));
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function published(keys: SigningKeys): string[] {
  return (JSON.parse(keys.jwks().body) as { keys: JWK[] }).keys.map(({ kid }) => kid!);
}

describe.each(databases)('signing keys on $name', (kind) => {
  test('the first key signs at once, for all who start at the same moment', async () => {
    await using kith = await install(kind);
    const instances = await Promise.all(Array.from({ length: 5 }, () => kith.start()));
    const [{ kid } = { kid: '' }, ...others] = await kith.stored();
    expect(others).toEqual([]);
    for (const { keys, rotated } of instances) {
      expect(keys.signer().kid).toBe(kid);
      expect(published(keys)).toEqual([kid]);
      expect(rotated).toEqual([]);
      await keys[Symbol.asyncDispose]();
    }
  });

  test('nothing but public keys is published', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await a.rotate();
    const { keys } = JSON.parse(a.keys.jwks().body) as { keys: JWK[] };
    expect(keys).toHaveLength(2);
    for (const key of keys) {
      expect(key).toEqual({
        kty: 'EC',
        crv: 'P-256',
        x: expect.any(String),
        y: expect.any(String),
        kid: expect.stringMatching(/^[\w-]{43}$/),
        alg: 'ES256',
        use: 'sig',
      });
    }
  });

  test('a server with another secret does not start, and another key does not come of it', async () => {
    await using kith = await install(kind);
    await using _ = await kith.start();
    await expect(kith.start(START_MS, 'other')).rejects.toMatchObject({ name: 'SecretKeyError' });
    expect(await kith.stored()).toHaveLength(1);
  });

  test('a new key is published at once and signs when its time has come, for each clock on its own', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await using behind = await kith.start(START_MS - CLOCKS_DIFFER_MS);
    const first = a.keys.signer().kid;
    const { key, state } = await a.rotate();
    expect(state).toBe('pending');
    expect(key.activate_ms).toBe(START_MS + LEAD_MS);
    await behind.keys.reload();
    for (const { keys } of [a, behind]) {
      expect(published(keys)).toEqual([key.kid, first]);
      expect(keys.signer().kid).toBe(first);
    }
    a.clock.nowMs = key.activate_ms - 1;
    expect(a.keys.signer().kid).toBe(first);
    a.clock.nowMs = key.activate_ms;
    behind.clock.nowMs = key.activate_ms - CLOCKS_DIFFER_MS;
    expect([a.keys.signer().kid, behind.keys.signer().kid]).toEqual([key.kid, first]);
  });

  test('an instance whose clock is behind the first key signs with it all the same', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await using behind = await kith.start(START_MS - CLOCKS_DIFFER_MS);
    expect(behind.keys.signer().kid).toBe(a.keys.signer().kid);
  });

  test('rotating while a key waits answers that key, on whichever instance', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await using b = await kith.start();
    const kids = new Set<string>();
    for (const rotated of await Promise.all([a, b, a, b, a].map(({ rotate }) => rotate()))) kids.add(rotated.key.kid);
    kids.add((await b.rotate()).key.kid);
    expect(kids.size).toBe(1);
    expect(await kith.stored()).toHaveLength(2);
    const events = await kith.database.db.selectFrom('activity').select('action').execute();
    expect(events).toEqual([{ action: 'kith.signing_key.rotated' }]);
  });

  test('the next key is made when it is due and not before, once for all instances', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    const first = a.keys.signer().kid;
    const dueMs = START_MS + PERIOD_MS - LEAD_MS;
    {
      await using early = await kith.start(dueMs - 1);
      expect(published(early.keys)).toEqual([first]);
    }
    const instances = await Promise.all(Array.from({ length: 5 }, () => kith.start(dueMs)));
    expect(instances.flatMap(({ rotated }) => rotated)).toHaveLength(1);
    for (const { keys, clock } of instances) {
      const [next] = published(keys);
      expect(keys.signer().kid).toBe(first);
      clock.nowMs = START_MS + PERIOD_MS;
      expect(keys.signer().kid).toBe(next);
      await keys[Symbol.asyncDispose]();
    }
    expect(await kith.stored()).toHaveLength(2);
  });

  test('a server that runs makes the next key by itself', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await using b = await kith.start();
    a.clock.nowMs = START_MS + PERIOD_MS;
    await expect.poll(() => published(b.keys).length, { timeout: 30_000 }).toBe(2);
    // b may read the key before a has heard that its transaction is committed.
    await expect.poll(() => a.rotated, { timeout: 30_000 }).toEqual([published(b.keys)[0]]);
    expect([...a.errors, ...b.errors]).toEqual([]);
  });

  test('a key of a database from before keys rotated signs, and is followed when it is due', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    const first = a.keys.signer().kid;
    await kith.database.db.updateTable('signing_keys').set({ activate_ms: 0 }).execute();
    await using early = await kith.start(START_MS + PERIOD_MS - LEAD_MS - 1);
    expect(published(early.keys)).toEqual([first]);
    await using late = await kith.start(START_MS + 2 * PERIOD_MS);
    expect(published(late.keys)).toHaveLength(2);
    expect([early.keys.signer().kid, late.keys.signer().kid]).toEqual([first, first]);
  });

  test('a private key is erased when no clock takes it for the active one, and its tokens verify on', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    const first = a.keys.signer().kid;
    const { key } = await a.rotate();
    a.clock.nowMs = key.activate_ms + CLOCKS_DIFFER_MS - 1;
    await kith.tended();
    expect(await kith.stored()).toContainEqual({ kid: first, isErased: false });
    a.clock.nowMs++;
    await expect
      .poll(() => kith.stored(), { timeout: 30_000 })
      .toEqual([
        { kid: first, isErased: true },
        { kid: key.kid, isErased: false },
      ]);
    await a.keys.reload();
    expect(await a.keys.find(first)).toMatchObject({ type: 'public' });
    expect(published(a.keys)).toEqual([key.kid, first]);
    // Far behind, it would take the erased key for the active one.
    await using behind = await kith.start(START_MS);
    expect(behind.keys.signer().kid).toBe(key.kid);
  });

  test('a key is removed when the last token it signed has expired', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    const first = a.keys.signer().kid;
    const { key } = await a.rotate();
    const [, { removeMs } = { removeMs: 0 }] = await listSigningKeys({ database: kith.database, now: () => START_MS });
    expect(removeMs).toBe(key.activate_ms + KEEP_MS);
    a.clock.nowMs = key.activate_ms + KEEP_MS - 1;
    await kith.tended();
    expect(await kith.stored()).toContainEqual({ kid: first, isErased: true });
    expect(a.keys.has(first)).toBe(true);
    a.clock.nowMs++;
    await expect.poll(() => a.keys.has(first), { timeout: 30_000 }).toBe(false);
    expect(await a.keys.find(first)).toBeUndefined();
    expect(published(a.keys)).toEqual([key.kid]);
  });

  test('keys that may be known to others are gone at once, the one that waits among them', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    await using b = await kith.start(START_MS - CLOCKS_DIFFER_MS);
    const first = a.keys.signer().kid;
    const waiting = await b.rotate();
    const { key, state } = await a.rotate(true);
    expect(state).toBe('active');
    expect(a.keys.signer().kid).toBe(key.kid);
    expect(await kith.stored()).toEqual([{ kid: key.kid, isErased: false }]);
    await expect.poll(() => published(b.keys), { timeout: 30_000 }).toEqual([key.kid]);
    for (const { keys } of [a, b]) {
      expect(keys.signer().kid).toBe(key.kid);
      for (const kid of [first, waiting.key.kid]) {
        expect(keys.has(kid)).toBe(false);
        expect(await keys.find(kid)).toBeUndefined();
      }
    }
  });

  test('a key that another instance just made is found by who asks for it', async () => {
    await using kith = await install(kind, AS_SERVERS);
    await using a = await kith.start();
    await using b = await kith.start();
    const { key } = await b.rotate(true);
    expect(await a.keys.find(key.kid)).toMatchObject({ type: 'public' });
  });

  test('strangers who make up ids do not make the server read for each', async () => {
    await using kith = await install(kind, AS_SERVERS);
    await using a = await kith.start();
    const before = kith.reads();
    const ids = Array.from({ length: 2000 }, (_, i) => String(i).padStart(43, 'x'));
    const found = await Promise.all(ids.map((kid) => a.keys.find(kid)));
    expect(new Set(found)).toEqual(new Set([undefined]));
    // One, and those that are due anyway however long this took.
    expect(kith.reads() - before).toBeLessThan(200);
  });

  test('a stranger who makes up one id after the other waits', async () => {
    await using kith = await install(kind, AS_SERVERS);
    await using a = await kith.start();
    const [before, begunMs] = [kith.reads(), performance.now()];
    for (const kid of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'a', 'b', 'a', 'b']) {
      expect(await a.keys.find(kid.repeat(43))).toBeUndefined();
    }
    // Twice a second anyway, and four times a second for those who ask.
    const seconds = (performance.now() - begunMs) / 1000;
    expect(kith.reads() - before).toBeLessThanOrEqual(6 * seconds + 3);
  });

  test('without the database, the keys that were read last sign and verify, unknown ones are not judged, and caches last less long', async () => {
    await using kith = await install(kind);
    await using a = await kith.start();
    const { kid } = a.keys.signer();
    const maxAgeMs = JWKS_MAX_AGE_MS;
    expect(a.keys.jwks().maxAgeS).toBe(maxAgeMs / 1000);
    await kith.database[Symbol.asyncDispose]();
    await kith.tended();
    expect(a.errors).toHaveLength(1);
    expect(a.keys.signer().kid).toBe(kid);
    expect(await a.keys.find(kid)).toMatchObject({ type: 'public' });
    await expect(a.keys.find('x'.repeat(43))).rejects.toBeInstanceOf(Error);
    const ages: [number, number][] = [];
    for (const sinceMs of [5_000, 10_000, 70_000, 310_000, 400_000]) {
      a.clock.nowMs = START_MS + sinceMs;
      ages.push([sinceMs, a.keys.jwks().maxAgeS]);
    }
    // Whoever keeps what it publishes asks again before a key that it does not know can sign.
    expect(ages).toEqual([
      [5_000, 300],
      [10_000, 300],
      [70_000, 240],
      [310_000, 0],
      [400_000, 0],
    ]);
  });

  describe.each([5 * 60_000, 9 * 3_600_000, 40 * 86_400_000])('with a clock that is set by %i ms', (stepMs) => {
    const setBack = ({ clock }: Instance) => {
      clock.nowMs -= stepMs;
      clock.setMs = (clock.setMs ?? 0) + stepMs;
    };

    test('back, the next key follows as usual, and none that signed before is good for longer than its tokens', async () => {
      await using kith = await install(kind, AS_SERVERS);
      await using a = await kith.start(START_MS + stepMs);
      const before = a.keys.signer().kid;
      setBack(a);
      expect(a.keys.signer().kid).toBe(before);
      await expect.poll(() => published(a.keys).length, { timeout: 30_000 }).toBe(2);
      const [next] = published(a.keys);
      expect(a.rotated).toEqual([next]);
      expect(a.keys.signer().kid).toBe(before);
      a.clock.nowMs = START_MS + LEAD_MS;
      expect(a.keys.signer().kid).toBe(next);
      a.clock.nowMs += 2 * KEEP_MS;
      await expect.poll(() => published(a.keys), { timeout: 30_000 }).toEqual([next]);
      expect((await kith.stored()).map(({ kid }) => kid)).toEqual([next]);
    });

    test('forward and back, no key is lost that signed a moment ago', async () => {
      await using kith = await install(kind, AS_SERVERS);
      await using a = await kith.start();
      const before = a.keys.signer().kid;
      await a.rotate();
      a.clock.nowMs += stepMs;
      a.clock.setMs = -stepMs;
      await kith.tended();
      setBack(a);
      await kith.tended();
      expect(a.keys.has(before)).toBe(true);
      expect(a.keys.signer().kid).toBe(before);
    });

    test('back while nobody looked, a key of the future keeps no other from being made', async () => {
      await using kith = await install(kind, AS_SERVERS);
      {
        await using early = await kith.start(START_MS + stepMs);
        await early.rotate();
      }
      await using a = await kith.start();
      const waiting = published(a.keys);
      const { key } = await a.rotate();
      expect(waiting.includes(key.kid)).toBe(false);
      expect(key.activate_ms).toBe(START_MS + LEAD_MS);
      await a.keys.reload();
      a.clock.nowMs = START_MS + LEAD_MS;
      expect(a.keys.signer().kid).toBe(key.kid);
    });
  });
});
