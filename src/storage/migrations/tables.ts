import type { CreateTableBuilder, Kysely } from 'kysely';
import type { Dialect } from '../dialect.ts';

/** Adds a column of a table that is being created. */
type Column = (table: CreateTableBuilder<string, string>, name: string) => CreateTableBuilder<string, string>;

/**
 * The kinds of columns that tables have, of both databases alike. Each refuses null unless it is optional.
 * A migration that has been released creates what it created then, so a kind is never changed: add another.
 */
export function columnKinds({ orderedText, sequence, writer }: Dialect) {
  const column =
    (type: Parameters<CreateTableBuilder<string, string>['addColumn']>[1], isOptional = false): Column =>
    (table, name) =>
      table.addColumn(name, type, (c) => (isOptional ? c : c.notNull()));
  return {
    /** The primary key: an id or other text, compared byte by byte. */
    id: (table, name) => table.addColumn(name, orderedText, (c) => c.primaryKey().notNull()),
    /** Text that is compared and sorted byte by byte. */
    key: column(orderedText),
    optionalKey: column(orderedText, true),
    /** The user whom a row belongs to, with whom it is removed. */
    user: (table, name) =>
      table.addColumn(name, orderedText, (c) => c.notNull().references('users.id').onDelete('cascade')),
    /** The user whom a row belongs to, with whom it is removed; null for somebody who is no user yet. */
    optionalUser: (table, name) =>
      table.addColumn(name, orderedText, (c) => c.references('users.id').onDelete('cascade')),
    /** The user whom a row belongs to as the primary key: at most one row for each user. */
    onlyOfUser: (table, name) =>
      table.addColumn(name, orderedText, (c) => c.primaryKey().notNull().references('users.id').onDelete('cascade')),
    /** A contact that a row is about, with which it is removed. */
    contact: (table, name) =>
      table.addColumn(name, orderedText, (c) => c.notNull().references('contacts.id').onDelete('cascade')),
    text: column('text'),
    optionalText: column('text', true),
    /** A count or a time in milliseconds since 1970. */
    number: column('bigint'),
    optionalNumber: column('bigint', true),
    /** The primary key of a log: counts up and never gives a number twice. */
    sequence: (table, name) => table.addColumn(name, sequence.type, sequence.build),
    /** The number of the writing transaction. */
    writer: (table, name) => table.addColumn(name, 'bigint', (c) => c.notNull().defaultTo(writer)),
  } satisfies Record<string, Column>;
}

export interface TableIndexes {
  /** A primary key of several columns: the constraint `TABLE_pk`. */
  readonly primaryKey?: readonly string[];
  /** Names of indexes, and their columns. */
  readonly indexes?: Readonly<Record<string, readonly string[]>>;
}

/** Creates a table with these columns, in their order, and its indexes. */
export async function createTable(
  db: Kysely<never>,
  table: string,
  columns: Readonly<Record<string, Column>>,
  { primaryKey, indexes = {} }: TableIndexes = {},
): Promise<void> {
  let builder = db.schema.createTable(table) as CreateTableBuilder<string, string>;
  for (const [name, add] of Object.entries(columns)) builder = add(builder, name);
  if (primaryKey !== undefined) builder = builder.addPrimaryKeyConstraint(`${table}_pk`, [...primaryKey]);
  await builder.execute();
  for (const [name, on] of Object.entries(indexes)) {
    await db.schema
      .createIndex(name)
      .on(table)
      .columns([...on])
      .execute();
  }
}

/** Adds a column that refuses null, and is `present` in the rows that are there and wherever none is given. */
export async function addColumn(
  db: Kysely<never>,
  table: string,
  column: string,
  type: 'text' | 'bigint' | 'integer',
  present: string | number,
): Promise<void> {
  await db.schema
    .alterTable(table)
    .addColumn(column, type, (c) => c.notNull().defaultTo(present))
    .execute();
}
