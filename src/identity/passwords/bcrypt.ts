import { Worker } from 'node:worker_threads';

/** What the worker is given. */
export interface BcryptTask {
  readonly password: string;
  readonly hash: string;
}

/**
 * Whether the bcrypt hash is of this password, or of one with the same first 72 bytes: it knows no more.
 *
 * bcryptjs is JavaScript and would hold up every other call, so each verification has a
 * thread of its own, which takes 40 ms to start: little beside the hash, and it
 * happens once for each user who was imported.
 */
export function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  const task: BcryptTask = { password, hash };
  const worker = new Worker(new URL('bcrypt-worker.ts', import.meta.url), { workerData: task });
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error('the thread of a bcrypt verification ended without an answer')));
  return promise;
}
