import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { FairQueue } from '../budget/fair-queue.ts';
import { addressPayer, type Payer } from '../budget/payer.ts';
import type { Clock } from '../kernel/clock.ts';

export interface RestLimits {
  /** After so many milliseconds a connection is closed whose request has not ended. */
  readonly restTimeoutMs: number;
  /** A clock that only goes forward, milliseconds. */
  readonly clock: Pick<Clock, 'monotonic'>;
  /** How many are read at once. Default: AT_ONCE. */
  readonly atOnce?: number;
}

/** What is still taken of a request that was answered before it ended; then the connection is closed. */
const REST_BYTES_MAX = 8 * 1024 * 1024;

/** With up to 64 KiB of each, a turn of the event loop reads 1 MiB. */
const AT_ONCE = 16;

/** How long one that sends nothing is waited for while others wait, milliseconds. */
const SILENCE_MS = 20;

interface Rest {
  readonly req: IncomingMessage;
  readonly socket: Socket;
  readonly payer: Payer;
  /** Since when it is read and nothing has come, milliseconds. */
  sinceMs: number;
}

/**
 * Reads the rest of requests that were answered before they ended, over HTTP/1.1, so that the next request is found behind
 * it. Closing at once would cost the client the answer: what it still sends is answered with a reset.
 *
 * The rests of few requests are read at once, and addresses take turns. Of a thousand connections with something to read,
 * Node reads 64 KiB each before it serves anything else.
 */
export class RestReader {
  readonly #limits: RestLimits;
  readonly #atOnce: number;
  readonly #reading = new Set<Rest>();
  readonly #waiting = new FairQueue<Rest>();
  #rotation: NodeJS.Timeout | undefined;

  constructor(limits: RestLimits) {
    this.#limits = limits;
    this.#atOnce = limits.atOnce ?? AT_ONCE;
  }

  /** How many are read at present. */
  get reading(): number {
    return this.#reading.size;
  }

  /** Takes the rest of a request that has been answered, if there is any. */
  take(req: IncomingMessage, socket: Socket): void {
    if (req.complete || socket.destroyed) return;
    const rest: Rest = { req, socket, payer: addressPayer(socket.remoteAddress ?? ''), sinceMs: 0 };
    let bytes = 0;
    const end = () => {
      clearTimeout(tooLong);
      socket.off('close', end);
      this.#remove(rest);
    };
    // A request that a handler has left may come to its end without a word of it: the next one is served by then.
    const tooLong = setTimeout(() => (req.complete ? end() : socket.destroy()), this.#limits.restTimeoutMs);
    req.once('end', end);
    socket.once('close', end); // of which a request hears nothing that was answered
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > REST_BYTES_MAX) socket.destroy();
      else this.#yield(rest);
    });
    req.resume();
    this.#wait(rest);
  }

  #wait(rest: Rest): void {
    this.#waiting.add(rest.payer, rest);
    this.#readNext();
    this.#pause(rest);
  }

  /** Lets another one be read. */
  #yield(rest: Rest): void {
    if (!this.#reading.has(rest)) this.#pause(rest);
    else if (this.#waiting.size === 0) rest.sinceMs = this.#limits.clock.monotonic();
    else {
      this.#reading.delete(rest);
      this.#wait(rest);
    }
  }

  /** Before the next reads: a request asks for more when what has come is taken, and its socket goes on then. */
  #pause(rest: Rest): void {
    setImmediate(() => {
      if (!this.#reading.has(rest) && !rest.req.complete) rest.socket.pause();
    });
  }

  #remove(rest: Rest): void {
    this.#waiting.remove(rest.payer, rest);
    if (this.#reading.delete(rest)) this.#readNext();
  }

  #readNext(): void {
    while (this.#reading.size < this.#atOnce) {
      const next = this.#waiting.take();
      if (next === undefined) break;
      next.sinceMs = this.#limits.clock.monotonic();
      this.#reading.add(next);
      next.socket.resume();
    }
    if (this.#waiting.size > 0) this.#rotation ??= setInterval(this.#rotate, SILENCE_MS).unref();
    else {
      clearInterval(this.#rotation);
      this.#rotation = undefined;
    }
  }

  /** Has those wait who send nothing, and takes out those that have come. */
  readonly #rotate = (): void => {
    const longAgoMs = this.#limits.clock.monotonic() - SILENCE_MS;
    for (const rest of this.#reading) {
      if (rest.req.complete) this.#remove(rest);
      else if (rest.sinceMs <= longAgoMs) this.#yield(rest);
    }
  };
}
