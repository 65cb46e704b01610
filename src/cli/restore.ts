import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { databaseFileOf, restoreFile } from '../storage/file.ts';

/** Puts a copy of a backup in the place of the database file, which is kept. Prints what it did. Throws DatabaseError. */
export async function restore(config: Config, file: string): Promise<void> {
  const path = databaseFileOf(config.databaseUrl);
  const previous = await restoreFile(path, file);
  console.log(`${path} holds what ${file} holds now.`);
  if (previous !== undefined) console.log(`What it held before is in ${previous}.`);
  if (config.secretKey === undefined && !existsSync(`${path}.key`)) {
    console.log(`Put the key file that belongs to the backup at ${path}.key before you start.`);
  }
}
