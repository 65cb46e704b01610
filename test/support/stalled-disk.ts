import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { expect } from 'vitest';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService, type CreateContactResponse } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { ADMIN_PASSWORD, grpc } from './kith.ts';
import { type ServingProcess, startProcess } from './process.ts';
import { signedIn } from './sign-in.ts';

/** A disk that can be made to stand still, for processes started with `env`. */
export interface StallingDisk extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** From here on nothing is flushed. */
  stall(): Promise<void>;
  resume(): Promise<void>;
  /** How many flushes are done. */
  flushes(): number;
  /** Whether somebody waits for the disk. */
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
  int result = ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
  int done = open(getenv("STALL_FLUSHED"), O_CREAT | O_WRONLY | O_APPEND, 0600);
  if (write(done, ".", 1) != 1) abort();
  close(done);
  return result;
}

int fsync(int fd) { return flush("fsync", fd); }
int fdatasync(int fd) { return flush("fdatasync", fd); }
`;

/** Undefined where there is no C compiler, or no Linux. */
export async function createStallingDisk(): Promise<StallingDisk | undefined> {
  if (process.platform !== 'linux') return undefined;
  await using unfinished = new AsyncDisposableStack();
  const directory = unfinished.use(await mkdtempDisposable(join(tmpdir(), 'kith-stall-')));
  const [source, shim, stalled, waiting, flushed] = ['shim.c', 'shim.so', 'stalled', 'waiting', 'flushed'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string, string, string];
  await writeFile(source, SHIM);
  try {
    await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', shim, source, '-ldl']);
  } catch {
    return undefined;
  }
  const owned = unfinished.move();
  return {
    env: { LD_PRELOAD: shim, STALL_WHILE: stalled, STALL_WAITING: waiting, STALL_FLUSHED: flushed },
    async stall() {
      await rm(waiting, { force: true });
      await writeFile(stalled, '');
    },
    resume: () => rm(stalled, { force: true }),
    flushes: () => statSync(flushed, { throwIfNoEntry: false })?.size ?? 0,
    isWaitedFor: () => existsSync(waiting),
    async [Symbol.asyncDispose]() {
      await rm(stalled, { force: true });
      await owned.disposeAsync();
    },
  };
}

/** A server on a SQLite file under a disk that stands still, for as long as the test likes, and its administrator's token. */
export interface StallingServer extends AsyncDisposable {
  readonly kith: ServingProcess;
  readonly accessToken: string;
  readonly disk: StallingDisk;
  /** Lets a write wait for the disk, and says whether it was answered. */
  startWriting(): Promise<{ readonly written: Promise<CreateContactResponse>; isAnswered(): boolean }>;
}

export async function startStallingServer(disk: StallingDisk): Promise<StallingServer> {
  const kith = await startProcess({ env: { ...disk.env, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
  const { accessToken } = await signedIn(
    createClient(AuthService, grpc(kith.address)).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
  );
  return {
    kith,
    accessToken,
    disk,
    async startWriting() {
      const contacts = createClient(ContactService, grpc(kith.address, accessToken));
      await disk.stall();
      let isAnswered = false;
      const written = contacts.createContact({ givenName: 'Ada' }).finally(() => (isAnswered = true));
      await expect.poll(() => disk.isWaitedFor()).toBe(true);
      return { written, isAnswered: () => isAnswered };
    },
    async [Symbol.asyncDispose]() {
      await disk.resume();
      await kith[Symbol.asyncDispose]();
      await disk[Symbol.asyncDispose]();
    },
  };
}
