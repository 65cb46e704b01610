import { type ChildProcess, spawn } from 'node:child_process';

/** A process beside this one that answers what it is asked. Disposing kills it. */
export class Peer implements Disposable {
  readonly #child: ChildProcess;
  readonly #waiting: PromiseWithResolvers<unknown>[] = [];

  /** Runs `file`, which calls `answerWith`, behind `command`, such as `taskset -c 1`. */
  constructor(file: string, command: readonly string[] = []) {
    const [program, ...args] = [...command, process.execPath];
    this.#child = spawn(program, [...args, file], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (answer: { value?: unknown; error?: string }) => {
      const asked = this.#waiting.shift();
      if (answer.error === undefined) asked?.resolve(answer.value);
      else asked?.reject(new Error(answer.error));
    });
    this.#child.once('close', (code, signal) => {
      for (const asked of this.#waiting.splice(0)) asked.reject(new Error(`${file} ended with ${signal ?? code}`));
    });
    process.once('exit', this.#kill);
  }

  /** Answers come in the order of the questions. Rejects with what the process threw, or when it ends. */
  ask<T>(question: object): Promise<T> {
    const asked = Promise.withResolvers<unknown>();
    this.#waiting.push(asked);
    this.#child.send(question);
    return asked.promise as Promise<T>;
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#kill);
    this.#kill();
  }

  readonly #kill = (): void => void this.#child.kill('SIGKILL');
}

/** The other side: answers one question after the other, and ends with the process that asks. */
export function answerWith(answer: (question: never) => Promise<unknown>): void {
  let last = Promise.resolve();
  const answerAfter = async (before: Promise<void>, question: unknown): Promise<void> => {
    await before;
    try {
      process.send?.({ value: await answer(question as never) });
    } catch (error) {
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  };
  process.on('message', (question) => {
    last = answerAfter(last, question);
  });
  process.once('disconnect', () => process.exit(1));
}
