import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller, Role } from '../../kernel/access.ts';
import type { App } from '../../app.ts';
import type { Database, Db, NewRevocation } from '../../storage/database.ts';
import { Failure } from '../../kernel/failure.ts';
import { CLOCKS_DIFFER_MS, type Clock, systemClock } from '../../kernel/clock.ts';
import { Subscriptions } from '../../kernel/subscriptions.ts';
import { KEEP_MS, LEAD_MS } from '../tokens/key-schedule.ts';
import { deleteExpiredRevocations, insertRevocations, type ReadPosition, selectRevocations } from './store.ts';

/** How often the table is read when nobody says that there is something new, milliseconds. */
const POLL_MS = 250;

/** How long what was read last is relied on, milliseconds. */
const STALE_MS = 5000;

/** How long a call waits for a read when what was read last is too old, milliseconds. */
const READ_WAIT_MS = 2000;

/**
 * How long a revocation is in force, milliseconds: as long as any access token that
 * was signed before may be good. Not by the setting, which an instance may have
 * been started with another value of, and by then also for clocks that differ. And
 * until the keys from before a clock was set back are gone: what they signed under
 * the other time would be good again later.
 */
export const IN_FORCE_MS = LEAD_MS + KEEP_MS + CLOCKS_DIFFER_MS;

/** By how much the clock is set back when all that is in force is read again, milliseconds. Tokens go by seconds. */
const SET_BACK_MS = 1000;

/** What ended or changed while access tokens that say otherwise may be good. */
export type Revocation = NewRevocation;

/** What writing a revocation needs. */
type WritingApp = Pick<App, 'database' | 'now'>;

/** Makes every instance refuse the access tokens of a session or API key, in the transaction that ends it. */
export function revokeSession(
  tx: Db,
  app: WritingApp,
  { userId, sessionId }: { readonly userId: string; readonly sessionId: string },
): Promise<void> {
  return revokeSessions(tx, app, userId, [sessionId]);
}

/** Likewise for several of one user's. */
export async function revokeSessions(tx: Db, app: WritingApp, userId: string, ids: readonly string[]): Promise<void> {
  await write(
    tx,
    app,
    ids.map((id) => ({ session_id: id, user_id: userId, role: null, revision: 0 })),
  );
}

/**
 * Publishes a user's role to every instance, in the transaction that changes it, so that access
 * tokens that were signed before are judged by the new role. `role` is null if the user may not
 * sign in any more. Of several changes the one with the highest revision holds.
 */
export async function publishAccessChange(
  tx: Db,
  app: WritingApp,
  { userId, role, revision }: { readonly userId: string; readonly role: Role | null; readonly revision: number },
): Promise<void> {
  await write(tx, app, [{ session_id: null, user_id: userId, role, revision }]);
}

async function write(tx: Db, app: WritingApp, rows: readonly Omit<Revocation, 'expire_ms'>[]): Promise<void> {
  if (rows.length === 0) return;
  const expire_ms = app.now() + IN_FORCE_MS;
  const revocations = rows.map((row) => ({ ...row, expire_ms }));
  await insertRevocations(tx, revocations);
  app.database.afterCommit(tx, 'revocations', revocations);
}

/** What is asked about: an access token, or an API key as it was looked up. */
interface RevocableToken {
  readonly userId: string;
  readonly sessionId: string;
  readonly role: Role | null;
}

export interface RevocationsOptions extends Clock {
  /** Told of the first of several reads that fail. */
  readonly onError: (error: unknown) => void;
  /** How long what was read last is relied on, milliseconds. Tests set it. */
  readonly staleMs?: number | undefined;
}

/** Reads what is in force, and keeps up with it. Throws when that cannot be read. */
export async function startRevocations(database: Database, options: RevocationsOptions): Promise<Revocations> {
  const revocations = new Revocations(database, options);
  try {
    await revocations.load();
    return revocations;
  } catch (error) {
    await revocations[Symbol.asyncDispose]();
    throw error;
  }
}

/** A revocation in memory, and until when it is held in any case, by the clock that only goes forward. */
interface Held {
  readonly row: Revocation;
  readonly untilMs: number;
}

