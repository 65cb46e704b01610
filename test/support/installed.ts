import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { type Outcome, run, skipLoudly } from './commands.ts';

/** Where tests keep what they download, between runs: beside the caches of Go, pip and Maven. */
export const CACHE =
  process.env['KITH_TOOLCHAINS'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kith-toolchains');

/** A folder of what `fetch` downloads, once for each `versions`. Where it fails, without a network for example, the test is skipped. */
export async function install(
  context: TestContext,
  name: string,
  versions: string | Buffer,
  fetch: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = join(CACHE, `${name}-${createHash('sha256').update(versions).digest('hex').slice(0, 12)}`);
  const marker = join(dir, 'installed');
  if (existsSync(marker)) return dir;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  try {
    await fetch(dir);
  } catch (error) {
    skipLoudly(context, `${name} cannot be installed: ${String(error).slice(0, 500)}`);
  }
  writeFileSync(marker, '');
  return dir;
}

/** A folder with these packages of npm, such as `publint@0.3.25`, in its node_modules. None of their scripts is run. */
export function installFromNpm(context: TestContext, name: string, packages: readonly string[]): Promise<string> {
  return install(context, name, packages.join(), async (dir) => {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'package.json'), '{"private": true}');
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--save-exact'];
    await done(run('npm', ['install', '--prefix', dir, ...flags, ...packages]));
  });
}

/** The outcome of a command that succeeds. Throws what it says when it fails. */
export async function done(outcome: Promise<Outcome>): Promise<Outcome> {
  const ended = await outcome;
  if (ended.code !== 0) throw new Error(`${ended.stdout}${ended.stderr}`);
  return ended;
}
