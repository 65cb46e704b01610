import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { LRUCache } from 'lru-cache';
import { ALGORITHM } from '../../../packages/verify/src/access-token.ts';
import {
  CLOCKS_DIFFER_MS,
  type Clock,
  type Moment,
  momentOf,
  sinceMs,
  systemClock,
  watchSteps,
} from '../../kernel/clock.ts';
import type { Database, Db } from '../../storage/database.ts';
import type { PublishedKeys } from './jwks.ts';
import type { Keyring } from '../../kernel/keyring.ts';
import { SecretKeyError } from '../../kernel/secret-key.ts';
import type { AccessTokenKeys } from './access-token.ts';
import {
  isOfFuture,
  isRotationDue,
  JWKS_MAX_AGE_MS,
  KEEP_MS,
  LEAD_MS,
  type Scheduled,
  scheduleOf,
  VIEW_AGE_MAX_MS,
} from './key-schedule.ts';
import {
  activateUntil,
  deleteSigningKeys,
  erasePrivateKeys,
  insertSigningKey,
  type SigningKeyRow,
  selectSigningKeys,
} from './store.ts';

/** How often the keys are read, milliseconds: a key that leaked is refused within a second on every instance. */
const READ_INTERVAL_MS = 500;

/** How often they are read at the most because tokens name unknown ones, milliseconds. */
const ASK_INTERVAL_MS = 250;

/** How many ids that no key has are remembered, and for how long, milliseconds. */
const UNKNOWN_MAX = 1000;
const UNKNOWN_TTL_MS = 10_000;

/** Transactions that change the keys run one after the other. */
export const SIGNING_KEYS_TURN = 'signing-keys';

/**
 * How recently the next key was made where another instance has seen the same step
 * of the clock, milliseconds: each looks twice a second.
 */
const SAME_STEP_MS = 10_000;

export interface SigningKeysOptions extends Clock {
  readonly database: Database;
  readonly keyring: Keyring;
  /** How long a key signs before the next one does, milliseconds. */
  readonly periodMs: number;
  /** Told of a key that was made because it was due. */
  readonly onRotated: (kid: string, activateMs: number) => void;
  /** Told once of keys that cannot be read, and again after they could. */
  readonly onError: (error: unknown) => void;
  /** How often the keys are read, milliseconds. Tests set it. */
  readonly readIntervalMs?: number | undefined;
}

interface Key extends SigningKeyRow {
  readonly jwk: JWK;
  readonly publicKey: KeyObject;
  /** Undefined when it was erased. */
  readonly privateKey: KeyObject | undefined;
}

/** What the database was last read to hold. */
interface View {
  /** Newest first. */
  readonly keys: readonly Key[];
  /** When it was read. */
  readonly read: Moment;
  readonly body: string;
  readonly etag: string;
}

/**
 * The keys that sign and verify access tokens, shared by all instances through the
 * database, which each reads twice a second. Which key signs is for the times of
 * the keys and the clock to say, and a key is published for so long before its
 * time that whoever verifies knows it by then. While the database cannot be read,
 * the keys at hand go on signing and verifying.
 *
 * Makes the next key when it is due, forgets private keys that have done their
 * work, and removes the public ones when no token of theirs is good any more.
 *
 * A clock that was set back makes the next key due: what was signed before would be
 * good again when the clock gets there once more, while nobody remembers by then
 * what of it was revoked.
 */
export class SigningKeys implements AccessTokenKeys, AsyncDisposable {
  readonly #options: SigningKeysOptions;
  #view: View;
  #byId: ReadonlyMap<string, Key>;
  /** The read that ended last, or is under way. */
  #read: Promise<void> = Promise.resolve();
  /** The read that begins after it. */
  #next: Promise<void> | undefined;
  /** The read for those who ask for unknown keys. */
  #asked: Promise<void> | undefined;
  #askedMs = -Infinity;
  /** Ids that were looked for in vain. None of them comes to be: an id is the hash of a random key. */
  readonly #unknown = new LRUCache<string, true>({ max: UNKNOWN_MAX, ttl: UNKNOWN_TTL_MS });
  readonly #timer: NodeJS.Timeout;
  readonly #stepOfClock: () => number;
  /** Since when the clock is known to run evenly, and when it was seen to be set; both by the other clock. */
  #steadySinceMs: number;
  #steppedMs = Number.NEGATIVE_INFINITY;
  #wasSetBack = false;
  #tending: Promise<void> | undefined;
  #isFailing = false;

  private constructor(options: SigningKeysOptions, view: View) {
    this.#options = options;
    this.#view = view;
    this.#byId = byId(view.keys);
    this.#stepOfClock = watchSteps(options);
    this.#steadySinceMs = options.monotonic();
    this.#timer = setInterval(() => this.#tend(), options.readIntervalMs ?? READ_INTERVAL_MS).unref();
  }

