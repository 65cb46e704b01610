/**
 * Runs inside the server that is attacked (`--import`). When there is a file
 * `settle` in the working directory, it collects garbage and writes what is in use
 * to `memory.json`. By a file, since every signal has a meaning to the server.
 */
import { existsSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const INTERVAL_MS = 50;

if (isMainThread) {
  setInterval(() => {
    if (!existsSync('settle')) return;
    unlinkSync('settle');
    const { gc } = globalThis as { gc?: () => void };
    gc?.();
    gc?.();
    writeFileSync('memory.tmp', JSON.stringify(process.memoryUsage()));
    renameSync('memory.tmp', 'memory.json'); // whoever reads it finds the whole
  }, INTERVAL_MS).unref();
}
