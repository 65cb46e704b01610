import { Worker } from 'node:worker_threads';
import { ConcurrencyLimiter } from '../../budget/concurrency-limiter.ts';
import type { Payer } from '../../budget/payer.ts';
import { Failure } from '../../kernel/failure.ts';
import { readImageHeader, UnreadableImage } from './image-header.ts';
import type { MadePhoto, PhotoAnswer, PhotoOutcome } from './photo.ts';

/** How many pixels a picture may have, such as 2,048 by 2,048: each takes the process 17 bytes for as long as it is read. */
const PIXELS_MAX = 4_200_000;

/** How long one picture may take, milliseconds. A JPEG of many scans would take minutes. */
const MAKE_MAX_MS = 10_000;

/** The thread is ended when it had nothing to do for so long, milliseconds: what it holds is some 30 MiB. */
const IDLE_MS = 10_000;

const WAITING_PER_CALLER = 8;
const WAITING_MAX = 64;
const WAIT_MAX_MS = 20_000;
const TASK_MS = 50;

/**
 * Makes photos of pictures, one at a time, in a thread that starts when it is first needed. What strangers made is read there
 * alone: by codecs in WebAssembly, which can reach nothing but their own memory.
 */
export class PhotoMaker implements AsyncDisposable {
  readonly limiter = new ConcurrencyLimiter({
    name: 'photos',
    running: 1,
    runningPerCaller: 1,
    waiting: WAITING_MAX,
    waitingPerCaller: WAITING_PER_CALLER,
    waitMaxMs: WAIT_MAX_MS,
    taskMs: TASK_MS,
  });
  readonly #makeMaxMs: number;
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** @param makeMaxMs how long one picture may take, milliseconds */
  constructor(makeMaxMs = MAKE_MAX_MS) {
    this.#makeMaxMs = makeMaxMs;
  }

  /** Throws photo_unreadable, photo_too_large, budget_exceeded, server_busy. */
  async make(image: Uint8Array, payer: Payer, signal?: AbortSignal): Promise<MadePhoto> {
    const pixels = pixelsOf(image);
    if (pixels > PIXELS_MAX) {
      throw new Failure('photo_too_large', `the photo has ${pixels} pixels, and may have ${PIXELS_MAX}`, {
        limit: String(PIXELS_MAX),
      });
    }
    const outcome = await this.limiter.run(payer, () => this.#run(image), signal);
    if (typeof outcome === 'string') throw unreadable(outcome);
    return outcome;
  }

  async #run(image: Uint8Array): Promise<PhotoOutcome> {
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= start());
    const { promise, resolve } = Promise.withResolvers<PhotoAnswer | undefined>();
    const end = () => resolve(undefined);
    const timer = setTimeout(() => resolve({ outcome: 'takes too long to read', isLarge: true }), this.#makeMaxMs);
    worker.once('message', resolve).once('exit', end);
    worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    worker.postMessage(Uint8Array.from(image));
    const { outcome, isLarge } = (await promise) ?? { outcome: 'takes too much memory to read', isLarge: true };
    clearTimeout(timer);
    worker.off('message', resolve).off('exit', end);
    worker.unref();
    // A codec that failed may be in any state; WebAssembly gives no memory back.
    if (typeof outcome === 'string' || isLarge) await this[Symbol.asyncDispose]();
    else this.#idle = setTimeout(() => void this[Symbol.asyncDispose](), IDLE_MS).unref();
    return outcome;
  }

  /** Ends the thread; the next photo has another one started. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function start(): Worker {
  const worker = new Worker(new URL('photo-thread.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 },
  });
  worker.on('error', () => {}); // it exits then, which whoever waits is told
  worker.unref();
  return worker;
}

function pixelsOf(image: Uint8Array): number {
  try {
    const { width, height } = readImageHeader(image);
    return width * height;
  } catch (error) {
    if (error instanceof UnreadableImage) throw unreadable(error.message);
    throw error;
  }
}

function unreadable(why: string): Failure {
  return new Failure('photo_unreadable', `the photo ${why}`);
}
