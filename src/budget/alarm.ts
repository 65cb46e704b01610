import type { Payer } from './payer.ts';
import type { Sleeper, WakeQueue } from './wake-queue.ts';

/** Wakes one waiting task when its turn comes, also when it rings before the task waits. */
export class Alarm implements Sleeper {
  readonly payer: Payer;
  readonly #signal: AbortSignal;
  readonly #queue: WakeQueue;
  #ringing = false;
  #resolve: (() => void) | undefined;

  /** `payer` is whom the task works for. */
  constructor(signal: AbortSignal, queue: WakeQueue, payer: Payer) {
    this.payer = payer;
    this.#signal = signal;
    this.#queue = queue;
    signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** Runs `end` when the signal is aborted. */
  until(end: () => void): void {
    if (this.#signal.aborted) end();
    else this.#signal.addEventListener('abort', end, { once: true });
  }

  /** Whether it has rung since it was set. */
  get isRinging(): boolean {
    return this.#ringing;
  }

  set(): void {
    this.#ringing = this.#signal.aborted;
  }

  ring(): void {
    this.#ringing = true;
    if (this.#resolve !== undefined) this.#queue.add(this);
  }

  /** Resolves when the alarm rings or has rung since it was set, at the latest after `ms`, if that is given. */
  async rung(ms?: number): Promise<void> {
    if (this.#ringing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const timer = ms === undefined ? undefined : setTimeout(expire, ms, this.#queue, this);
    await promise;
    clearTimeout(timer);
  }

  /** Of the queue. */
  wake(): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }

  /** The task ends: it waits for no turn. */
  #end(): void {
    this.#ringing = true;
    this.#queue.remove(this);
    this.wake();
  }
}

/** Many alarms may be due at the same time: they take turns too. */
function expire(queue: WakeQueue, alarm: Alarm): void {
  queue.add(alarm);
}
