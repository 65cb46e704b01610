import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { calculateJwkThumbprint, type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Database, Db } from '../db/database.ts';
import type { PublishedKeys } from '../http/jwks.ts';
import type { Keyring } from '../keyring.ts';
import { SecretKeyError } from '../secret-key.ts';
import { type AccessTokenKeys, ALGORITHM, CLOCKS_DIFFER_MS } from './access-token.ts';
import { isRotationDue, JWKS_MAX_AGE_MS, LEAD_MS, scheduleOf, VIEW_AGE_MAX_MS } from './key-schedule.ts';
import {
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

export interface SigningKeysOptions {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly now: () => number;
  /** How long a key signs before the next one does, milliseconds. */
  readonly periodMs: number;
  /** Told of a key that was made because it was due. */
  readonly onRotated: (kid: string, activateMs: number) => void;
  /** Told once of keys that cannot be read, and again after they could. */
  readonly onError: (error: unknown) => void;
}

interface Key extends SigningKeyRow {
  readonly jwk: JWK;
  readonly publicKey: CryptoKey;
  /** Undefined when it was erased. */
  readonly privateKey: CryptoKey | undefined;
}

/** What the database was last read to hold. */
interface View {
  /** Newest first. */
  readonly keys: readonly Key[];
  readonly readMs: number;
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
  #tending: Promise<void> | undefined;
  #isFailing = false;

  private constructor(options: SigningKeysOptions, view: View) {
    this.#options = options;
    this.#view = view;
    this.#byId = byId(view.keys);
    this.#timer = setInterval(() => this.#tend(), READ_INTERVAL_MS).unref();
  }

  /** Reads the keys, and makes the first one. Throws SecretKeyError when the secret is not the one they were sealed with. */
  static async open(options: SigningKeysOptions): Promise<SigningKeys> {
    await makeWhenDue(options);
    return new SigningKeys(options, await readKeys(options, new Map()));
  }

  signer(): { readonly kid: string; readonly privateKey: CryptoKey } {
    // One whose private key was erased is past its time, whatever this clock says.
    const signing = this.#view.keys.filter((key) => key.privateKey !== undefined);
    const active = scheduleOf(signing, this.#options.now()).find(({ state }) => state === 'active');
    if (active?.key.privateKey === undefined) throw new Error('there is no key to sign with');
    return { kid: active.key.kid, privateKey: active.key.privateKey };
  }

  has(kid: string): boolean {
    return this.#byId.has(kid);
  }

  /**
   * The public key with this id, or undefined. One that is unknown is looked for in
   * the database, four times a second at the most, however many strangers ask.
   * Throws server_unavailable when the database cannot be read.
   */
  async find(kid: string): Promise<CryptoKey | undefined> {
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
    const { body, etag, readMs } = this.#view;
    const maxAgeMs = JWKS_MAX_AGE_MS + VIEW_AGE_MAX_MS - (this.#options.now() - readMs);
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
      await sleep(Math.max(0, this.#askedMs + ASK_INTERVAL_MS - performance.now()));
    } finally {
      this.#asked = undefined;
    }
    this.#askedMs = performance.now();
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
    await this.reload();
    if (isRotationDue(this.#view.keys, periodMs, now())) {
      await makeWhenDue(this.#options);
      await this.reload();
    }
    const past = scheduleOf(this.#view.keys, now()).filter(({ state }) => state === 'retired');
    const idsOf = (schedule: typeof past) => schedule.map(({ key }) => key.kid);
    const removed = idsOf(past.filter(({ removeMs = Infinity }) => removeMs <= now()));
    const idle = idsOf(
      past.filter(({ key, retireMs = Infinity }) => key.privateKey && retireMs + CLOCKS_DIFFER_MS <= now()),
    );
    if (idle.length > 0) await erasePrivateKeys(database.db, idle);
    if (removed.length > 0) await deleteSigningKeys(database.db, removed);
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
    const isFirst = keys.length === 0; // nobody verifies yet, so it has nothing to wait for
    const row = { ...pair, create_ms: nowMs, activate_ms: isFirst ? nowMs : nowMs + LEAD_MS };
    await insertSigningKey(tx, row);
    return isFirst ? undefined : row;
  }, SIGNING_KEYS_TURN);
  if (made !== undefined) onRotated(made.kid, made.activate_ms);
}

async function readKeys(
  { database, keyring, now }: SigningKeysOptions,
  known: ReadonlyMap<string, Key>,
): Promise<View> {
  const readMs = now();
  const rows = await selectSigningKeys(database.db);
  const keys: Key[] = [];
  for (const row of rows) keys.push(await importRow(row, keyring, known.get(row.kid)));
  const body = JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
  return { keys, readMs, body, etag: `"${createHash('sha256').update(body).digest('base64url')}"` };
}

async function importRow(row: SigningKeyRow, keyring: Keyring, known: Key | undefined): Promise<Key> {
  if (known?.private_key_sealed === row.private_key_sealed) return known;
  const jwk = JSON.parse(row.public_key) as JWK;
  const publicKey = await importKey(jwk);
  if (row.private_key_sealed === '') return { ...row, jwk, publicKey, privateKey: undefined };
  const privateJwk = keyring.open('signing-key', row.private_key_sealed);
  if (privateJwk === undefined) {
    throw new SecretKeyError(
      'the secret key is not the one that the database was made with: restore the key file or KITH_SECRET_KEY',
    );
  }
  return { ...row, jwk, publicKey, privateKey: await importKey(JSON.parse(privateJwk) as JWK) };
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, ALGORITHM);
  if (key instanceof Uint8Array) throw new TypeError('an EC key is expected');
  return key;
}

function byId(keys: readonly Key[]): ReadonlyMap<string, Key> {
  return new Map(keys.map((key) => [key.kid, key]));
}
