import {
  chmodSync,
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { DatabaseError } from './dialect.ts';

/** Bytes that are copied at once. */
const CHUNK_BYTES = 1024 * 1024;

/** What no SQLite file has less of, and what it begins with (https://sqlite.org/fileformat.html#the_database_header). */
const HEAD_BYTES = 512;

/**
 * Writes the content of the database file `draft` over that of `file`, which is copied to
 * the new file `aside` before, for where a file cannot be renamed over another.
 *
 * The header is erased first and written last, each time flushed to the disk: a process
 * that opens the file in between, or after a power cut, finds no database, and never one
 * of two halves. The space is taken before anything is erased. `afterCopy` runs when the
 * copy is complete and nothing is changed yet.
 *
 * Throws, with the file as it was, when there is no space or right to write; later on
 * DatabaseError, which names the copy.
 */
export function replaceInPlace(file: string, draft: string, aside: string, afterCopy: () => void): void {
  using target = opened(file, constants.O_RDWR);
  using source = opened(draft, constants.O_RDONLY);
  {
    // Read through the one descriptor: closing another would give up the locks that this process has on the file.
    using copy = opened(aside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    copyBytes(target.fd, copy.fd, 0);
    const { mode, uid, gid } = fstatSync(target.fd);
    if (process.getuid?.() === 0) fchownSync(copy.fd, uid, gid);
    chmodSync(aside, mode & 0o777);
    fsyncSync(copy.fd);
  }
  afterCopy();
  const before = fstatSync(target.fd).size;
  const after = fstatSync(source.fd).size;
  try {
    for (let at = before; at < after; at += CHUNK_BYTES) {
      writeAll(target.fd, Buffer.alloc(Math.min(CHUNK_BYTES, after - at)), at);
    }
    fsyncSync(target.fd);
  } catch (error) {
    ftruncateSync(target.fd, before);
    throw error;
  }
  try {
    writeAll(target.fd, Buffer.alloc(HEAD_BYTES), 0);
    fsyncSync(target.fd);
    copyBytes(source.fd, target.fd, HEAD_BYTES);
    ftruncateSync(target.fd, after);
    fsyncSync(target.fd);
    const head = Buffer.alloc(HEAD_BYTES);
    readSync(source.fd, head, 0, HEAD_BYTES, 0);
    writeAll(target.fd, head, 0);
    fsyncSync(target.fd);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new DatabaseError(`is replaced by half: ${why}; what it held is in ${aside}: restore again`, {
      cause: error,
    });
  }
}

function opened(path: string, flags: number, mode?: number): Disposable & { readonly fd: number } {
  const fd = openSync(path, flags, mode);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

function copyBytes(from: number, to: number, start: number): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = start; ; ) {
    const bytes = readSync(from, chunk, 0, CHUNK_BYTES, at);
    if (bytes === 0) return;
    writeAll(to, chunk.subarray(0, bytes), at);
    at += bytes;
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
