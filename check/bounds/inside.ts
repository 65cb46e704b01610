/**
 * Runs inside the server that is attacked (`--import`). On SIGUSR2 it collects
 * garbage and writes what is in use to memory.json in the working directory.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  process.on('SIGUSR2', () => {
    const { gc } = globalThis as { gc?: () => void };
    gc?.();
    gc?.();
    writeFileSync('memory.tmp', JSON.stringify(process.memoryUsage()));
    renameSync('memory.tmp', 'memory.json'); // whoever reads it finds the whole
  });
}
