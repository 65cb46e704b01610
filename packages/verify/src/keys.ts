import { type CryptoKey, importJWK } from 'jose';
import { ALGORITHM } from './access-token.ts';
import { discard, isObject, parseJson, readBody } from './body.ts';
import { type Clock, type Moment, orAborted, pause } from './clock.ts';
import { VerificationError } from './verification-error.ts';

/** For how long a key set is taken to be as it was, whatever its cache-control says. */
const MAX_AGE_MS = { least: 30_000, usual: 300_000, most: 3_600_000 };

/** The part of that time after which the set is fetched again, while nobody waits for it. */
const REFRESH_AHEAD = 0.8;

/** How long after an attempt to fetch the set the next one may be, unless there is no set to use yet. */
const REFETCH_MS = 5_000;
const FIRST_FETCH_MS = 1_000;

const TIMEOUT_MS = 5_000;
const BYTES_MAX = 262_144;
const KEYS_MAX = 100;
const TEXT_MAX = 256;

export interface KeySetOptions {
  readonly url: string;
  readonly fetch: typeof globalThis.fetch;
  readonly clock: Clock;
  /** How long a set is used that cannot be fetched again, milliseconds. */
  readonly keepMs: number;
  /** How long a fetch may take, milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly onError: (error: Error) => void;
}

interface Entry {
  readonly key: CryptoKey;
  /** The coordinates, to know the key again. */
  readonly point: string;
}

/** Whether a signature is that of a key's (ES256) under some bytes. */
export function isSigned(key: CryptoKey, signature: Uint8Array, bytes: Uint8Array): Promise<boolean> {
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  return crypto.subtle.verify(algorithm, key, new Uint8Array(signature), new Uint8Array(bytes));
}

/**
 * The issuer's public keys, fetched when they are needed. One fetch at a time, at
 * most one in 5 s however many tokens name a key that is not known, bounded in
 * time and size. While the issuer cannot be reached, the last good set is used.
 */
export class KeySet {
  readonly #options: KeySetOptions;
  readonly #closed = new AbortController();
  #entries: ReadonlyMap<string, Entry> | undefined;
  /** When the fetch of the present set began, and how long the set is good from then on. */
  #fetched: Moment;
  #maxAgeMs = 0;
  /** When the last attempt ended; undefined before the first. */
  #attempted: Moment | undefined;
  /** What the last attempt failed with. */
  #failure: Error | undefined;
  #flight: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
    this.#fetched = options.clock.moment();
  }

  /** The key with this id, or undefined when the issuer has none. Throws keys_unavailable. */
  async find(kid: string): Promise<CryptoKey | undefined> {
    const known = (await this.#current()).get(kid);
    if (known !== undefined) return known.key;
    // A key that signs already is published already: the set that was fetched before may be too old to have it.
    if (this.#mayFetch()) await this.#fetchOnce();
    const found = (await this.#current()).get(kid);
    if (found === undefined && this.#failure !== undefined) throw this.#unavailable();
    return found?.key;
  }

  /** Resolves once there are keys. Throws keys_unavailable when there are none when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await orAborted(this.#current(), signal);
        return;
      } catch {
        if (signal.aborted || this.#closed.signal.aborted) throw this.#unavailable();
        await pause(FIRST_FETCH_MS / 4, signal);
      }
    }
  }

  close(): void {
    this.#closed.abort(new Error('the verifier is closed'));
  }

  /** The set to use now. Throws keys_unavailable. */
  async #current(): Promise<ReadonlyMap<string, Entry>> {
    if (this.#age() >= this.#maxAgeMs * REFRESH_AHEAD && this.#mayFetch()) void this.#fetchOnce();
    if (!this.#isUsable()) await this.#flight;
    if (this.#entries === undefined || this.#age() >= this.#options.keepMs || this.#closed.signal.aborted) {
      throw this.#unavailable();
    }
    return this.#entries;
  }

  /** Whether the set can be used without waiting for a fetch: it is fresh, or an attempt to make it so has just failed. */
  #isUsable(): boolean {
    if (this.#age() < this.#maxAgeMs) return true;
    return this.#age() < this.#options.keepMs && this.#sinceAttempt() < this.#maxAgeMs;
  }

  #age(): number {
    return this.#entries === undefined ? Number.POSITIVE_INFINITY : this.#options.clock.sinceMs(this.#fetched);
  }

  #sinceAttempt(): number {
    return this.#attempted === undefined ? Number.POSITIVE_INFINITY : this.#options.clock.sinceMs(this.#attempted);
  }

  #mayFetch(): boolean {
    if (this.#flight !== undefined) return true; // and joins it
    const isThere = this.#age() < this.#options.keepMs;
    return !this.#closed.signal.aborted && this.#sinceAttempt() >= (isThere ? REFETCH_MS : FIRST_FETCH_MS);
  }

  /** Fetches the set, or waits for whoever does. Never rejects. */
  #fetchOnce(): Promise<void> {
    this.#flight ??= this.#attempt();
    return this.#flight;
  }

  async #attempt(): Promise<void> {
    const { url, clock, onError } = this.#options;
    try {
      await this.#fetch();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = new Error(`the keys could not be fetched from ${url}`, { cause: error });
      if (!this.#closed.signal.aborted) onError(this.#failure);
    } finally {
      this.#attempted = clock.moment();
      this.#flight = undefined;
    }
  }

  async #fetch(): Promise<void> {
    const { url, fetch, clock, timeoutMs = TIMEOUT_MS } = this.#options;
    const began = clock.moment();
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const abort = () => deadline.abort(this.#closed.signal.reason);
    this.#closed.signal.addEventListener('abort', abort);
    try {
      const { keys, maxAgeMs } = await orAborted(fetchKeys(url, fetch, deadline.signal), deadline.signal);
      this.#entries = await importKeys(keys, this.#entries);
      this.#fetched = began;
      this.#maxAgeMs = maxAgeMs;
    } finally {
      clearTimeout(timer);
      this.#closed.signal.removeEventListener('abort', abort);
    }
  }

  #unavailable(): VerificationError {
    return new VerificationError('keys_unavailable', 'the keys of the issuer are not known at present', {
      cause: this.#closed.signal.aborted ? this.#closed.signal.reason : this.#failure,
    });
  }
}

