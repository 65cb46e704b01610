import { isObject } from './body.ts';
import { type Clock, type Moment, orAborted, pause } from './clock.ts';
import { serverStream } from './connect-stream.ts';
import { type Role, roleNamed } from './roles.ts';

/** The server says something each second: what nothing was heard of for longer is stale. */
const STALE_MS = 5_000;

/** How long a connection may take to its first message, which holds everything. */
const FIRST_MESSAGE_MS = 10_000;

/** Waits between connections are random, up to this, doubled at each failure up to that. */
const RETRY_MS = { first: 500, most: 10_000 };

/** Some ten times what the server puts into one message. */
const MESSAGE_BYTES_MAX = 16_777_216;

const SWEEP_MS = 30_000;

/**
 * How long what was heard is kept in any case, milliseconds, by the clock that only
 * goes forward: as long as any token is good. When the other clock is set forward
 * and back, nothing comes back that was revoked.
 */
const KEEP_MS = 3_660_000;

export interface RevocationsOptions {
  readonly url: string;
  readonly fetch: typeof globalThis.fetch;
  readonly clock: Clock;
  /** What to send as the bearer token, asked for at each connection. */
  readonly getToken: () => string | Promise<string>;
  /** How long what was heard last is relied on, milliseconds. Tests set it. */
  readonly staleMs?: number | undefined;
  readonly onError: (error: Error) => void;
}

/** What holds for a user, whatever the token says. Role null: the user may not sign in. */
interface UserState {
  readonly role: Role | null;
  readonly revision: number;
  readonly expireMs: number;
  readonly heard: Moment;
}

interface EndedSession {
  readonly expireMs: number;
  readonly heard: Moment;
}

/**
 * What ended or changed while access tokens that say otherwise are good, as
 * `kith.auth.v1.RevocationService.WatchRevocations` tells it. Follows from its
 * making until it is closed.
 */
