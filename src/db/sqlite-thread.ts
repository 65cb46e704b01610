import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { currentPayer } from '../budget/current-payer.ts';
import { FairSemaphore } from '../budget/fair-semaphore.ts';
import type { Payer } from '../budget/payer.ts';
import { TURN_MAX_MS } from '../turns.ts';
import type { Outcome } from './sqlite-statements.ts';

/** What the thread opens, and how. */
export interface ThreadOptions {
  readonly path: string;
  /** How long a statement waits for another process that holds the file, milliseconds. */
  readonly timeoutMs: number;
  readonly pragmas: string;
  /** How long a query may go on giving rows, milliseconds. Default: as long as it takes. */
  readonly rowsMaxMs?: number;
}

export type Request =
  | 'close'
  | {
      readonly sql: string;
      readonly parameters: readonly unknown[];
      /** Is not run when there is no transaction, any more or at all. */
      readonly inTransaction: boolean;
    };

export interface Reply {
  readonly outcome?: Outcome;
  readonly error?: { readonly message: string; readonly errcode: number | undefined };
  /** Whether a transaction is open after it. */
  readonly isTransaction: boolean;
}

/**
 * One connection in a thread of its own: one that writes, since a commit waits for the disk, and one for reads that
 * may take long. Meanwhile this thread serves everybody else.
 *
 * It is used by one task at a time: take it, run statements, release it. Callers whose tasks wait take turns.
 */
export class SqliteThread {
  readonly #options: ThreadOptions;
  readonly #turnMaxMs: number;
  readonly #semaphore = new FairSemaphore(1);
  /** For whom it is used at the moment. */
  #user: Payer = '';
  #worker: Worker | undefined;
  #answering: PromiseWithResolvers<Outcome> | undefined;
  #isTransaction = false;
  #closing: Promise<void> | undefined;

  constructor(options: ThreadOptions, turnMaxMs = TURN_MAX_MS) {
    this.#options = options;
    this.#turnMaxMs = turnMaxMs;
  }

  /** Whether a transaction is open: SQLite may have rolled it back, for a full disk, say. */
  get isTransaction(): boolean {
    return this.#isTransaction;
  }

  /** How many use it, which is one at the most, and how many wait for that. */
  get tasks(): { readonly running: number; readonly waiting: number } {
    return { running: this.#semaphore.taken, waiting: this.#semaphore.waiting };
  }

  /** Waits until nobody else uses it; callers take turns. Throws server_unavailable when that takes too long. */
  take(): Promise<void> {
    return this.#take(this.#turnMaxMs);
  }

  release(): void {
    this.#semaphore.release(this.#user);
  }

  async #take(waitMaxMs?: number): Promise<void> {
    const payer = currentPayer();
    await this.#semaphore.take(payer, waitMaxMs);
    this.#user = payer;
  }

  /** Runs a statement. Throws what SQLite says, with its `errcode`. */
  run(sql: string, parameters: readonly unknown[], inTransaction: boolean): Promise<Outcome> {
    const answering = Promise.withResolvers<Outcome>();
    this.#answering = answering;
    this.#send({ sql, parameters, inTransaction });
    return answering.promise;
  }

  /** Closes the connection, once all that was asked of it is done. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#take();
    if (this.#worker === undefined) return;
    const exited = once(this.#worker, 'exit');
    this.#send('close');
    await exited;
  }

  #send(request: Request): void {
    this.#worker ??= this.#start();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(request);
  }

  #start(): Worker {
    const worker = new Worker(new URL('sqlite-thread-entry.ts', import.meta.url), { workerData: this.#options });
    let cause: unknown;
    worker.on('message', ({ outcome, error, isTransaction }: Reply) => {
      this.#isTransaction = isTransaction;
      if (outcome !== undefined) this.#answering?.resolve(outcome);
      else this.#answering?.reject(Object.assign(new Error(error?.message), { errcode: error?.errcode }));
    });
    worker.on('error', (error) => (cause = error));
    // Whatever ended it, the next statement has another one started.
    worker.once('exit', () => {
      this.#worker = undefined;
      this.#isTransaction = false;
      this.#answering?.reject(cause ?? new Error('the thread that uses the database ended'));
    });
    return worker;
  }
}
