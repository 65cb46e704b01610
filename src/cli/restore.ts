import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { databaseFileOf, restoreFile } from '../storage/file.ts';
import type { Command } from './commands.ts';

export const restore: Command = {
  argument: 'FILE',
  help: 'Put a copy of the backup FILE in the place of the database file, which is kept. Not while it is served.',
  async run(config: Config, file: string) {
    const path = databaseFileOf(config.databaseUrl);
    const previous = await restoreFile(path, file);
    console.log(`${path} holds what ${file} holds now.`);
    if (previous !== undefined) console.log(`What it held before is in ${previous}.`);
    if (config.secretKey === undefined && !existsSync(`${path}.key`)) {
      console.log(`Put the key file that belongs to the backup at ${path}.key before you start.`);
    }
  },
};
