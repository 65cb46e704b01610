import { fork } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';

/** Writes over all pages of a SQLite file but the first, which makes it one. */
export async function overwritePages(file: string): Promise<void> {
  const pageBytes = 4096;
  const handle = await open(file, 'r+');
  const { size } = await handle.stat();
  for (let at = pageBytes; at < size; at += pageBytes)
    await handle.write(Buffer.alloc(pageBytes, 0xa5), 0, pageBytes, at);
  await handle.close();
}

/** SQLite files that other programs made. */
export const foreignDatabases: readonly { readonly name: string; write(file: string): void }[] = [
  { name: 'one with other tables', write: (file) => run(file, 'create table notes (text text)') },
  { name: "another program's by its application id", write: (file) => run(file, 'pragma application_id = 252006673') },
  {
    name: 'one of another program in write-ahead mode',
    write: (file) => run(file, 'pragma journal_mode = wal; create table notes (text text)'),
  },
];

/** Leaves the traces of a migration that nobody knows yet. */
export function fromTheFuture(file: string): void {
  run(file, "insert into kysely_migration (name, timestamp) values ('9999-future', '2999-01-01T00:00:00.000Z')");
}

/** Holds the file locked from another process, until disposed. */
export async function lockDatabase(file: string): Promise<Disposable> {
  const holder = fork(fileURLToPath(import.meta.url), [file]);
  await once(holder, 'message');
  return { [Symbol.dispose]: () => void holder.kill('SIGKILL') };
}

function run(file: string, sql: string): void {
  using db = new DatabaseSync(file);
  db.exec(sql);
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const db = new DatabaseSync(process.argv[2]!);
  db.exec('pragma locking_mode = exclusive; begin exclusive');
  process.send('locked');
  setInterval(() => db, 1000);
}