  /** Reads the keys, and makes the first one. Throws SecretKeyError when the secret is not the one they were sealed with. */
  static async open(options: SigningKeysOptions): Promise<SigningKeys> {
    await makeWhenDue(options);
    return new SigningKeys(options, await readKeys(options, new Map()));
  }

  signer(): { readonly kid: string; readonly privateKey: KeyObject } {
    // One whose private key was erased is past its time, whatever this clock says.
    const signing = this.#view.keys.filter((key) => key.privateKey !== undefined);
    const active = scheduleOf(signing, this.#options.now()).find(({ state }) => state === 'active');
    if (active?.key.privateKey === undefined) throw new Error('there is no key to sign with');
    return { kid: active.key.kid, privateKey: active.key.privateKey };
  }

  /** The keys as they were read last, newest first. */
  schedule(): Scheduled<Omit<SigningKeyRow, 'private_key_sealed'>>[] {
    return scheduleOf(this.#view.keys, this.#options.now());
  }

  has(kid: string): boolean {
    return this.#byId.has(kid);
  }

  /**
   * The public key with this id, or undefined. One that is unknown is looked for in
   * the database, four times a second at the most, however many strangers ask.
   * Throws server_unavailable when the database cannot be read.
   */
  async find(kid: string): Promise<KeyObject | undefined> {
    const known = this.#byId.get(kid);
    if (known !== undefined) return known.publicKey;
    if (this.#unknown.has(kid)) return undefined;
    await (this.#asked ??= this.#readSoon());
    const found = this.#byId.get(kid);
    if (found === undefined) this.#unknown.set(kid, true);
    return found?.publicKey;
  }

  /** The public keys, those to come among them. The longer the database could not be read, the shorter they may be kept. */
  jwks(): PublishedKeys {
    const { body, etag, read } = this.#view;
    const maxAgeMs = JWKS_MAX_AGE_MS + VIEW_AGE_MAX_MS - sinceMs(read, this.#options);
    return { body, etag, maxAgeS: Math.floor(Math.min(Math.max(maxAgeMs, 0), JWKS_MAX_AGE_MS) / 1000) };
  }

  /** Reads the keys; what was committed before the call is seen. */
  reload(): Promise<void> {
    const read = async () => {
      this.#next = undefined;
      this.#view = await readKeys(this.#options, this.#byId);
      this.#byId = byId(this.#view.keys);
    };
    return (this.#next ??= this.#read = this.#read.then(read, read));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#tending;
  }

  async #readSoon(): Promise<void> {
    try {
      await sleep(Math.max(0, this.#askedMs + ASK_INTERVAL_MS - systemClock.monotonic()));
    } finally {
      this.#asked = undefined;
    }
    this.#askedMs = systemClock.monotonic();
    await this.reload();
  }

  #tend(): void {
    this.#tending ??= this.#keepUp()
      .then(
        () => void (this.#isFailing = false),
        (error: unknown) => {
          if (!this.#isFailing) this.#options.onError(error); // once, not twice a second
          this.#isFailing = true;
        },
      )
      .finally(() => (this.#tending = undefined));
  }

  async #keepUp(): Promise<void> {
    const { database, now, periodMs } = this.#options;
    this.#watchClock();
    await this.reload();
    if (this.#isLeftFromAnotherTime()) {
      await makeAfterStep(this.#options);
      this.#wasSetBack = false;
      await this.reload();
    } else if (isRotationDue(this.#view.keys, periodMs, now())) {
      await makeWhenDue(this.#options);
      await this.reload();
    }
    // A clock that was set may be set right again: what was signed a moment ago stays good then.
    if (this.#options.monotonic() - this.#steppedMs < KEEP_MS) return;
    const past = scheduleOf(this.#view.keys, now()).filter(({ state }) => state === 'retired');
    const idsOf = (schedule: typeof past) => schedule.map(({ key }) => key.kid);
    const removed = idsOf(past.filter(({ removeMs = Infinity }) => removeMs <= now()));
    const idle = idsOf(
      past.filter(({ key, retireMs = Infinity }) => key.privateKey && retireMs + CLOCKS_DIFFER_MS <= now()),
    );
    if (idle.length > 0) await erasePrivateKeys(database.db, idle);
    if (removed.length > 0) await deleteSigningKeys(database.db, removed);
  }

  #watchClock(): void {
    const stepMs = this.#stepOfClock();
    if (stepMs !== 0) this.#steadySinceMs = this.#steppedMs = this.#options.monotonic();
    if (stepMs < 0) this.#wasSetBack = true;
  }

  /**
   * Whether keys were in use at times that are still to come. Of a step back that
   * nobody saw, keys of the future tell; but a clock that is wrong since the machine
   * started is set right within minutes, so those are not relied on at once.
   */
  #isLeftFromAnotherTime(): boolean {
    if (this.#wasSetBack) return true;
    const { now, monotonic } = this.#options;
    const isSteady = monotonic() - this.#steadySinceMs >= LEAD_MS;
    return isSteady && this.#view.keys.some((key) => isOfFuture(key, now()));
  }
}

export async function hasSigningKeys(db: Db): Promise<boolean> {
  return (await selectSigningKeys(db)).length > 0;
}

/** A new key pair, sealed, as it is stored. */
export async function makeSigningKey(keyring: Keyring): Promise<Omit<SigningKeyRow, 'create_ms' | 'activate_ms'>> {
  const pair = await generateKeyPair(ALGORITHM, { extractable: true });
  const publicJwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  return {
    kid,
    public_key: JSON.stringify({ ...publicJwk, kid, alg: ALGORITHM, use: 'sig' }),
    private_key_sealed: keyring.seal('signing-key', JSON.stringify(await exportJWK(pair.privateKey))),
  };
}

/** Makes the next key when it is due. Of several instances that do at the same time, one makes it. */
async function makeWhenDue({ database, keyring, now, periodMs, onRotated }: SigningKeysOptions): Promise<void> {
  if (!isRotationDue(await selectSigningKeys(database.db), periodMs, now())) return;
  const pair = await makeSigningKey(keyring);
  const made = await database.transaction(async (tx) => {
    const nowMs = now();
    const keys = await selectSigningKeys(tx);
    if (!isRotationDue(keys, periodMs, nowMs)) return undefined;
    if (keys.length > 0) return insertNextKey(tx, pair, nowMs);
    // Nobody verifies yet, so it has nothing to wait for.
    await insertSigningKey(tx, { ...pair, create_ms: nowMs, activate_ms: nowMs });
    return undefined;
  }, SIGNING_KEYS_TURN);
  if (made !== undefined) onRotated(made.kid, made.activate_ms);
}

/** Makes the next key after the clock was set back. Of several instances that saw it at the same time, one makes it. */
async function makeAfterStep({ database, keyring, now, onRotated }: SigningKeysOptions): Promise<void> {
  const pair = await makeSigningKey(keyring);
  const made = await database.transaction(async (tx) => {
    const nowMs = now();
    const isMade = (key: SigningKeyRow) =>
      Math.abs(nowMs - key.create_ms) < SAME_STEP_MS && key.activate_ms > nowMs && !isOfFuture(key, nowMs);
    return (await selectSigningKeys(tx)).some(isMade) ? undefined : insertNextKey(tx, pair, nowMs);
  }, SIGNING_KEYS_TURN);
  if (made !== undefined) onRotated(made.kid, made.activate_ms);
}

/** Adds the key that signs when it is known everywhere. What would begin to sign later gives way to it. */
export async function insertNextKey(
  tx: Db,
  pair: Omit<SigningKeyRow, 'create_ms' | 'activate_ms'>,
  nowMs: number,
): Promise<SigningKeyRow> {
  const activateMs = nowMs + LEAD_MS;
  await activateUntil(tx, activateMs - 1);
  return insertSigningKey(tx, { ...pair, create_ms: nowMs, activate_ms: activateMs });
}

async function readKeys(options: SigningKeysOptions, known: ReadonlyMap<string, Key>): Promise<View> {
  const { database, keyring } = options;
  const read = momentOf(options);
  const rows = await selectSigningKeys(database.db);
  const keys: Key[] = [];
  for (const row of rows) keys.push(importRow(row, keyring, known.get(row.kid)));
  const body = JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
  return { keys, read, body, etag: `"${createHash('sha256').update(body).digest('base64url')}"` };
}

function importRow(row: SigningKeyRow, keyring: Keyring, known: Key | undefined): Key {
  if (known?.private_key_sealed === row.private_key_sealed) {
    return known.activate_ms === row.activate_ms ? known : { ...known, activate_ms: row.activate_ms };
  }
  const jwk = JSON.parse(row.public_key) as JWK;
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  if (row.private_key_sealed === '') return { ...row, jwk, publicKey, privateKey: undefined };
  const privateJwk = keyring.open('signing-key', row.private_key_sealed);
  if (privateJwk === undefined) {
    throw new SecretKeyError(
      'the secret key is not the one that the database was made with: restore the key file or KITH_SECRET_KEY',
    );
  }
  const privateKey = createPrivateKey({ key: JSON.parse(privateJwk) as JWK, format: 'jwk' });
  return { ...row, jwk, publicKey, privateKey };
}

function byId(keys: readonly Key[]): ReadonlyMap<string, Key> {
  return new Map(keys.map((key) => [key.kid, key]));
}
