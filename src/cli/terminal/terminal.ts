import { createInterface } from 'node:readline/promises';
import type { ReadStream, WriteStream } from 'node:tty';
import { styleText } from 'node:util';
import { readLines } from './lines.ts';
import { readSecret } from './secret-prompt.ts';

type Style = Parameters<typeof styleText>[0];

/** The streams of a process. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream | ReadStream;
  readonly stdout: NodeJS.WriteStream | WriteStream;
  readonly stderr: NodeJS.WriteStream | WriteStream;
}

/** What a command reads and writes: data on standard output, all else on standard error. */
export interface Terminal {
  /** Columns to fit tables into; undefined where standard output is not a terminal. */
  readonly width: number | undefined;
  /** Whether somebody can be asked. */
  readonly canAsk: boolean;
  /** Whether standard error is shown to somebody, for progress. */
  readonly showsProgress: boolean;
  /** Writes data, and waits until there is room for more. */
  write(text: string): Promise<void>;
  /** Waits until all data is written. */
  flush(): Promise<void>;
  /** Writes a line of data. */
  print(line: string): Promise<void>;
  /** Writes a line for people. */
  note(line: string): void;
  /** Shows a line in place of the one shown before; an empty one removes it. Nothing without a terminal. */
  progress(line: string): void;
  /** The text in a style, where standard output shows colours. */
  styled(style: Style, text: string): string;
  /** Asks for a line; from standard input also where that is no terminal. Undefined at its end. */
  ask(question: string): Promise<string | undefined>;
  /** Asks for a line without showing what is typed. */
  askSecret(question: string): Promise<string | undefined>;
  /** Standard input, as it comes. */
  readonly input: AsyncIterable<Uint8Array>;
  /** All of standard input. */
  readInput(): Promise<string>;
}

/** Reads and writes the streams of the process. */
export function openTerminal({ stdin, stdout, stderr }: Streams, signal: AbortSignal): Terminal {
  let lines: AsyncIterator<string> | undefined;
  let shown = '';
  const nextLine = async () => {
    lines ??= readLines(stdin)[Symbol.asyncIterator]();
    const { value, done } = await lines.next();
    return done === true ? undefined : value;
  };
  const isShown = stdin.isTTY && stderr.isTTY;
  const clear = () => {
    if (shown !== '') stderr.write('\r\u001b[K');
    shown = '';
  };
  const show = (line: string) => {
    if (!stderr.isTTY || line === shown) return;
    clear();
    stderr.write(line);
    shown = line;
  };
  const write = async (text: string): Promise<void> => {
    signal.throwIfAborted();
    clear();
    if (stdout.write(text)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        stdout.off('drain', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      stdout.on('drain', done);
      signal.addEventListener('abort', done);
    });
    signal.throwIfAborted();
  };
  return {
    width: stdout.isTTY ? Math.max(stdout.columns || 80, 20) : undefined,
    canAsk: isShown,
    input: stdin,
    showsProgress: stderr.isTTY,
    write,
    flush: () => new Promise((resolve) => stdout.write('', () => resolve())),
    print: (line) => write(`${line}\n`),
    note(line) {
      const before = shown;
      clear();
      stderr.write(`${line}\n`);
      show(before);
    },
    progress: show,
    styled: (style, text) => styleText(style, text, { stream: stdout }),
    async ask(question) {
      if (!isShown) return nextLine();
      using lines = createInterface({ input: stdin, output: stderr });
      lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
      return await lines.question(question, { signal });
    },
    async askSecret(question) {
      if (!isShown) return nextLine();
      return readSecret(stdin, stderr, question, signal);
    },
    async readInput() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Buffer));
      return Buffer.concat(chunks).toString('utf8');
    },
  };
}
