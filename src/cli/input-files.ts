import { readFile } from 'node:fs/promises';
import { UsageError } from './command.ts';
import type { Terminal } from './terminal/terminal.ts';

/** Says why a file cannot be read. */
export function unreadable(file: string, error: unknown): UsageError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new UsageError(`cannot read ${file}: ${WHY[code ?? ''] ?? message}`, { cause: error });
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'you may not',
};

/** The bytes of a file, or of standard input for `-`. Throws UsageError for one that cannot be read, or is empty. */
export async function readInputFile(file: string, terminal: Terminal): Promise<Buffer> {
  const content =
    file === '-'
      ? await readAll(terminal.input)
      : await readFile(file).catch((error: unknown) => {
          throw unreadable(file, error);
        });
  if (content.length === 0) throw new UsageError(`${file === '-' ? 'standard input' : file} is empty`);
  return content;
}

async function readAll(input: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of input) chunks.push(chunk);
  return Buffer.concat(chunks);
}
