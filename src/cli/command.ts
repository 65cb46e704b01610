import type { Terminal } from './terminal/terminal.ts';

/** An argument, by its place. */
export interface Argument {
  /** As help shows it: `USER`. */
  readonly name: string;
  readonly help: string;
  /** Arguments that may be absent come last. */
  readonly optional?: boolean;
  /** Whether it may be given several times. It is the last one then. */
  readonly multiple?: boolean;
  /** The only ones that are taken. */
  readonly values?: readonly string[];
}

/** An option: a switch, or with `value` one that takes a value. */
export interface Option {
  readonly help: string;
  /** What stands for its value in help: `FILE`. */
  readonly value?: string;
  /** The only values that it takes. */
  readonly values?: readonly string[];
  /** Whether it may be given several times. */
  readonly multiple?: boolean;
}

export type Options = Readonly<Record<string, Option>>;

/** The environment variables. */
export type Env = Readonly<Record<string, string | undefined>>;

/** What the program does when it is called by its name. */
export interface Command {
  /** In one line, imperative, without a full stop. */
  readonly summary: string;
  /** What else is to be known, in paragraphs. */
  readonly details?: string;
  readonly args?: readonly Argument[];
  readonly options?: Options;
  /** Lines for a shell, without the name of the program. */
  readonly examples: readonly string[];
  /** Whether it works on what the server stores: signals end it at once, and exit codes are those of the server. */
  readonly isOfServer?: boolean;
  /** Throws UsageError and CommandError, and what a client of Kith throws. */
  run(call: Invocation): Promise<void>;
}

/** A command that was called. */
export interface Invocation {
  /** By the name of the argument. */
  readonly args: Readonly<Record<string, string | undefined>>;
  /** All arguments, in their order. */
  readonly words: readonly string[];
  readonly options: Given;
  readonly terminal: Terminal;
  readonly env: Env;
  /** Aborted by Ctrl-C, SIGTERM, and when nobody reads the output any more. */
  readonly signal: AbortSignal;
}

/** The options that were given, by name. */
export class Given {
  readonly #values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

  constructor(values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>) {
    this.#values = values;
  }

  /** These options, with others in place of some. */
  with(others: Readonly<Record<string, string | readonly string[]>>): Given {
    return new Given({ ...this.#values, ...others });
  }

  /** Whether a switch is on. */
  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  value(name: string): string | undefined {
    return this.all(name).at(-1);
  }

  all(name: string): readonly string[] {
    return [this.#values[name] ?? []].flat().filter((value) => typeof value === 'string');
  }

  /** The value as a whole number that is at least `min`. Throws UsageError for another. */
  wholeNumber(name: string, min: number): number | undefined {
    const text = this.value(name);
    if (text === undefined) return undefined;
    const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    if (number < min)
      throw new UsageError(`--${name} takes a whole number from ${min} on, not ${JSON.stringify(text)}`);
    return number;
  }
}

/** A command that cannot be run as it was called. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Why a command failed, in words for people. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
