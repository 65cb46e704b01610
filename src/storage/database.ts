import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely } from 'kysely';
import { Failure } from '../kernel/failure.ts';
import {
  DatabaseError,
  type DatabaseLimits,
  DatabaseUnavailable,
  type Dialect,
  type Topic,
  TransactionConflict,
} from './dialect.ts';
import { withoutPassword } from '../kernel/text.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { createKeyedMutex, LOCK_WAIT_MAX_MS } from '../kernel/keyed-mutex.ts';
import { migrate } from './migrate.ts';
import type { RevocationTable, Schema } from './schema.ts';
import { openSqlite } from './sqlite.ts';
import { traced } from './traced.ts';
import { SQLITE } from './url.ts';

/** Queries, inside a transaction or not. */
export type Db = Kysely<Schema>;

/** A revocation as it is written; the database numbers it. */
export type NewRevocation = Readonly<Omit<RevocationTable, 'seq' | 'writer'>>;

/** What transactions publish on each topic. Who reads the log or the outbox reads the rows themselves. */
export interface Payloads {
  log: never;
  mails: never;
  revocations: NewRevocation;
}

type Listener<T extends Topic> = (payload: readonly Payloads[T][]) => void;

export interface Database extends AsyncDisposable {
  readonly db: Db;
  /** For reads that may take long, such as searches, counts and large pages: see Dialect.longReads. */
  readonly longReads: Db;
  readonly dialect: Dialect;
  /**
   * Runs `work` in a transaction that sees and leaves the data as if it ran
   * alone, and rolls it back when it throws. When another one gets in the way,
   * `work` is run again from the start: await nothing in it but the database,
   * change nothing outside.
   *
   * Transactions of this process that write the same, a user's contacts say, conflict
   * for sure: those with the same `lockKey` run one after the other in this process. Where all do so anyway, in the order
   * in which they came, they may share a commit.
   */
  transaction<T>(work: (tx: Db) => Promise<T>, lockKey?: string): Promise<T>;
  /**
   * Publishes a payload on a topic once the transaction is committed, and before its caller is told
   * so. Nothing is published of a transaction that is rolled back.
   */
  afterCommit<T extends Topic>(tx: Db, topic: T, payload: readonly Payloads[T][]): void;
  /**
   * Calls `listener` with what transactions of this process publish on a topic; and with nothing every
   * `pollMs` milliseconds and when another process may have published something, which is a hint: it
   * may come late, twice or never. Subscribe before you read.
   */
  onCommit<T extends Topic>(topic: T, pollMs: number, listener: Listener<T>): AsyncDisposable;
}

/** How often a transaction is tried before the caller is told to come back. */
const ATTEMPTS_MAX = 10;

/** The longest pause before the second attempt, milliseconds; it doubles with each. */
const PAUSE_MS = 5;

/** What the settings say unless they say otherwise. */
const LIMITS: DatabaseLimits = {
  connectionsMax: 10,
  connectTimeoutMs: 2000,
  statementTimeoutMs: 10_000,
  idleTransactionTimeoutMs: 10_000,
};

/**
 * Opens the database that `url` names, with its tables brought up to date.
 *
 * `sqlite:PATH` is a file, made when missing; a relative path counts from the
 * working directory. `postgres://...` is a database on a server, which must
 * exist. Throws DatabaseError, whose message names the database: DatabaseUnavailable
 * when trying again later may help. With `tracing`, transactions and statements of traced calls have spans.
 */
export async function openDatabase(url: string, limits: DatabaseLimits = LIMITS, tracing?: Tracing): Promise<Database> {
  try {
    const plain = url.startsWith(SQLITE) ? openSqlite(url.slice(SQLITE.length)) : await connectTo(url, limits);
    const dialect = tracing === undefined ? plain : traced(plain, tracing);
    const db = new Kysely<Schema>({ dialect: dialect.queries });
    await using opening = new AsyncDisposableStack();
    opening.defer(() => db.destroy());
    const longReads = dialect.longReads === undefined ? db : new Kysely<Schema>({ dialect: dialect.longReads });
    // The connection that closes last writes the log back into the file.
    const close = async (): Promise<void> => {
      if (longReads !== db) await longReads.destroy();
      await db.destroy();
    };
    const schema = await dialect.prepare(db);
    await migrate(db, dialect, schema);
    await dialect.resumeLog(db);
    opening.move();
    const runExclusive = createKeyedMutex(LOCK_WAIT_MAX_MS);
    const published = new WeakMap<Db, Map<Topic, unknown[]>>();
    const listeners: { [T in Topic]: Set<Listener<T>> } = { log: new Set(), mails: new Set(), revocations: new Set() };
    const transactionSpan = { name: 'transaction', attributes: { 'db.system.name': dialect.name.toLowerCase() } };
    return {
      db,
      longReads,
      dialect,
      async transaction(work, lockKey) {
        let used: Db | undefined;
        const run = () =>
          retrying(() =>
            db
              .transaction()
              .setIsolationLevel('serializable')
              .execute((tx) => work((used = tx))),
          );
        const runLocked = () => (lockKey === undefined || dialect.isSerial ? run() : runExclusive(lockKey, run));
        const result = await (tracing === undefined ? runLocked() : tracing.run(() => transactionSpan, runLocked));
        for (const [topic, payload] of (used && published.get(used)) ?? []) {
          for (const listener of listeners[topic]) listener(payload as never[]);
          dialect.notify(topic);
        }
        return result;
      },
      afterCommit(tx, topic, payload) {
        const topics = published.get(tx) ?? new Map<Topic, unknown[]>();
        published.set(tx, topics.set(topic, [...(topics.get(topic) ?? []), ...payload]));
      },
      onCommit(topic, pollMs, listener) {
        listeners[topic].add(listener);
        const hint = () => listener([]);
        const timer = setInterval(hint, pollMs);
        const remote = dialect.listen(topic, hint);
        return {
          [Symbol.asyncDispose]() {
            listeners[topic].delete(listener);
            clearInterval(timer);
            return remote[Symbol.asyncDispose]();
          },
        };
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    throw openingError(url, error);
  }
}

/** The driver is loaded where there is a server. */
async function connectTo(url: string, limits: DatabaseLimits): Promise<Dialect> {
  const { openPostgres } = await import('./postgres.ts');
  return openPostgres(url, limits);
}

/** What an operator reads of an error while a database is being opened. */
export function openingError(url: string, error: unknown): DatabaseError {
  const isUnavailable =
    error instanceof DatabaseUnavailable || (error instanceof Failure && error.reason === 'server_unavailable');
  const Kind = isUnavailable ? DatabaseUnavailable : DatabaseError;
  return new Kind(`${withoutPassword(url)}: ${rootMessage(error)}`, { cause: error });
}

async function retrying<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof TransactionConflict)) throw error;
      if (attempt === ATTEMPTS_MAX) {
        throw new Failure('server_unavailable', 'too many write the same at once: try again', {}, { cause: error });
      }
      await sleep(Math.random() * PAUSE_MS * 2 ** (attempt - 1));
    }
  }
}

/** Whether the database answers. */
export async function ping(db: Db): Promise<boolean> {
  try {
    await db.selectFrom('signing_keys').select('kid').limit(1).execute();
    return true;
  } catch {
    return false;
  }
}

/** What the driver said, which a Failure for callers does not. */
export function rootMessage(error: unknown): string {
  if (error instanceof Failure && error.cause !== undefined) return rootMessage(error.cause);
  return error instanceof Error ? error.message || String(Reflect.get(error, 'code')) : String(error);
}
