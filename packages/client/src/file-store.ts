import { link, mkdir, open, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pause } from './backoff.ts';
import { parseSession, type SessionStore } from './session-store.ts';

/** How often a lock is renewed, and after what time without that its process is taken for dead, milliseconds. */
const LOCK = { renewMs: 2_000, staleMs: 15_000, pollMs: 50 };

/**
 * A store in a file, shared by the processes of a machine. The file can be read by its owner alone (mode 0600) and is
 * replaced as a whole. One process at a time refreshes, held by `PATH.lock`; that of a process that died is removed after
 * 15 seconds. Not for network file systems, and on Windows the mode counts for nothing.
 */
export function fileStore(path: string): SessionStore {
  const lock = `${path}.lock`;
  return {
    async load() {
      return parseSession(await readFile(path, 'utf8').catch(absent));
    },
    async save(session) {
      if (session === undefined) return rm(path, { force: true });
      const temporary = `${path}.${crypto.randomUUID()}`;
      try {
        await writeWhole(temporary, JSON.stringify(session));
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
    async exclusive(action) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const owner = crypto.randomUUID();
      await take(lock, owner);
      const renewal = setInterval(() => void utimes(lock, new Date(), new Date()).catch(() => {}), LOCK.renewMs);
      try {
        return await action();
      } finally {
        clearInterval(renewal);
        if ((await readFile(lock, 'utf8').catch(absent)) === owner) await rm(lock, { force: true });
      }
    },
  };
}

/** Waits for the lock. It is linked rather than opened, so that it is never seen without its owner. */
async function take(lock: string, owner: string): Promise<void> {
  const own = `${lock}.${owner}`;
  await writeFile(own, owner, { flag: 'wx', mode: 0o600 });
  try {
    while (!(await isLinked(own, lock))) {
      await removeStale(lock, own);
      await pause(LOCK.pollMs * (0.5 + Math.random()));
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function isLinked(own: string, lock: string): Promise<boolean> {
  try {
    // The link has the time of the file, which may have waited for long.
    await utimes(own, new Date(), new Date());
    await link(own, lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

/** Removes the lock of a process that died, and no other that was taken meanwhile. */
async function removeStale(lock: string, own: string): Promise<void> {
  const owner = await readFile(lock, 'utf8').catch(absent);
  const modified = await stat(lock).then(({ mtimeMs }) => mtimeMs, absent);
  // A time in the future is one of before the clock was set back.
  if (owner === null || modified === null || Math.abs(Date.now() - modified) < LOCK.staleMs) return;
  const removed = `${own}.stale`;
  try {
    await rename(lock, removed);
    if ((await readFile(removed, 'utf8')) !== owner) await link(removed, lock).catch(() => {});
  } catch (error) {
    absent(error);
  } finally {
    await rm(removed, { force: true });
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Null for a file that is not there. */
function absent(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}
