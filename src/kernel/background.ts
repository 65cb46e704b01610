/**
 * Work that nobody waits for, such as a record of something that was answered
 * already. A failure is told to `onError`; disposing waits for all of it.
 */
export class Background implements AsyncDisposable {
  readonly #onError: (error: unknown) => void;
  readonly #running = new Set<Promise<void>>();

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Runs a task after whatever is under way, the answer of the present call among it. */
  run(task: () => Promise<unknown>): void {
    const running = this.#attempt(task).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #attempt(task: () => Promise<unknown>): Promise<void> {
    await new Promise(setImmediate);
    try {
      await task();
    } catch (error) {
      this.#onError(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
