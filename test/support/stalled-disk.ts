import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A disk that can be made to stand still, for processes started with `env`. */
export interface StallingDisk extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** From here on nothing is flushed. */
  stall(): Promise<void>;
  resume(): Promise<void>;
  /** How many wait for the disk at this moment. */
  isWaitedFor(): boolean;
}

/**
 * Stands before the C library's flushes, and waits as long as a file is there.
 * https://man7.org/linux/man-pages/man8/ld.so.8.html, LD_PRELOAD
 */
const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int flush(const char *name, int fd) {
  const char *stall = getenv("STALL_WHILE");
  const char *waiting = getenv("STALL_WAITING");
  while (access(stall, F_OK) == 0) {
    close(open(waiting, O_CREAT | O_WRONLY, 0600));
    usleep(5000);
  }
  return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd) { return flush("fsync", fd); }
int fdatasync(int fd) { return flush("fdatasync", fd); }
`;

/** Undefined where there is no C compiler, or no Linux. */
export async function createStallingDisk(): Promise<StallingDisk | undefined> {
  if (process.platform !== 'linux') return undefined;
  await using unfinished = new AsyncDisposableStack();
  const directory = unfinished.use(await mkdtempDisposable(join(tmpdir(), 'kith-stall-')));
  const [source, shim, stalled, waiting] = ['shim.c', 'shim.so', 'stalled', 'waiting'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string, string];
  await writeFile(source, SHIM);
  try {
    await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', shim, source, '-ldl']);
  } catch {
    return undefined;
  }
  const owned = unfinished.move();
  return {
    env: { LD_PRELOAD: shim, STALL_WHILE: stalled, STALL_WAITING: waiting },
    async stall() {
      await rm(waiting, { force: true });
      await writeFile(stalled, '');
    },
    resume: () => rm(stalled, { force: true }),
    isWaitedFor: () => existsSync(waiting),
    async [Symbol.asyncDispose]() {
      await rm(stalled, { force: true });
      await owned.disposeAsync();
    },
  };
}