export class Revocations {
  readonly #options: RevocationsOptions;
  readonly #staleMs: number;
  readonly #closed = new AbortController();
  readonly #following: Promise<void>;
  readonly #sessions = new Map<string, EndedSession>();
  readonly #users = new Map<string, UserState>();
  /** When the last message came; undefined before the first. */
  #heard: Moment | undefined;
  #swept: Moment;
  #failure: Error | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(options: RevocationsOptions) {
    this.#options = options;
    this.#staleMs = options.staleMs ?? STALE_MS;
    this.#swept = options.clock.moment();
    this.#following = this.#follow();
  }

  /** Whether what is known may be out of date. */
  isStale(): boolean {
    return this.#heard === undefined || this.#options.clock.sinceMs(this.#heard) > this.#staleMs;
  }

  /** What the last connection failed with. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Whether the session or API key has ended. */
  hasEnded(sessionId: string): boolean {
    return (this.#sessions.get(sessionId)?.expireMs ?? 0) > this.#options.clock.nowMs();
  }

  /** The user's role when it changed lately: null for one who may not sign in, undefined when it did not change. */
  roleOf(userId: string): Role | null | undefined {
    const state = this.#users.get(userId);
    return state !== undefined && state.expireMs > this.#options.clock.nowMs() ? state.role : undefined;
  }

  /** Resolves once everything is known, or when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.isStale() && !signal.aborted && !this.#closed.signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#waiting.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.#waiting.add(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error('the verifier is closed'));
    this.#heard = undefined;
    this.#wake();
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { clock, onError } = this.#options;
    const { signal } = this.#closed;
    for (let failures = 0; !signal.aborted; ) {
      const began = clock.moment();
      let cause: unknown;
      try {
        await this.#watch();
      } catch (error) {
        cause = error;
      }
      if (signal.aborted) return;
      this.#failure = new Error('the stream of revocations ended', { cause });
      onError(this.#failure);
      failures = clock.sinceMs(began) > this.#staleMs ? 0 : failures + 1;
      await pause(Math.random() * Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** failures), signal);
    }
  }

  /** Reads one connection to its end. Throws when that is not a good one. */
  async #watch(): Promise<void> {
    const { url, fetch, clock, getToken } = this.#options;
    const connection = new AbortController();
    const { signal } = connection;
    const close = () => connection.abort(this.#closed.signal.reason);
    this.#closed.signal.addEventListener('abort', close);
    let patience = { since: clock.moment(), ms: FIRST_MESSAGE_MS };
    const checkPatience = () => {
      const leftMs = patience.ms - clock.sinceMs(patience.since);
      if (leftMs <= 0) connection.abort(new Error('nothing was heard for too long'));
      else timer = setTimeout(checkPatience, leftMs);
    };
    let timer = setTimeout(checkPatience, FIRST_MESSAGE_MS);
    try {
      const bearer = await orAborted(Promise.resolve(getToken()), signal);
      const stream = serverStream({ url, fetch, bearer, message: {}, signal, messageBytesMax: MESSAGE_BYTES_MAX });
      for (;;) {
        const { done, value } = await orAborted(stream.next(), signal);
        if (done) return;
        const { revocations, isIncomplete } = readMessage(value);
        for (const revocation of revocations) this.#apply(revocation);
        // The server may be behind as well, or not have told everything yet.
        if (!isIncomplete) this.#heard = clock.moment();
        this.#failure = undefined;
        this.#wake();
        this.#sweep();
        clearTimeout(timer);
        patience = { since: clock.moment(), ms: this.#staleMs };
        timer = setTimeout(checkPatience, this.#staleMs);
      }
    } finally {
      clearTimeout(timer);
      this.#closed.signal.removeEventListener('abort', close);
      connection.abort(new Error('the connection is given up'));
    }
  }

  /** Adds to what is known. The same may come twice, and out of order. */
  #apply({ sessionId, user, expireMs }: Revocation): void {
    const heard = this.#options.clock.moment();
    if (sessionId !== undefined) {
      const latestMs = Math.max(expireMs, this.#sessions.get(sessionId)?.expireMs ?? 0);
      this.#sessions.set(sessionId, { expireMs: latestMs, heard });
    }
    if (user !== undefined) {
      const known = this.#users.get(user.userId);
      if (known === undefined || user.revision >= known.revision) {
        this.#users.set(user.userId, { role: user.role, revision: user.revision, expireMs, heard });
      }
    }
  }

  /** Forgets what the last token it was about has outlived. */
  #sweep(): void {
    const { clock } = this.#options;
    if (clock.sinceMs(this.#swept) < SWEEP_MS) return;
    this.#swept = clock.moment();
    const { wallMs, monotonicMs } = this.#swept;
    const isOver = ({ expireMs, heard }: EndedSession) =>
      expireMs <= wallMs && monotonicMs - heard.monotonicMs >= KEEP_MS;
    for (const [id, session] of this.#sessions) if (isOver(session)) this.#sessions.delete(id);
    for (const [id, user] of this.#users) if (isOver(user)) this.#users.delete(id);
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}

interface Revocation {
  readonly sessionId: string | undefined;
  readonly user: { readonly userId: string; readonly role: Role | null; readonly revision: number } | undefined;
  readonly expireMs: number;
}

/** Reads a `WatchRevocationsResponse` in JSON, where default values are absent. Throws when it is none. */
function readMessage(message: unknown): { revocations: Revocation[]; isIncomplete: boolean } {
  if (!isObject(message)) throw malformed();
  const { revocations = [], incomplete = false } = message;
  if (!Array.isArray(revocations) || typeof incomplete !== 'boolean') throw malformed();
  return { revocations: revocations.map(readRevocation), isIncomplete: incomplete };
}

function readRevocation(revocation: unknown): Revocation {
  if (!isObject(revocation)) throw malformed();
  const { sessionId, user, expireTime } = revocation;
  const expireMs = typeof expireTime === 'string' ? Date.parse(expireTime) : Number.NaN;
  if (Number.isNaN(expireMs) || !(sessionId === undefined || typeof sessionId === 'string')) throw malformed();
  return { sessionId, user: user === undefined ? undefined : readUser(user), expireMs };
}

function readUser(user: unknown): Revocation['user'] {
  if (!isObject(user)) throw malformed();
  const { userId, role = 'ROLE_UNSPECIFIED', revision = 0 } = user;
  if (typeof userId !== 'string' || Number.isNaN(Number(revision))) throw malformed();
  // A role of a later version of the contract allows nothing that is known here.
  const name = typeof role === 'string' ? roleNamed(role.replace(/^ROLE_/, '').toLowerCase()) : undefined;
  return { userId, role: name ?? null, revision: Number(revision) };
}

function malformed(): Error {
  return new Error('a message is not of the contract');
}
