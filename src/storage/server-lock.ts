import { closeSync, existsSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../kernel/clock.ts';
import { openingError } from './database.ts';
import { behindLinks } from './file.ts';
import { isBusy, plain } from './sqlite.ts';
import { SQLITE } from './url.ts';

/** How long a server that takes the place of another one waits for it to end, milliseconds. */
const WAIT_MS = 5000;
const RETRY_MS = 50;

/**
 * Claims the database that `url` names for one server, until disposed of or the process ends, where one is all it can
 * have: what a server knows without reading, such as who was signed out, it would not hear from another one. Beside a
 * SQLite file, at the end of links, lies `FILE.lock`, which SQLite locks as it does any file. Backups do not ask for it.
 *
 * Throws DatabaseError when another server goes on serving the file for `waitMs`, milliseconds.
 */
export async function lockForServer(url: string, waitMs = WAIT_MS): Promise<Disposable> {
  if (!url.startsWith(SQLITE)) return NOTHING_TO_LOCK;
  const path = url.slice(SQLITE.length);
  const endMs = systemClock.monotonic() + waitMs;
  for (;;) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    if (systemClock.monotonic() >= endMs) {
      throw openingError(
        url,
        new Error('another server serves this file: stop it, or give several servers PostgreSQL'),
      );
    }
    await sleep(RETRY_MS);
  }
}

const NOTHING_TO_LOCK: Disposable = { [Symbol.dispose]() {} };

/** Undefined while another process, or another part of this one, has the lock. */
function tryLock(path: string): Disposable | undefined {
  let lock: DatabaseSync | undefined;
  try {
    const target = behindLinks(plain(path));
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    if (statSync(target, { throwIfNoEntry: false })?.isFile() === false) return NOTHING_TO_LOCK;
    const file = `${target}.lock`;
    // Only one that nobody can hold: to close a file drops the locks that this process has on it (fcntl(2)).
    if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
    const ino = statSync(file, { throwIfNoEntry: false })?.ino;
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('pragma journal_mode = memory; begin exclusive'); // nothing is written, so nothing lies beside it
    const held = lock;
    // Whoever had it may have removed it in between: then it is not what others find there.
    if (ino === undefined || statSync(file, { throwIfNoEntry: false })?.ino !== ino) {
      held.close();
      return undefined;
    }
    return {
      [Symbol.dispose]() {
        rmSync(file, { force: true });
        held.close();
      },
    };
  } catch (error) {
    lock?.close();
    // What keeps a file from being locked keeps the database from being opened, which says why.
    return isBusy(error) ? undefined : NOTHING_TO_LOCK;
  }
}
