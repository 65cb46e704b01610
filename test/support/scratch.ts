import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Files here are in memory, on Linux. */
const MEMORY = '/dev/shm';

/** Several times what the tests store at once, bytes. */
const ROOM_BYTES = 6 * 2 ** 30;

const PREFIX = 'kith-tests-';

/**
 * Gives the tests temporary files in memory, where there is room for them: on a disk, each commit of each test waits for
 * it. A TMPDIR that is set, to try the tests on a disk for example, stays.
 */
export default async function setup(): Promise<undefined | (() => Promise<void>)> {
  if (process.env['TMPDIR'] !== undefined || (await roomBytes()) < ROOM_BYTES) return undefined;
  await removeLeftOvers();
  const dir = join(MEMORY, PREFIX + process.pid);
  await mkdir(dir, { mode: 0o755 }); // PostgreSQL runs as another user
  const remove = () => rm(dir, { recursive: true, force: true });
  if (!(await canExecuteIn(dir))) {
    await remove();
    return undefined;
  }
  process.env['TMPDIR'] = dir;
  return remove;
}

async function roomBytes(): Promise<number> {
  const free = await statfs(MEMORY).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return Math.min(free, freemem());
}

/** Of runs that were killed. */
async function removeLeftOvers(): Promise<void> {
  for (const name of await readdir(MEMORY)) {
    const pid = Number(name.slice(PREFIX.length));
    if (name.startsWith(PREFIX) && !isRunning(pid)) await rm(join(MEMORY, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Containers may forbid it, and some tests put programs there. */
async function canExecuteIn(dir: string): Promise<boolean> {
  const program = join(dir, 'program');
  await writeFile(program, '#!/bin/sh\n', { mode: 0o755 });
  return promisify(execFile)(program).then(
    () => true,
    () => false,
  );
}
