import { once } from 'node:events';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { systemClock } from '../kernel/clock.ts';
import { currentPayer } from '../budget/current-payer.ts';
import { FairSemaphore } from '../budget/fair-semaphore.ts';
import type { Payer } from '../budget/payer.ts';
import { LOCK_WAIT_MAX_MS } from '../kernel/keyed-mutex.ts';
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

/** What the thread is started with. */
export interface ThreadData {
  readonly options: ThreadOptions;
  readonly port: MessagePort;
  /** How many replies the thread has sent: the main thread blocks on it. */
  readonly replies: Int32Array;
}

export type Request =
  | 'close'
  | {
      readonly sql: string;
      readonly parameters: readonly unknown[];
      /** The statement is refused unless a transaction is open. */
      readonly inTransaction: boolean;
    };

export interface Reply {
  readonly outcome?: Outcome;
  readonly error?: { readonly message: string; readonly errcode: number | undefined };
  /** Whether a transaction is open after it. */
  readonly isTransaction: boolean;
}

/**
 * How long the main thread may block for the statements of one transaction, milliseconds. Most take 20 to 50 us,
 * which is less than a turn of the event loop costs; beyond it the transaction awaits them.
 */
const WAIT_MS = 2;

/**
 * A connection in a thread of its own, for writes, since a commit waits for the disk, or for reads that may take
 * long. The main thread serves other calls meanwhile.
 *
 * `run` blocks the main thread for the statements of a transaction, up to WAIT_MS in all: the transaction then takes
 * one turn of the event loop, that of its commit, and not one for each statement. Under load a turn takes some
 * milliseconds, and all writers wait for it.
 *
 * One task uses it at a time: acquire it, run statements, release it. Callers whose tasks wait are served in turn.
 */
export class SqliteThread {
  readonly #options: ThreadOptions;
  readonly #waitMaxMs: number;
  readonly #semaphore = new FairSemaphore(1);
  /** The payer of the task that uses it. */
  #user: Payer = '';
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  readonly #replies = new Int32Array(new SharedArrayBuffer(4));
  /** Whether the thread has started, and what is left of WAIT_MS in this transaction. */
  #isUp = false;
  #waitMs = 0;
  #answering: PromiseWithResolvers<Outcome> | undefined;
  #isTransaction = false;
  #closing: Promise<void> | undefined;

  constructor(options: ThreadOptions, waitMaxMs = LOCK_WAIT_MAX_MS) {
    this.#options = options;
    this.#waitMaxMs = waitMaxMs;
  }

  /** Whether a transaction is open: SQLite may have rolled it back, for a full disk, say. */
  get isTransaction(): boolean {
    return this.#isTransaction;
  }

  /** How many tasks use it, which is at most one, and how many wait. */
  get tasks(): { readonly running: number; readonly waiting: number } {
    return { running: this.#semaphore.inUse, waiting: this.#semaphore.queue.size };
  }

  /** Waits until no other task uses it; callers are served in turn. Throws server_unavailable if that takes too long. */
  acquire(): Promise<void> {
    return this.#acquire(this.#waitMaxMs);
  }

  release(): void {
    this.#semaphore.release(this.#user);
  }

  async #acquire(maxMs?: number): Promise<void> {
    const payer = currentPayer();
    await this.#semaphore.acquire(payer, { maxMs });
    this.#user = payer;
  }

  /** Runs a statement. Throws what SQLite says, with its `errcode`. */
  run(sql: string, parameters: readonly unknown[], inTransaction: boolean): Promise<Outcome> {
    const answering = Promise.withResolvers<Outcome>();
    this.#answering = answering;
    const replies = Atomics.load(this.#replies, 0);
    this.#send({ sql, parameters, inTransaction });
    if (sql === 'begin immediate') this.#waitMs = WAIT_MS;
    // A commit waits for the disk, and so does a statement by itself.
    if (this.#isUp && (inTransaction ? sql !== 'commit' : sql === 'begin immediate')) this.#wait(replies);
    return answering.promise;
  }

  /** Closes the connection, once all that was asked of it is done. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#acquire();
    if (this.#worker === undefined) return;
    const exited = once(this.#worker, 'exit');
    this.#send('close');
    await exited;
  }

  /** Blocks until the reply that follows `replies` others, while WAIT_MS lasts. After that it comes as a message. */
  #wait(replies: number): void {
    if (this.#port === undefined || this.#waitMs <= 0) return;
    const startMs = systemClock.monotonic();
    const isLate = Atomics.wait(this.#replies, 0, replies, this.#waitMs) === 'timed-out';
    this.#waitMs = isLate ? 0 : this.#waitMs - (systemClock.monotonic() - startMs);
    if (isLate) return;
    const reply: { message: Reply } | undefined = receiveMessageOnPort(this.#port);
    if (reply !== undefined) this.#receive(reply.message);
  }

  #send(request: Request): void {
    this.#worker ??= this.#start();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port?.postMessage(request);
  }

  readonly #receive = ({ outcome, error, isTransaction }: Reply): void => {
    this.#isUp = true;
    this.#isTransaction = isTransaction;
    if (outcome !== undefined) this.#answering?.resolve(outcome);
    else this.#answering?.reject(Object.assign(new Error(error?.message), { errcode: error?.errcode }));
  };

  #start(): Worker {
    const { port1: here, port2: there } = new MessageChannel();
    const data: ThreadData = { options: this.#options, port: there, replies: this.#replies };
    const worker = new Worker(new URL('sqlite-thread-entry.ts', import.meta.url), {
      workerData: data,
      transferList: [there],
    });
    here.on('message', this.#receive);
    here.unref(); // the thread itself keeps the process alive
    this.#port = here;
    let cause: unknown;
    worker.on('error', (error) => (cause = error));
    // Whatever ended it, the next statement has another one started.
    worker.once('exit', () => {
      here.close();
      this.#worker = undefined;
      this.#port = undefined;
      this.#isUp = false;
      this.#isTransaction = false;
      this.#answering?.reject(cause ?? new Error('the thread that uses the database ended'));
    });
    return worker;
  }
}
