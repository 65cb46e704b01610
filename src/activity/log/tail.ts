import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database } from '../../storage/database.ts';
import type { LogPosition } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
import { Subscriptions } from '../../kernel/subscriptions.ts';
import { textOf } from '../../storage/pages.ts';
import {
  type ActivityFilter,
  type ActivityRow,
  comparePositions,
  type LogPart,
  type PartLimits,
  positionOf,
  readLog,
  selectAfter,
  selectPurged,
} from './store.ts';

/** How often the end of the log is read while no notification arrives, milliseconds. */
const POLL_MS = 500;

/** The most rows kept in memory for all watchers of this process, and the most they may take, in UTF-16 code units. */
const RECENT_MAX = 2000;
const RECENT_TEXT_MAX = 8_000_000;

/** How many rows are read at once to follow the log. */
const FOLLOW_ROWS = 500;

/** How much is read from the database at once for a watcher that lags: with budget for it, and without. */
export const BATCH: PartLimits = { rowsMax: 100, textMax: 65_536 };
export const SMALL_BATCH: PartLimits = { rowsMax: 8, textMax: 4096 };

/**
 * Follows the end of the log once for all watchers of this process: an idle watcher costs no
 * query, and a watcher that keeps up is served from memory. A watcher that falls behind reads the
 * database; nothing is buffered here for it.
 */
export class Tail implements AsyncDisposable {
  readonly #database: Database;
  readonly #onError: (error: unknown) => void;
  /** Everything up to here has been read, and its watchers woken. */
  #end: LogPosition | undefined;
  /** Rows after `#recentFrom` up to `#end`, in order. */
  #recent: ActivityRow[] = [];
  #recentText = 0;
  #recentFrom: LogPosition | undefined;
  readonly #watchers = new Subscriptions();
  #signals: AsyncDisposable | undefined;
  #advancing: Promise<void> | undefined;
  #again = false;
  #isFailing = false;
  /** Runs work for all watchers outside the context of a call, so that no call's trace contains it. */
  readonly #outsideCalls = AsyncLocalStorage.snapshot();

  constructor(database: Database, onError: (error: unknown) => void) {
    this.#database = database;
    this.#onError = onError;
  }

  /** The number of subscriptions. */
  get size(): number {
    return this.#watchers.size;
  }

  /**
   * Calls `wake` after each activity of the user, or without an id of all users, as soon as the
   * activity can be read. Returns a function that ends the subscription.
   */
  subscribe(userId: string | undefined, wake: () => void): () => void {
    const unsubscribe = this.#watchers.add(userId, wake);
    this.#signals ??= this.#database.onCommit('log', POLL_MS, () => this.#advance());
    return () => {
      unsubscribe();
      if (this.#watchers.size === 0) void this.#rest();
    };
  }

  /**
   * The next row that matches a filter after a position, from memory, and the position up to which
   * that is complete. Undefined if the database has to be read. One row at a time, so that a slow
   * reader holds no others.
   */
  readRecent(filter: ActivityFilter, after: LogPosition): LogPart | undefined {
    const end = this.#end;
    if (end === undefined) return undefined;
    if (comparePositions(after, end) >= 0) return { rows: [], position: after };
    if (this.#recentFrom === undefined || comparePositions(after, this.#recentFrom) < 0) return undefined;
    for (let i = firstAfter(this.#recent, after); i < this.#recent.length; i++) {
      const row = this.#recent[i]!;
      if (matches(filter, row)) return { rows: [row], position: positionOf(row) };
    }
    return { rows: [], position: end };
  }

  /**
   * The rows that match a filter after a position, from memory or from the database, and the
   * position up to which they are complete. Throws cursor_expired if some may have been purged.
   */
  async read(filter: ActivityFilter, after: LogPosition, limits = BATCH): Promise<LogPart> {
    const recent = this.readRecent(filter, after);
    if (recent !== undefined) return recent;
    const end = this.#end ?? (await this.#database.dialect.endOfLog(this.#database.db));
    if (comparePositions(after, end) >= 0) return { rows: [], position: after };
    const found = await readLog(this.#database, filter, after, end, limits);
    // Checked after reading: rows purged in between may be missing from what was read.
    if (comparePositions(after, await selectPurged(this.#database.db)) < 0) {
      throw new Failure(
        'cursor_expired',
        'what follows the cursor is not kept any more: list, and watch from the watch_cursor of the first page',
      );
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watchers.clear();
    await this.#rest();
    await this.#advancing;
  }

  /** Without watchers, forgets the end of the log; the next watcher finds it anew. */
  async #rest(): Promise<void> {
    const signals = this.#signals;
    this.#signals = undefined;
    this.#forget();
    await signals?.[Symbol.asyncDispose]();
  }

  #forget(): void {
    this.#end = undefined;
    this.#recent = [];
    this.#recentText = 0;
    this.#recentFrom = undefined;
  }

  #advance(): void {
    if (this.#advancing !== undefined) {
      this.#again = true;
      return;
    }
    this.#advancing = this.#outsideCalls(() => this.#readToEnd())
      .catch((error: unknown) => {
        this.#forget(); // the watchers read the database, and report its failure to their callers
        this.#wakeAll();
        if (!this.#isFailing) this.#onError(error); // once, not with every poll
        this.#isFailing = true;
      })
      .finally(() => {
        this.#advancing = undefined;
        if (this.#again && this.#signals !== undefined) {
          this.#again = false;
          this.#advance();
        }
      });
  }

  async #readToEnd(): Promise<void> {
    const { db, dialect } = this.#database;
    const end = await dialect.endOfLog(db);
    this.#isFailing = false;
    if (this.#signals === undefined) return; // nobody watches any more
    if (this.#end === undefined) {
      this.#end = end;
      this.#recentFrom = end;
      this.#wakeAll(); // they may have read up to an earlier end
      return;
    }
    while (this.#end !== undefined && comparePositions(this.#end, end) < 0) {
      const { rows, position } = await selectAfter(db, this.#end, end, FOLLOW_ROWS);
      if (this.#end === undefined) return; // forgotten meanwhile
      this.#remember(rows);
      this.#end = position;
      this.#wake(rows);
    }
  }

  #remember(rows: readonly ActivityRow[]): void {
    for (const row of rows) this.#recentText += textOf(row);
    this.#recent.push(...rows);
    if (this.#recent.length < 2 * RECENT_MAX && this.#recentText < 2 * RECENT_TEXT_MAX) return;
    // Half at a time, since each cut copies.
    let cut = 0;
    while (this.#recent.length - cut > RECENT_MAX || this.#recentText > RECENT_TEXT_MAX) {
      this.#recentText -= textOf(this.#recent[cut++]!);
    }
    this.#recentFrom = positionOf(this.#recent.splice(0, cut).at(-1)!);
  }

  #wake(rows: readonly ActivityRow[]): void {
    if (rows.length === 0) return;
    this.#watchers.notify(rows.map((row) => row.user_id ?? undefined));
  }

  #wakeAll(): void {
    this.#watchers.notifyAll();
  }
}

function matches({ userId, withPrivate, actionPrefixes }: ActivityFilter, row: ActivityRow): boolean {
  return (
    (userId === undefined || row.user_id === userId) &&
    (withPrivate || row.private === 0) &&
    (actionPrefixes.length === 0 || actionPrefixes.some((action) => `${row.action}.`.startsWith(`${action}.`)))
  );
}

/** The index of the first row after a position, by bisection. */
function firstAfter(rows: readonly ActivityRow[], position: LogPosition): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePositions(positionOf(rows[middle]!), position) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
