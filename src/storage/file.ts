import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '../kernel/clock.ts';
import { replaceInPlace } from './replace-in-place.ts';
import { openDatabase } from './database.ts';
import { DatabaseError } from './dialect.ts';
import { claim, isBusy, isDamage, isMarked, operatorMessage, plain } from './sqlite.ts';
import { SQLITE } from './url.ts';

/** How long to wait for another process that holds the file locked for a moment, milliseconds. */
const BUSY_TIMEOUT_MS = 2000;

/** How long to wait for others to leave the file, milliseconds: a server does not. */
const HOLD_TIMEOUT_MS = 200;

/** The path in KITH_DATABASE_URL. Throws DatabaseError for a database on a server, which has its own tools. */
export function databaseFileOf(url: string): string {
  if (url.startsWith(SQLITE)) return url.slice(SQLITE.length);
  throw new DatabaseError(
    'KITH_DATABASE_URL names a database on a server, and this is for a SQLite file: use the tools of the server, such as pg_dump',
  );
}

/**
 * Writes a consistent copy of the database file at `path` to the new file
 * `target`, with mode 0600, while another process may serve it: that goes on
 * reading and writing meanwhile. The copy is checked before it is there under
 * its name. Throws DatabaseError when there is no database, it is damaged, or
 * `target` exists.
 */
export function backUpFile(path: string, target: string): void {
  requireFile(path);
  requireNone(target);
  using unfinished = new DisposableStack();
  const draft = `${target}.${randomUUID()}`;
  explained(target, () => createEmpty(draft));
  unfinished.defer(() => rmSync(draft, { force: true }));
  explained(path, () => {
    using source = new DatabaseSync(plain(path), { timeout: BUSY_TIMEOUT_MS });
    requireSound(path, source);
    vacuumInto(source, draft);
  });
  explained(target, () => {
    {
      using copy = new DatabaseSync(plain(draft), { readOnly: true });
      requireSound(target, copy);
    }
    flush(draft);
    requireNone(target);
    createEmpty(target); // and so overwrites nothing that came meanwhile
    renameSync(draft, target);
    flush(dirname(target));
  });
  unfinished.move();
}

/**
 * Puts a copy of the file `backup` in the place of the database file at `path`,
 * checked and brought up to date before. The previous file, if there is one, is
 * kept beside it under the name that is returned; its owner and mode are kept.
 *
 * Where `path` is a symbolic link, the file that it leads to is replaced, and the link
 * stays. The file is replaced in one step, unless it is mounted by itself, which no file
 * system does in one step: then its content is, in such an order that it cannot be
 * opened until all of it is there.
 *
 * Throws DatabaseError, and changes nothing, when the backup is not a sound
 * database of this or an older version, or a process has the file at `path` open.
 * Of a file that is too damaged to be locked nobody can tell.
 */
export async function restoreFile(path: string, backup: string): Promise<string | undefined> {
  const file = explained(path, () => behindLinks(path));
  requireFile(backup);
  if (existsSync(file) && isSameFile(file, backup)) throw new DatabaseError(`${backup}: this is the database itself`);
  explained(path, () => mkdirSync(dirname(file), { recursive: true, mode: 0o700 }));
  using unfinished = new DisposableStack();
  const draft = `${file}.${randomUUID()}`;
  explained(path, () => createEmpty(draft));
  unfinished.defer(() => {
    for (const suffix of ['', ...COMPANIONS]) rmSync(draft + suffix, { force: true });
  });
  explained(backup, () => {
    using source = new DatabaseSync(plain(backup), { readOnly: true });
    requireSound(backup, source);
    vacuumInto(source, draft);
  });
  await bringUpToDate(draft, backup);
  using held = holdUnlessDamaged(file);
  const aside = `${file}.${new Date(systemClock.now()).toISOString().replaceAll(/[-:]/g, '')}`;
  const hadFile = held !== undefined || existsSync(file);
  explained(path, () => {
    if (hadFile) giveModeOf(file, draft);
    giveToOwnerOf(hadFile ? file : dirname(file), draft);
    flush(draft);
    if (hadFile) replace(file, draft, aside);
    else renameSync(draft, file);
    flush(dirname(file));
  });
  return hadFile ? aside : undefined;
}

/** Puts `draft` in the place of `file`, which is kept as `aside`. */
function replace(file: string, draft: string, aside: string): void {
  const moveCompanions = () => {
    for (const suffix of COMPANIONS) if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
  };
  try {
    linkSync(file, aside); // not renamed: there is a file at `file` at every moment
    moveCompanions();
    renameSync(draft, file);
  } catch (error) {
    if (!isMountedAlone(error)) throw error;
    rmSync(aside, { force: true });
    replaceInPlace(file, draft, aside, moveCompanions);
  }
}

