import type { DatabaseSync } from 'node:sqlite';
import type { Outcome, Statements } from './sqlite-statements.ts';
import type { Part } from './sqlite-thread.ts';

/**
 * Transactions one after the other that share a commit, on one connection: the first is a transaction of SQLite's, each
 * of the others a savepoint in it (https://sqlite.org/lang_savepoint.html), so that one can be undone without the others.
 *
 * SQLite may roll back everything by itself, for a full disk, say. Those that were kept are then lost: nothing is done
 * any more until the commit has said so.
 */
export class Transactions {
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  /** How many were kept since the last commit. */
  #kept = 0;
  #isSavepoint = false;
  /** Why what was kept is lost. */
  #loss: { readonly reason: unknown } | undefined;

  constructor(database: DatabaseSync, statements: Statements) {
    this.#database = database;
    this.#statements = statements;
  }

  /** Runs a part of a transaction. Returns what the last statement gave. */
  run({ begins, statements, ends }: Part): Outcome | undefined {
    let outcome: Outcome | undefined;
    let done = -1;
    try {
      if (begins) this.#begin();
      done = 0;
      for (const { sql, parameters } of statements) {
        // By itself it would be a transaction of its own, of which the one that was lost knows nothing.
        if (!this.#database.isTransaction) throw new Error('the transaction was rolled back');
        outcome = this.#statements.run(sql, parameters);
        done += 1;
      }
      if (ends === 'keep') this.#keep();
      if (ends === 'undo') this.#undo();
    } catch (error) {
      this.#noteLoss(error);
      if (ends !== undefined) this.#undo();
      throw new PartError(error, done < Math.max(statements.length - 1, 0));
    }
    return outcome;
  }

  /** Waits for the disk. Throws if what was kept is not committed. */
  commit(): void {
    const loss = this.#loss;
    this.#kept = 0;
    this.#loss = undefined;
    if (loss === undefined && !this.#database.isTransaction) return; // nothing was kept
    try {
      if (loss !== undefined) throw loss.reason;
      this.#run('commit');
    } catch (error) {
      // A failed commit may have rolled back already.
      if (this.#database.isTransaction) this.#run('rollback');
      throw error;
    }
  }

  #begin(): void {
    if (this.#loss !== undefined) throw this.#loss.reason;
    this.#isSavepoint = this.#database.isTransaction;
    this.#run(this.#isSavepoint ? 'savepoint one' : 'begin immediate');
  }

  #keep(): void {
    if (!this.#database.isTransaction) throw new Error('the transaction was rolled back');
    if (this.#isSavepoint) this.#run('release one');
    this.#kept += 1;
  }

  #undo(): void {
    if (!this.#database.isTransaction || this.#loss !== undefined) return;
    if (!this.#isSavepoint) {
      this.#run('rollback');
      return;
    }
    try {
      this.#run('rollback to one');
      this.#run('release one');
    } catch (error) {
      this.#loss = { reason: error }; // what is not undone must not be committed
    }
  }

  #noteLoss(error: unknown): void {
    if (this.#kept > 0 && !this.#database.isTransaction) this.#loss ??= { reason: error };
  }

  #run(sql: string): void {
    this.#statements.run(sql, []);
  }
}

/** What a part of a transaction failed with. */
export class PartError extends Error {
  /** Whether the last statement of the part did not come to run. */
  readonly isEarlier: boolean;

  constructor(cause: unknown, isEarlier: boolean) {
    super('a part of a transaction failed', { cause });
    this.isEarlier = isEarlier;
  }
}