/**
 * The revocations in force, in memory, so that a call costs no query: what this
 * process commits is known before it is answered, what others commit is read
 * within a poll. Reading one twice does no harm, so nothing waits for
 * transactions that are still open elsewhere, as the log has to.
 *
 * Each is held for as long as it is in force by both clocks: when the wall clock is
 * set forward and back, nothing comes back that was revoked.
 */
export class Revocations implements AsyncDisposable {
  readonly #database: Database;
  readonly #options: RevocationsOptions;
  readonly #staleMs: number;
  /** When the last access token of a session or API key that ended has expired, by its id. */
  readonly #ended = new Map<string, number>();
  /** What became of users, by their ids. */
  readonly #users = new Map<string, Revocation>();
  /** All that is in force, in the order in which it was applied, once for all watchers. */
  readonly #applied: Held[] = [];
  /** How many were applied before those and have been removed. */
  #forgotten = 0;
  readonly #watchers = new Subscriptions();
  /** Up to where the table has been read; undefined to read all of it. */
  #position: ReadPosition | undefined;
  /** The latest time at which it was read. */
  #latestMs = 0;
  /** When the last read that succeeded began, by the clock that never jumps. */
  #readMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #again = false;
  #error: unknown;
  readonly #signals: AsyncDisposable;

  constructor(database: Database, options: RevocationsOptions) {
    this.#database = database;
    this.#options = options;
    this.#staleMs = options.staleMs ?? STALE_MS;
    this.#signals = database.onCommit('revocations', POLL_MS, (own) => {
      this.#apply(own);
      if (own.length === 0) void this.#advance();
    });
  }

  /** Throws what the database says. */
  async load(): Promise<void> {
    await this.#advance();
    if (this.#error !== undefined) throw this.#error as Error;
  }

  /** How many subscriptions there are. */
  get size(): number {
    return this.#watchers.size;
  }

  /** How long ago it was known to be complete, milliseconds. */
  get ageMs(): number {
    return systemClock.monotonic() - this.#readMs;
  }

  /**
   * The role that the user of an access token has now, which may not be the one it
   * was signed with; for an API key, not the one that its owner had when it was
   * looked up, null for an owner who could not sign in then. Throws session_ended, or
   * api_key_invalid for a key and its access tokens, and server_unavailable when what
   * was read last is too old to tell.
   */
  async currentRole(token: RevocableToken & { readonly kind: Caller['kind'] }): Promise<Role> {
    if (this.ageMs > this.#staleMs) await this.requireFresh();
    const role = this.#roleOf(token);
    if (role !== undefined) return role;
    throw token.kind === 'api_key'
      ? apiKeyInvalid()
      : new Failure('session_ended', 'the session has ended: sign in again');
  }

  /** The same, or undefined if it takes waiting to tell or the token is to be refused. */
  currentRoleSync(token: RevocableToken): Role | undefined {
    return this.ageMs > this.#staleMs ? undefined : this.#roleOf(token);
  }

  #roleOf({ userId, sessionId, role }: RevocableToken): Role | undefined {
    if (this.#ended.has(sessionId)) return undefined;
    const user = this.#users.get(userId);
    return (user === undefined ? role : user.role) ?? undefined;
  }

  /** Throws server_unavailable when what was read last is too old, and reading again does not help. */
  async requireFresh(): Promise<void> {
    // A process that stood still reads once more; while reads fail, the poll is what tries again.
    if (this.ageMs > this.#staleMs && this.#error === undefined) {
      await Promise.race([this.#advance(), sleep(READ_WAIT_MS, undefined, { ref: false })]);
    }
    if (this.ageMs > this.#staleMs) {
      const message = 'the database cannot be asked at the moment whether sessions have ended: try again';
      throw new Failure('server_unavailable', message, {}, { cause: this.#error });
    }
  }

  /** Whether a session or API key is known to have ended. */
  hasEnded(sessionId: string): boolean {
    return this.#ended.has(sessionId);
  }

  /** Whether the user is known to have been changed while access tokens that say otherwise may be good. */
  hasChanged(userId: string): boolean {
    return this.#users.has(userId);
  }

  /** Calls `wake` after each revocation of the user, or of anybody without an id. Returns how to end that. */
  subscribe(userId: string | undefined, wake: () => void): () => void {
    return this.#watchers.add(userId, wake);
  }

  /** At most `limit` of those in force that were applied after a position, 0 for all, and the position they reach. */
  after(position: number, limit: number): { revocations: readonly Revocation[]; position: number; isAll: boolean } {
    const start = Math.max(position - this.#forgotten, 0);
    const revocations = this.#applied.slice(start, start + limit).map(({ row }) => row);
    const end = start + revocations.length;
    return { revocations, position: this.#forgotten + end, isAll: end === this.#applied.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watchers.clear();
    await this.#signals[Symbol.asyncDispose]();
    await this.#reading;
  }

  /** Resolves when a read that began after this call is over, whatever came of it. */
  #advance(): Promise<void> {
    this.#again = true;
    this.#reading ??= this.#readWhileAsked().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readWhileAsked(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      try {
        await this.#read();
        this.#error = undefined;
      } catch (error) {
        // The server may be another one when it is back, and what it has lost is not what was read last.
        this.#position = undefined;
        if (this.#error === undefined) this.#options.onError(error); // once, not with every poll
        this.#error = error;
      }
    }
  }

  async #read(): Promise<void> {
    const nowMs = this.#options.now();
    // What was over before the clock was set back may be in force again, and perhaps was never read.
    if (nowMs < this.#latestMs - SET_BACK_MS) this.#position = undefined;
    this.#latestMs = this.#position === undefined ? nowMs : Math.max(this.#latestMs, nowMs);
    this.#forget();
    const { db, dialect } = this.#database;
    const startMs = systemClock.monotonic();
    const found = await selectRevocations(db, dialect, this.#position, nowMs);
    if (this.#position !== undefined && found.position.horizon < this.#position.horizon) {
      this.#position = undefined; // not the server that was read last: read all of it
      this.#again = true;
      return;
    }
    this.#apply(found.rows);
    this.#position = found.position;
    this.#readMs = startMs;
  }

  #apply(rows: readonly Revocation[]): void {
    const added: Revocation[] = [];
    for (const row of rows) {
      if (!this.#isNew(row)) continue;
      if (row.session_id === null) this.#users.set(row.user_id, row);
      else this.#ended.set(row.session_id, row.expire_ms);
      added.push(row);
    }
    if (added.length === 0) return;
    const untilMs = this.#options.monotonic() + IN_FORCE_MS;
    for (const row of added) this.#applied.push({ row, untilMs });
    this.#watchers.notify(added.map((row) => row.user_id));
  }

  #isNew({ session_id, user_id, revision, expire_ms }: Revocation): boolean {
    if (expire_ms <= this.#options.now()) return false;
    if (session_id !== null) return expire_ms > (this.#ended.get(session_id) ?? 0);
    return revision > (this.#users.get(user_id)?.revision ?? -1);
  }

  /**
   * Removes the oldest that no access token is left to refuse by. One that lies in the
   * future is from before the clock was set back: it goes to the end, and keeps none
   * of those behind it.
   */
  #forget(): void {
    const [now, monotonicMs] = [this.#options.now(), this.#options.monotonic()];
    const kept: Held[] = [];
    let count = 0;
    for (const { row, untilMs } of this.#applied) {
      if (untilMs > monotonicMs) break;
      count++;
      if (row.expire_ms > now && this.#holds(row)) {
        kept.push({ row, untilMs: monotonicMs + IN_FORCE_MS });
      } else if (this.#holds(row)) {
        if (row.session_id === null) this.#users.delete(row.user_id);
        else this.#ended.delete(row.session_id);
      }
    }
    if (count === 0) return;
    this.#applied.splice(0, count);
    for (const held of kept) this.#applied.push(held);
    this.#forgotten += count;
  }

  /** Whether a row is what is known of its session or user: a later one may have come. */
  #holds(row: Revocation): boolean {
    return row.session_id === null
      ? this.#users.get(row.user_id) === row
      : this.#ended.get(row.session_id) === row.expire_ms;
  }
}

/** Removes up to `limit` revocations that are in force no more; how many there were. */
export function purgeRevocations(app: App, limit: number): Promise<number> {
  return deleteExpiredRevocations(app.database.db, app.now(), limit);
}

/** Why a key is refused, whatever the reason: who holds it learns no more. */
export function apiKeyInvalid(): Failure {
  return new Failure(
    'api_key_invalid',
    'the API key is not one of this server, has ended, or its owner may not sign in',
  );
}