/** A file that is mounted by itself is on another file system than its directory (link), and cannot be replaced (rename). */
function isMountedAlone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['EXDEV', 'EBUSY'].includes(String(error.code));
}

/** Where a path leads, also when there is nothing there yet: SQLite makes the file there, and its log beside that. */
export function behindLinks(path: string): string {
  let file = path;
  for (let links = 0; links < LINKS_MAX; links++) {
    if (!lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()) return file;
    file = resolve(dirname(file), readlinkSync(file));
  }
  throw new DatabaseError('too many symbolic links lead from one to the next');
}

/**
 * Opens the database file at `path` for this process alone: nobody else has it
 * open, and nobody can until the connection is closed. It stands in a
 * transaction. Throws DatabaseError when another process has it open.
 */
export function holdFile(path: string): DatabaseSync {
  requireFile(path);
  return explained(path, () => {
    const database = new DatabaseSync(plain(path), { timeout: HOLD_TIMEOUT_MS });
    try {
      claim(database);
      // A connection to a file with a write-ahead log holds a shared lock on the file for as long as it is open,
      // and the log can be given up only when there is no other. This also writes all of it back into the file.
      database.exec('pragma journal_mode = delete; begin exclusive');
      return database;
    } catch (error) {
      database.close();
      throw isBusy(error)
        ? new DatabaseError(`${path}: another process has it open: stop it first`, { cause: error })
        : error;
    }
  });
}

/** As many as Linux follows, path_resolution(7). */
const LINKS_MAX = 40;

/** Files that belong to a database file by their name. */
const COMPANIONS = ['-wal', '-shm', '-journal'];

function holdUnlessDamaged(path: string): DatabaseSync | undefined {
  try {
    return existsSync(path) ? holdFile(path) : undefined;
  } catch (error) {
    if (error instanceof DatabaseError && isDamage(error.cause)) return undefined; // what a backup is for
    throw error;
  }
}

/** Proves that a copy can be served, and leaves it without companions. */
async function bringUpToDate(copy: string, backup: string): Promise<void> {
  try {
    await using _ = await openDatabase(`sqlite:${copy}`);
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    throw new DatabaseError(error.message.replace(`sqlite:${copy}`, backup), { cause: error });
  }
  using held = holdFile(copy);
  held.exec('rollback');
}

/**
 * One read transaction (https://sqlite.org/lang_vacuum.html#vacuuminto): unlike the page
 * by page copy of SQLite's backup API, it need not begin again whenever somebody writes.
 */
function vacuumInto(source: DatabaseSync, emptyFile: string): void {
  source.prepare('vacuum into ?').run(plain(emptyFile));
}

function requireFile(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats?.isFile()) throw new DatabaseError(`${path}: ${stats ? 'this is not a file' : 'there is no such file'}`);
}

function requireNone(path: string): void {
  if (existsSync(path)) throw new DatabaseError(`${path}: there is one already, which is left as it is: name another`);
}

/** Makes a new file that nobody else reads. */
function createEmpty(path: string): void {
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' });
}

function giveModeOf(path: string, file: string): void {
  chmodSync(file, statSync(path).mode & 0o777);
}

/** If the superuser restores, gives the file to the user who runs the server. */
function giveToOwnerOf(path: string, file: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(path);
  chownSync(file, uid, gid);
}

function requireSound(path: string, database: DatabaseSync): void {
  if (!isMarked(database)) throw new DatabaseError(`${path}: this is not a database of Kith`);
  const finding = String(database.prepare('pragma integrity_check(1)').get()?.['integrity_check']);
  if (finding !== 'ok') throw new DatabaseError(`${path}: the database is damaged: ${finding.replaceAll(/\s+/g, ' ')}`);
  if (database.prepare('pragma foreign_key_check').get() !== undefined) {
    throw new DatabaseError(`${path}: the database is damaged: rows refer to rows that are not there`);
  }
}

function isSameFile(a: string, b: string): boolean {
  const [one, other] = [statSync(a), statSync(b)];
  return one.dev === other.dev && one.ino === other.ino;
}

/** Flushes a file, or the names in a directory, to the disk, so that they survive a power cut. */
function flush(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Runs `run`, and puts the path in front of the message of an error. */
function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof DatabaseError && error.message.startsWith(path)) throw error;
    const message = error instanceof DatabaseError ? error.message : operatorMessage(error);
    throw new DatabaseError(`${path}: ${message}`, { cause: error });
  }
}
