import { resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { backUpFile, databaseFileOf } from '../storage/file.ts';

/** Copies the database file to a new one, while it is served. Prints what it did. Throws DatabaseError. */
export async function backup(config: Config, file: string): Promise<void> {
  const path = databaseFileOf(config.databaseUrl);
  backUpFile(path, file);
  console.log(`${resolve(file)} is a checked copy of ${path}.`);
  console.log(
    config.secretKey === undefined
      ? `It is of no use without the key file: keep a copy of ${path}.key too, in another place.`
      : 'It is of no use without KITH_SECRET_KEY: keep that too, in another place.',
  );
}
