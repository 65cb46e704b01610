/**
 * Write src/storage/migrations/list.ts, which names the migrations and the tables that they make, from the files of that
 * folder. With --check, only say whether it is current.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';

const FOLDER = 'src/storage/migrations';
const OUT = `${FOLDER}/list.ts`;

const files = (await readdir(FOLDER)).filter((file) => /^\d{4}-.*\.ts$/.test(file)).toSorted();
const migrations = files.map((file) => ({ file, name: file.slice(0, -'.ts'.length), local: `m${file.slice(0, 4)}` }));
const sources = await Promise.all(files.map((file) => readFile(`${FOLDER}/${file}`, 'utf8')));
const tables = sources.flatMap((source, i) =>
  [...source.matchAll(/\bcreateTable\(\s*(?:db,\s*)?'(?<table>\w+)'/g)].map(({ groups }) => ({
    table: groups!['table']!,
    by: migrations[i]!.name,
  })),
);
const list = `// Written by scripts/migration-list.ts (npm run generate) from the files of this folder.
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
${migrations.map(({ file, local }) => `import { migration as ${local} } from './${file}';\n`).join('')}
/** Every migration, in order, by its name in the database. */
export const MIGRATIONS: Readonly<Record<string, (dialect: Dialect) => Migration>> = {
${migrations.map(({ name, local }) => `  '${name}': ${local},\n`).join('')}};

/** Every table, with the migration that makes it. */
export const TABLES = {
${tables.map(({ table, by }) => `  ${table}: '${by}',\n`).join('')}} as const;
`;

if (process.argv.includes('--check')) {
  const isCurrent = (await readFile(OUT, 'utf8').catch(() => '')) === list;
  if (!isCurrent) console.error(`${OUT} is not what the folder holds`);
  process.exitCode = isCurrent ? 0 : 1;
} else {
  await writeFile(OUT, list);
}
