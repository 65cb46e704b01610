import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'vitest';
import { findCommand, run, skipLoudly } from './commands.ts';

/** A folder of packages/, or the server (`kith`), as `npm pack` packs its build. */
export interface Packed {
  readonly name: string;
  /** The path of the packed file. */
  readonly file: string;
  /** What it holds. */
  readonly files: readonly string[];
}

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
  if (findCommand('npm') === undefined) return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'kith-package-'));
  const [packed] = await pack(directory, [name]);
  await installInto(directory, [packed!], dependencies, beside);
  const installed = join(directory, 'node_modules/@kith', name);
  return {
    directory,
    installed,
    manifest: JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as Record<string, unknown>,
    files: packed!.files,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Builds all packages to `dist` of a folder, and the server where it is among the names, and packs these into the folder. */
export async function pack(directory: string, names: readonly string[]): Promise<Packed[]> {
  const built = join(directory, 'dist');
  await expectDone(process.execPath, ['scripts/build-packages.ts', built]);
  if (names.includes('kith')) await expectDone(process.execPath, ['scripts/build-server.ts', join(built, 'kith')]);
  const folders = names.map((name) => join(built, name));
  const output = await expectDone('npm', ['pack', '--json', '--pack-destination', directory, ...folders]);
  const packed = JSON.parse(output) as { filename: string; files: { path: string }[] }[];
  return packed.map(({ filename, files }, i) => ({
    name: names[i]!,
    file: join(directory, filename),
    files: files.map(({ path }) => path),
  }));
}

/** Makes a folder a project that has these packages, by the npm and the Node of the environment. */
export async function installInto(
  directory: string,
  packed: readonly Packed[],
  dependencies: readonly string[],
  beside: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<void> {
  // A package that is linked would be built anew.
  const flags = [
    '--offline',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--prefix',
    directory,
  ];
  const local = (names: readonly string[]) =>
    Object.fromEntries(names.map((each) => [each, `file:${resolve('node_modules', each)}`]));
  const own = { private: true, type: 'module', overrides: local(dependencies), dependencies: local(beside) };
  await writeFile(join(directory, 'package.json'), JSON.stringify(own));
  await expectDone('npm', ['install', ...flags, ...packed.map(({ file }) => file)], env);
}

/** The consumer; without npm the test is skipped, and says why. */
export function needPackage(context: TestContext, consumer: Consumer | undefined): Consumer {
  return consumer ?? skipLoudly(context, 'npm is not on this machine');
}

async function expectDone(command: string, args: readonly string[], env?: Record<string, string>): Promise<string> {
  const outcome = await run(command, args, env);
  if (outcome.code !== 0) throw new Error(`${command} ${args.join(' ')}\n${outcome.stdout}\n${outcome.stderr}`);
  return outcome.stdout;
}
