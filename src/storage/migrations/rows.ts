import { type Kysely, sql } from 'kysely';

/** How many rows are read at a time: bounds the memory that a migration takes. */
const BATCH_ROWS = 500;

/**
 * Calls `change` for each row of a table, one after the other, in the order of its key, which is text. The rows are
 * read in small steps. `change` may update or delete the row, but not change its key.
 */
export async function changeEachRow<Row extends Readonly<Record<string, unknown>>>(
  db: Kysely<never>,
  table: string,
  {
    key,
    columns,
  }: { readonly key: readonly (keyof Row & string)[]; readonly columns: readonly (keyof Row & string)[] },
  change: (row: Row) => Promise<unknown>,
): Promise<void> {
  const refs = (names: readonly string[]) => sql.join(names.map((name) => sql.ref(name)));
  const read = async (after: Row | undefined): Promise<readonly Row[]> => {
    const place = sql.join(key.map((name) => sql`${after?.[name] ?? ''}`));
    const { rows } = await sql<Row>`
      select ${refs(columns)} from ${sql.table(table)}
      where (${refs(key)}) > (${place}) order by ${refs(key)} limit ${sql.lit(BATCH_ROWS)}`.execute(db);
    return rows;
  };
  for (let rows = await read(undefined); rows.length > 0; rows = await read(rows.at(-1))) {
    for (const row of rows) await change(row);
  }
}
