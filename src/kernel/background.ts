/**
 * Runs tasks that no call waits for, such as recording what was answered already.
 * It passes the error of a task that fails to `onError`. Disposing waits for all tasks.
 */
export class Background implements AsyncDisposable {
  readonly #onError: (error: unknown) => void;
  readonly #running = new Set<Promise<void>>();

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Runs a task after the work of this turn of the event loop, such as sending the response of the present call. */
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
