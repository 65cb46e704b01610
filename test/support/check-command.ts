import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import type { Outcome } from './commands.ts';

/** Runs a command of this repository to its end, such as `check/watch.ts`, in a directory. A failure is an answer too. */
export function runCommand(file: string, args: readonly string[], cwd = '.'): Promise<Outcome> {
  const { promise, resolve: end } = Promise.withResolvers<Outcome>();
  execFile(process.execPath, [resolve(file), ...args], { cwd }, (error, stdout, stderr) => {
    end({ code: error === null ? 0 : Number(error.code), stdout, stderr });
  });
  return promise;
}
