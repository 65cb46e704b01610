import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Has Node compile the server once and keep that: a server that is killed keeps nothing of what it compiled. */
export default async function setup(): Promise<void> {
  await promisify(execFile)(process.execPath, [fileURLToPath(new URL('../../src/main.ts', import.meta.url)), '--help']);
}
