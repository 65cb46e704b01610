import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'vitest';
import { findCommand, run, skipLoudly } from './commands.ts';

/** An empty project with one of our packages in it, as npm installs it from the file that is packed. */
export interface Consumer extends AsyncDisposable {
  readonly directory: string;
  /** Where the package is. */
  readonly installed: string;
  readonly manifest: Readonly<Record<string, unknown>>;
  /** What the packed file holds. */
  readonly files: readonly string[];
}

/**
 * Builds, packs and installs a folder of packages/ with these dependencies from node_modules rather than from a registry, so
 * that the test needs no network. `beside` are installed too, beyond what the package asks for. Undefined without npm.
 */
export async function installPacked(
  name: string,
  dependencies: readonly string[],
  beside: readonly string[] = [],
): Promise<Consumer | undefined> {
  const npm = findCommand('npm');
  if (npm === undefined) return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'kith-package-'));
  const built = join(directory, 'dist');
  const local = (names: readonly string[]) =>
    Object.fromEntries(names.map((each) => [each, `file:${resolve('node_modules', each)}`]));
  await expectDone(process.execPath, ['scripts/build-packages.ts', built]);
  const flags = ['--offline', '--no-audit', '--no-fund', '--no-update-notifier', '--prefix', directory];
  const packed = await expectDone(npm, ['pack', '--json', '--pack-destination', directory, join(built, name)]);
  const [{ filename, files }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }];
  const own = { private: true, type: 'module', overrides: local(dependencies), dependencies: local(beside) };
  await writeFile(join(directory, 'package.json'), JSON.stringify(own));
  await expectDone(npm, ['install', ...flags, join(directory, filename)]);
  const installed = join(directory, 'node_modules/@kith', name);
  return {
    directory,
    installed,
    manifest: JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as Record<string, unknown>,
    files: files.map(({ path }) => path),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** The consumer; without npm the test is skipped, and says why. */
export function needPackage(context: TestContext, consumer: Consumer | undefined): Consumer {
  return consumer ?? skipLoudly(context, 'npm is not on this machine');
}

async function expectDone(command: string, args: readonly string[]): Promise<string> {
  const outcome = await run(command, args);
  if (outcome.code !== 0) throw new Error(`${command} ${args.join(' ')}\n${outcome.stdout}\n${outcome.stderr}`);
  return outcome.stdout;
}
