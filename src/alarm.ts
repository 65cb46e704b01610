/** Wakes one waiting task, also when it rings before the task waits. */
export class Alarm {
  readonly #signal: AbortSignal;
  #ringing = false;
  #resolve: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.ring(), { once: true });
  }

  /** Runs `end` when the signal is aborted. */
  until(end: () => void): void {
    if (this.#signal.aborted) end();
    else this.#signal.addEventListener('abort', end, { once: true });
  }

  set(): void {
    this.#ringing = this.#signal.aborted;
  }

  ring(): void {
    this.#ringing = true;
    this.#resolve?.();
  }

  /** Resolves when the alarm rings or has rung since it was set, at the latest after `ms`. */
  async rung(ms: number): Promise<void> {
    if (this.#ringing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#resolve = undefined;
  }
}
