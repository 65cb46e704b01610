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

export interface Statement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** A part of a transaction. */
export interface Part {
  /** Whether the transaction begins with it. */
  readonly begins: boolean;
  readonly statements: readonly Statement[];
  /** Set if the transaction ends with it: what it wrote is kept for the next commit, or undone. If the part fails, it is undone. */
  readonly ends?: 'keep' | 'undo' | undefined;
}

/** A part of a transaction, a statement by itself, or the commit of all transactions that were kept. */
export type Request = Part | Statement | 'commit';

/** Requests are done one after the other, and answered by as many replies in one message. */
export type Message = 'close' | readonly Request[];

export interface Reply {
  /** What the last statement gave. */
  readonly outcome?: Outcome | undefined;
  readonly error?: WorkerError;
}

export interface WorkerError {
  readonly message: string;
  readonly errcode: number | undefined;
  /** Whether it failed before the last statement of a part. */
  readonly isEarlier: boolean;
}

/**
 * How long the main thread may block for the statements of one transaction, milliseconds. Most take 20 to 50 us,
 * which is less than a turn of the event loop costs; beyond it the transaction awaits them.
 */
const WAIT_MS = 2;

const NOTHING: Outcome = { rows: [] };

/**
 * A connection in a thread of its own, for writes, since a commit waits for the disk, or for reads that may take
 * long. The main thread serves other calls meanwhile.
 *
 * `take` blocks the main thread for the statements of a transaction, up to WAIT_MS in all: the transaction then takes
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
  /** What is sent with the next message. */
  #queued: Request[] = [];
  /** Who waits for a reply, in the order of the requests. */
  readonly #answering: PromiseWithResolvers<Outcome>[] = [];
  #ends = 0;
  #closing: Promise<void> | undefined;

  constructor(options: ThreadOptions, waitMaxMs = LOCK_WAIT_MAX_MS) {
    this.#options = options;
    this.#waitMaxMs = waitMaxMs;
  }

  /** How often the thread has ended: what it had not committed is lost. */
  get ends(): number {
    return this.#ends;
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

  /** Has a request done. Throws what SQLite says, as a WorkerError. */
  run(request: Request): Promise<Outcome> {
    const outcome = this.queue(request);
    this.#send();
    return outcome;
  }

  /** As `run`, and blocks until it is done, while WAIT_MS lasts. */
  take(part: Part): Promise<Outcome> {
    if (part.begins) this.#waitMs = WAIT_MS;
    const replies = Atomics.load(this.#replies, 0);
    const outcome = this.run(part);
    if (this.#isUp) this.#wait(replies);
    return outcome;
  }

  /** As `run`, but has the request sent together with the next one. */
  queue(request: Request): Promise<Outcome> {
    const answering = Promise.withResolvers<Outcome>();
    this.#answering.push(answering);
    this.#queued.push(request);
    return answering.promise;
  }

  /** Closes the connection, once all that was asked of it is done. */
  close(): Promise<void> {
    return (this.#closing ??= this.#acquire().then(() => this.end()));
  }

  /** Closes the connection for the task that uses it, which keeps it. */
  async end(): Promise<void> {
    if (this.#worker === undefined) return;
    const exited = once(this.#worker, 'exit');
    this.#post('close');
    await exited;
  }

  /** Blocks until the message that follows `replies` others, while WAIT_MS lasts. After that it comes by itself. */
  #wait(replies: number): void {
    if (this.#port === undefined || this.#waitMs <= 0) return;
    const startMs = systemClock.monotonic();
    const isLate = Atomics.wait(this.#replies, 0, replies, this.#waitMs) === 'timed-out';
    this.#waitMs = isLate ? 0 : this.#waitMs - (systemClock.monotonic() - startMs);
    if (isLate) return;
    const received: { message: readonly Reply[] } | undefined = receiveMessageOnPort(this.#port);
    if (received !== undefined) this.#receive(received.message);
  }

  #send(): void {
    const requests = this.#queued;
    this.#queued = [];
    this.#post(requests);
  }

  #post(message: Message): void {
    this.#worker ??= this.#start();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port?.postMessage(message);
  }

  readonly #receive = (replies: readonly Reply[]): void => {
    this.#isUp = true;
    for (const { outcome, error } of replies) {
      const answering = this.#answering.shift();
      if (error === undefined) answering?.resolve(outcome ?? NOTHING);
      else answering?.reject(Object.assign(new Error(error.message), error));
    }
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
      this.#ends += 1;
      const sent = this.#answering.length - this.#queued.length;
      const error = cause ?? new Error('the thread that uses the database ended');
      for (const answering of this.#answering.splice(0, sent)) answering.reject(error);
    });
    return worker;
  }
}