interface FetchedKeys {
  readonly keys: readonly unknown[];
  readonly maxAgeMs: number;
}

async function fetchKeys(url: string, fetch: typeof globalThis.fetch, signal: AbortSignal): Promise<FetchedKeys> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    // The keys are where the settings say; nobody else decides who signs.
    redirect: 'manual',
    signal,
  });
  if (response.status !== 200) {
    discard(response);
    throw new Error(`the answer has status ${response.status}`);
  }
  const contentType = response.headers.get('content-type') ?? 'no type';
  if (!/^application\/(jwk-set\+)?json\s*(;|$)/i.test(contentType)) {
    discard(response);
    throw new Error(`the answer is of ${contentType}`);
  }
  const set = parseJson(await readBody(response, BYTES_MAX));
  const keys = isObject(set) ? set['keys'] : undefined;
  if (!Array.isArray(keys) || keys.length > KEYS_MAX) throw new Error('the answer is no key set');
  return { keys, maxAgeMs: maxAgeOf(response.headers) };
}

/** For how long a set may be kept (RFC 9111, 4.2), within bounds, milliseconds. */
function maxAgeOf(headers: Headers): number {
  const control = headers.get('cache-control') ?? '';
  const [, seconds] = /(?:^|[\s,])max-age="?(\d+)/i.exec(control) ?? [];
  const age = Number(headers.get('age') ?? 0);
  const wanted = /no-store|no-cache/i.test(control) ? 0 : seconds === undefined ? undefined : Number(seconds) * 1000;
  if (wanted === undefined) return MAX_AGE_MS.usual;
  return Math.min(MAX_AGE_MS.most, Math.max(MAX_AGE_MS.least, wanted - (age > 0 ? age * 1000 : 0)));
}

/**
 * The keys of a set that verify ES256 signatures, by their ids. Keys that are known
 * stay the same objects. Throws when there is none, or two have one id.
 */
async function importKeys(
  keys: readonly unknown[],
  known: ReadonlyMap<string, Entry> | undefined,
): Promise<ReadonlyMap<string, Entry>> {
  const entries = new Map<string, Entry>();
  for (const jwk of keys) {
    if (!isObject(jwk)) continue;
    const { kid, kty, crv, x, y, alg = ALGORITHM, use = 'sig' } = jwk;
    if (kty !== 'EC' || crv !== 'P-256' || alg !== ALGORITHM || use !== 'sig') continue;
    if (!isText(kid) || !isText(x) || !isText(y)) continue;
    if (entries.has(kid)) throw new Error('two keys have one id');
    const point = `${x}.${y}`;
    const before = known?.get(kid);
    // The public half alone, whatever else the key comes with.
    const key = before?.point === point ? before.key : await importJWK({ kty, crv, x, y }, ALGORITHM);
    if (!(key instanceof Uint8Array)) entries.set(kid, { key, point });
  }
  if (entries.size === 0) throw new Error(`the answer has no key for ${ALGORITHM}`);
  return entries;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= TEXT_MAX;
}
