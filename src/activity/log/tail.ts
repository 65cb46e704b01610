import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database } from '../../storage/database.ts';
import type { LogPosition } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
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

/** How often the end of the log is looked at when nobody says that it has grown, milliseconds. */
const POLL_MS = 500;

/** How many of the newest rows are kept in memory for all watchers of this process, and what they may take, in UTF-16 code units. */
const RECENT_MAX = 2000;
const RECENT_TEXT_MAX = 8_000_000;

/** How many rows the log is followed by at once. */
const FOLLOW_ROWS = 500;

/** What is read from the database at once for a watcher that lags: where there is room for it, and where there is not. */
export const BATCH: PartLimits = { rowsMax: 100, textMax: 65_536 };
export const SMALL_BATCH: PartLimits = { rowsMax: 8, textMax: 4096 };

/**
 * The end of the log, followed once for all watchers of this process: an idle
 * watcher costs no query, and one that keeps up is served from memory. Those that
 * fall behind read the database, which is the buffer; none is kept here for them.
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
  readonly #watchers = new Map<string | undefined, Set<() => void>>();
  #timer: NodeJS.Timeout | undefined;
  #signals: AsyncDisposable | undefined;
  #advancing: Promise<void> | undefined;
  #again = false;
  #isFailing = false;
  /** Where what is done for all watchers belongs to no call, of which one would be traced as doing it. */
  readonly #outsideCalls = AsyncLocalStorage.snapshot();

  constructor(database: Database, onError: (error: unknown) => void) {
    this.#database = database;
    this.#onError = onError;
  }

  /** How many subscriptions there are. */
  get size(): number {
    return this.#watchers.values().reduce((sum, wakes) => sum + wakes.size, 0);
  }

  /**
   * Calls `wake` after each activity of the user, or of anybody without an id,
   * once it can be read. Returns how to end that.
   */
  subscribe(userId: string | undefined, wake: () => void): () => void {
    const wakes = this.#watchers.get(userId) ?? new Set();
    this.#watchers.set(userId, wakes.add(wake));
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#advance(), POLL_MS);
      this.#signals = this.#database.onAppended(() => this.#advance());
    }
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0 && this.#watchers.get(userId) === wakes) this.#watchers.delete(userId);
      if (this.#watchers.size === 0) void this.#rest();
    };
  }

  /**
   * The next row that a filter lets through after a position, from memory, and the position
   * up to which that is all. Undefined where the database must be asked. One row at a time:
   * a reader that stands still holds no others.
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
   * What a filter lets through after a position, from memory or from the database, and the
   * position up to which that is all. Throws cursor_expired when some may have been purged.
   */
  async read(filter: ActivityFilter, after: LogPosition, limits = BATCH): Promise<LogPart> {
    const recent = this.readRecent(filter, after);
    if (recent !== undefined) return recent;
    const end = this.#end ?? (await this.#database.dialect.endOfLog(this.#database.db));
    if (comparePositions(after, end) >= 0) return { rows: [], position: after };
    const found = await readLog(this.#database, filter, after, end, limits);
    // Looked at after reading: rows that were purged in between may be missing from what was read.
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

  /** Nobody watches: forget the end, and find it again when somebody does. */
  async #rest(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
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
        this.#forget(); // the watchers read the database, and say so to their callers when it fails
        this.#wakeAll();
        if (!this.#isFailing) this.#onError(error); // once, not with every poll
        this.#isFailing = true;
      })
      .finally(() => {
        this.#advancing = undefined;
        if (this.#again && this.#timer !== undefined) {
          this.#again = false;
          this.#advance();
        }
      });
  }

  async #readToEnd(): Promise<void> {
    const { db, dialect } = this.#database;
    const end = await dialect.endOfLog(db);
    this.#isFailing = false;
    if (this.#timer === undefined) return; // nobody watches any more
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
    for (const userId of new Set([undefined, ...rows.map((row) => row.user_id ?? undefined)])) {
      for (const wake of this.#watchers.get(userId) ?? []) wake();
    }
  }

  #wakeAll(): void {
    for (const wakes of this.#watchers.values()) for (const wake of wakes) wake();
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
