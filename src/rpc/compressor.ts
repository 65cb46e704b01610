import { Worker } from 'node:worker_threads';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Compression } from '@connectrpc/connect/protocol';
import { currentPayer } from '../budget/current-payer.ts';
import { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import type { Payer } from '../budget/payer.ts';
import { compress, decompress, type Encoding, ENCODINGS, type UnpackFault } from './zlib-codecs.ts';

/** Unpacks when `maxBytes` is given, and compresses otherwise. */
export interface Job {
  readonly encoding: Encoding;
  readonly bytes: Uint8Array;
  readonly maxBytes: number | undefined;
}

export type JobOutcome = Uint8Array<ArrayBuffer> | UnpackFault;

/** A message that is at most so large when unpacked takes less time than to hand it to the thread and back. */
const INLINE_BYTES_MAX = 65_536;

/** Answers of at least so many bytes are compressed for clients that accept it. */
export const COMPRESS_MIN_BYTES = 1024;

/** Answers of at most so many bytes are compressed where they are made: it takes some 0.1 ms. */
const INLINE_COMPRESS_BYTES_MAX = 8192;

/** What waits for the thread. An answer that finds the queue full goes out as it is. */
const WAITING_PER_CALLER = 8;
const WAITING_MAX = 64;
/** A request that finds it full is refused, so that a caller may have more of them there: half of all. */
const UNPACKED_PER_CALLER = WAITING_MAX / 2;
const WAIT_MAX_MS = 2000;
const TASK_MS = 5;

/**
 * Compresses answers and unpacks requests in one thread of its own. On libuv's threads, where
 * zlib runs by itself, passwords are hashed: whoever had enough compressed, had nobody sign in.
 *
 * The thread starts when it is first needed and does not keep the process alive.
 */
export class Compressor implements Disposable {
  readonly #limiter = new ConcurrencyLimiter({
    name: 'compressions',
    running: 1,
    runningPerCaller: 1,
    waiting: WAITING_MAX,
    waitingPerCaller: WAITING_PER_CALLER,
    waitMaxMs: WAIT_MAX_MS,
    taskMs: TASK_MS,
  });
  readonly #requests = new ConcurrencyLimiter({
    name: 'unpacked_requests',
    running: 1,
    runningPerCaller: 1,
    waiting: WAITING_MAX,
    waitingPerCaller: UNPACKED_PER_CALLER,
    waitMaxMs: WAIT_MAX_MS,
    taskMs: TASK_MS,
  });
  /** What waits for the thread, for metrics. */
  readonly limiters: readonly ConcurrencyLimiter[] = [this.#limiter, this.#requests];
  #worker: Worker | undefined;
  /** Of what was handed to the thread, in its order. */
  readonly #answering: PromiseWithResolvers<JobOutcome>[] = [];

  /** The codings for Connect, which has to have what it asks for: without room in the queue it is made here. */
  readonly compressions: readonly Compression[] = ENCODINGS.map((name) => ({
    name,
    compress: async (bytes) =>
      ((await this.compress(name, bytes, currentPayer())) as Uint8Array<ArrayBuffer> | undefined) ??
      compress(name, bytes),
    decompress: (bytes, maxBytes) => this.decompress(name, bytes, maxBytes, currentPayer()),
  }));

  /**
   * The bytes compressed, or undefined where they are to be sent as they are: too many answers
   * wait to be compressed, the caller's or all, or the answer is not wanted any more when it is its turn.
   */
  async compress(
    name: string,
    bytes: Uint8Array,
    payer: Payer,
    isWanted: () => boolean = () => true,
  ): Promise<Uint8Array | undefined> {
    const encoding = ENCODINGS.find((each) => each === name);
    if (encoding === undefined) return undefined;
    if (bytes.length <= INLINE_COMPRESS_BYTES_MAX) return compress(encoding, bytes);
    try {
      const job = { encoding, bytes, maxBytes: undefined };
      const outcome = await this.#limiter.run(payer, () => (isWanted() ? this.#handOver(job) : undefined));
      return typeof outcome === 'string' ? undefined : outcome;
    } catch {
      return undefined;
    }
  }

  /** The bytes unpacked. Rejects with a ConnectError for what does not unpack, or to more than `maxBytes`. */
  async decompress(name: string, bytes: Uint8Array, maxBytes: number, payer: Payer): Promise<Uint8Array<ArrayBuffer>> {
    const encoding = ENCODINGS.find((each) => each === name);
    if (encoding === undefined) throw new Error(`${name} is not offered`);
    const outcome =
      maxBytes <= INLINE_BYTES_MAX
        ? decompress(encoding, bytes, maxBytes)
        : await this.#requests.run(payer, () => this.#handOver({ encoding, bytes, maxBytes }));
    if (typeof outcome !== 'string') return outcome;
    if (outcome === 'malformed') throw new ConnectError('decompression failed', Code.Internal);
    throw new ConnectError(
      `message is larger than configured readMaxBytes ${maxBytes} after decompression`,
      Code.ResourceExhausted,
    );
  }

  #handOver(job: Job): Promise<JobOutcome> {
    const answering = Promise.withResolvers<JobOutcome>();
    this.#worker ??= this.#start();
    this.#answering.push(answering);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(job);
    return answering.promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL('compression-thread.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 32 },
    });
    let cause: unknown;
    worker.on('message', (outcome: JobOutcome) => this.#answering.shift()?.resolve(outcome));
    worker.on('error', (error) => (cause = error));
    // Whatever ended it, the next job has another one started.
    worker.once('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      const error = cause ?? new Error('the thread that compresses has ended');
      for (const answering of this.#answering.splice(0)) answering.reject(error);
    });
    worker.unref(); // after the listeners, which would keep the process alive
    return worker;
  }

  [Symbol.dispose](): void {
    void this.#worker?.terminate();
  }
}
