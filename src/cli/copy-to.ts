import type { Config } from '../config/config.ts';
import { copyToServer } from '../storage/copy.ts';
import { databaseFileOf } from '../storage/file.ts';
import { withoutPassword } from '../kernel/text.ts';

/** Copies all data from the database file into an empty database on a server. Prints what it did. Throws DatabaseError. */
export async function copyTo(config: Config, url: string): Promise<void> {
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
}
