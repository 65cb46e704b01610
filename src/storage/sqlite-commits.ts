import { systemClock } from '../kernel/clock.ts';
import type { Outcome } from './sqlite-statements.ts';
import type { Part, SqliteThread, Statement } from './sqlite-thread.ts';

/** How many transactions share a commit at the most, and how long after the first has ended another one may join, milliseconds. */
export interface SharingLimits {
  readonly transactions: number;
  readonly joinMs: number;
}

/** The first waits that long for its commit, and the event loop for the statements. */
const SHARED: SharingLimits = { transactions: 100, joinMs: 4 };

/** Transactions that are committed together. */
interface Group {
  readonly startMs: number;
  /** How often the thread had ended before: see SqliteThread.ends. */
  readonly ends: number;
  readonly committed: PromiseWithResolvers<void>;
  size: number;
}

/**
 * Transactions on a connection that writes, one at a time. Those that wait for their turn when one has ended share its
 * commit, since a commit takes as long as the disk, for one as for many (group commit). Each can be undone by itself.
 *
 * Whoever ran in a group is told what came of it once all of it is on the disk, a refusal too: it may be founded on what
 * one before has written.
 */
export class SharedCommits {
  readonly #thread: SqliteThread;
  readonly #onCommit: () => void;
  readonly #limits: SharingLimits;
  #group: Group | undefined;

  /** `onCommit` is called before anybody is told of a commit. */
  constructor(thread: SqliteThread, onCommit: () => void, limits = SHARED) {
    this.#thread = thread;
    this.#onCommit = onCommit;
    this.#limits = limits;
  }

  /** Waits for the transaction's turn, which `keep` or `undo` ends. Throws server_unavailable. */
  begin(): Promise<void> {
    return this.#thread.acquire();
  }

  /** Ends a transaction with its last part, unless it has none, and waits until it is on the disk. */
  async keep(last: Part | undefined): Promise<void> {
    const kept = last && this.#thread.queue({ ...last, ends: 'keep' });
    if (kept === undefined && this.#group === undefined) {
      this.#thread.release();
      return;
    }
    const [of, committed] = await Promise.allSettled([kept, this.#endTurn()]);
    if (committed.status === 'rejected') throw committed.reason;
    if (of.status === 'rejected') throw of.reason;
  }

  /** Undoes a transaction, of which something `hasRun` or not. */
  async undo(hasRun: boolean): Promise<void> {
    const part: Part = { begins: false, statements: [], ends: 'undo' };
    if (this.#group !== undefined) {
      const undone = hasRun ? this.#thread.queue(part) : undefined;
      const [of, committed] = await Promise.allSettled([undone, this.#endTurn()]);
      if (committed.status === 'rejected') throw committed.reason;
      if (of.status === 'rejected') throw of.reason;
      return;
    }
    try {
      if (hasRun) await this.#thread.take(part);
    } finally {
      this.#thread.release();
    }
  }

  /** Runs a statement that is none of a transaction. */
  async alone(statement: Statement): Promise<Outcome> {
    await this.#acquireAlone();
    try {
      return await this.#thread.run(statement);
    } finally {
      this.#onCommit();
      this.#thread.release();
    }
  }

  /** Closes the connection, once all that was asked of it is done. */
  async close(): Promise<void> {
    await this.#acquireAlone();
    await this.#thread.end();
  }

  async #acquireAlone(): Promise<void> {
    await this.#thread.acquire();
    if (this.#group !== undefined) await this.#commit(this.#group);
  }

  /** Lets the next transaction join, or commits. Resolves once the group is on the disk. */
  #endTurn(): Promise<void> {
    const group = (this.#group ??= {
      startMs: systemClock.monotonic(),
      ends: this.#thread.ends,
      committed: Promise.withResolvers(),
      size: 0,
    });
    group.size += 1;
    const mayJoin =
      group.size < this.#limits.transactions && systemClock.monotonic() - group.startMs < this.#limits.joinMs;
    if (mayJoin && this.#thread.tasks.waiting > 0) this.#thread.release();
    else void this.#commit(group).finally(() => this.#thread.release());
    return group.committed.promise;
  }

  /** Commits a group, and tells its transactions what came of it. */
  async #commit(group: Group): Promise<void> {
    this.#group = undefined;
    try {
      await this.#thread.run('commit');
      if (this.#thread.ends !== group.ends) throw new Error('the thread that uses the database ended');
      this.#onCommit();
      group.committed.resolve();
    } catch (error) {
      this.#onCommit();
      group.committed.reject(error);
    }
  }
}
