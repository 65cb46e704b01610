import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import type { TestContext } from 'vitest';

/** What a command of this machine answered. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The path of a command in node_modules, PATH or /usr/sbin, or undefined when this machine has none. */
export function findCommand(...names: readonly string[]): string | undefined {
  // Debian has nginx in /usr/sbin, which the PATH of users does not name.
  const dirs = [resolve('node_modules/.bin'), ...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return names.flatMap((name) => dirs.map((dir) => join(dir, name))).find(isExecutable);
}

/** The path of a command; without it the test is skipped, and says why. */
export function needCommand(context: TestContext, ...names: readonly string[]): string {
  return findCommand(...names) ?? skipLoudly(context, `${names.join(' or ')} is not on this machine`);
}

/** Skips a test so that it is seen to be skipped. */
export function skipLoudly(context: TestContext, why: string): never {
  console.warn(`SKIPPED, since ${why}: ${context.task.name}`);
  return context.skip(why);
}

/** The environment of this process without settings of Kith, which the tests give themselves. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('KITH_')));
}

/** Runs a command to its end. A failure is an answer too. */
export function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = '.',
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  execFile(command, args, { env: { ...ownEnvironment(), ...env }, cwd }, (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
  });
  return promise;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
