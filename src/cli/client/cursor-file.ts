import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { CommandError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { unreadable } from '../input-files.ts';

/** The cursor in a file; undefined where there is no such file yet. Throws UsageError. */
export async function readCursor(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(file, error);
  }
}

/** Writes the cursor to the file, as a whole. Throws CommandError. */
export async function writeCursor(file: string, cursor: string): Promise<void> {
  const draft = `${file}.${process.pid}`;
  try {
    await writeFile(draft, `${cursor}\n`);
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw new CommandError(`cannot write ${file}: ${(error as Error).message}`, EXIT_CODES.failed, { cause: error });
  }
}
