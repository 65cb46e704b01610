import type { Config } from '../config/config.ts';
import { copyToServer } from '../storage/copy.ts';
import { databaseFileOf } from '../storage/file.ts';
import { withoutPassword } from '../kernel/text.ts';
import type { Command } from './commands.ts';

export const copyTo: Command = {
  argument: 'URL',
  help: 'Copy all data from the database file into an empty database on a server, to serve it from there. Not while the file is served.',
  async run(config: Config, url: string) {
    const path = databaseFileOf(config.databaseUrl);
    let rowsAll = 0;
    await copyToServer(path, url, config.databaseLimits, ({ name, rows }) => {
      console.log(`${name}: ${rows} rows`);
      rowsAll += rows;
    });
    console.log(`${path} is copied, ${rowsAll} rows in all, and compared row by row. From now on start with`);
    console.log(`  KITH_DATABASE_URL=${withoutPassword(url)}`);
    console.log(
      config.secretKey === undefined
        ? `  KITH_SECRET_KEY=$(cat ${path}.key)\nwith the content of that key file, that is: sessions, page tokens and cursors stay good.`
        : '  KITH_SECRET_KEY as it is\nand sessions, page tokens and cursors stay good.',
    );
    console.log('Do not serve the file any more: what would be written there is not copied.');
  },
};
