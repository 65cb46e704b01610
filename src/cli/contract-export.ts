import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Config, ConfigError } from '../config/config.ts';
import { readContractFiles } from '../rpc/contract-files.ts';

/** What was exported, as `sha256sum --check` reads it. */
const SUMS = 'contract.sha256';

/** Writes the contract into a folder. Prints what it did. Throws ConfigError. */
export async function contractExport(_config: Config, directory: string): Promise<void> {
  try {
    const count = await exportTo(directory);
    console.log(`${resolve(directory)} holds the contract: ${count} files, listed in ${SUMS}.`);
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new ConfigError(`cannot export to ${directory}: ${error.message}`, { cause: error });
  }
}

/**
 * Writes the contract, over what an earlier export has left, and removes what is not part of it any more. Returns how
 * many files it is. Throws ConfigError, before it writes anything, where a file is that no export wrote or that was
 * changed since.
 */
async function exportTo(directory: string): Promise<number> {
  const files = (await readContractFiles()).map((file) => ({ ...file, sum: sumOf(file.text) }));
  const exported = await readSums(directory);
  const current = new Map(files.map(({ path, sum }) => [path, sum]));
  // Nothing is written before it is known that everything may be.
  const obsolete: string[] = [];
  for (const path of new Set([...current.keys(), ...exported.keys()])) {
    const there = await readIfThere(join(directory, path));
    const sum = there && sumOf(there);
    if (sum === undefined || sum === current.get(path)) continue;
    if (sum !== exported.get(path)) {
      throw foreign(join(directory, path));
    }
    if (!current.has(path)) obsolete.push(path);
  }
  for (const { path, text } of files) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }
  for (const path of obsolete) await rm(join(directory, path));
  await writeFile(join(directory, SUMS), files.map(({ path, sum }) => `${sum}  ${path}\n`).join(''));
  return files.length;
}

function foreign(path: string): ConfigError {
  return new ConfigError(`${path} is not as an export has left it: move it, or name another folder`);
}

function sumOf(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What an earlier export wrote: sums by path. Nothing where there was none. */
async function readSums(directory: string): Promise<Map<string, string>> {
  const file = join(directory, SUMS);
  const text = await readIfThere(file);
  const lines = text === undefined ? [] : text.toString().trimEnd().split('\n');
  return new Map(
    lines.map((line) => {
      // Paths of the contract alone, so that no list leads out of the folder.
      const [, sum, path] = /^([0-9a-f]{64}) {2}((?:[a-z0-9_]+\/)+[a-z0-9_]+\.proto)$/.exec(line) ?? [];
      if (sum === undefined || path === undefined) throw new ConfigError(`${file} is not the list of an export`);
      return [path, sum];
    }),
  );
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    // A link would have something written where it leads.
    if (!(await lstat(path)).isFile()) throw foreign(path);
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
