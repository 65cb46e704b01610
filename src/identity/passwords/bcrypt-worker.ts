/** The thread of one verification: see bcrypt.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';
import type { BcryptTask } from './bcrypt.ts';

const { password, hash }: BcryptTask = workerData;
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage(compareSync(password, hash));
