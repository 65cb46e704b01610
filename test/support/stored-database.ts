import { readFileSync } from 'node:fs';
import type { JsonValue } from '@bufbuild/protobuf';
import { Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { Dialect } from '../../src/storage/dialect.ts';
import { migrations } from '../../src/storage/migrate.ts';
import { openPostgres } from '../../src/storage/postgres.ts';
import type { Schema } from '../../src/storage/schema.ts';
import { openSqlite } from '../../src/storage/sqlite.ts';

const LIMITS = {
  connectionsMax: 1,
  connectTimeoutMs: 2000,
  statementTimeoutMs: 10_000,
  idleTransactionTimeoutMs: 10_000,
};

/**
 * What a server of an earlier version stored and gave out, with rows in every table that it had:
 * test/data/stored.json, written by that version itself under the secret that tests start servers with.
 *
 * A migration of a table needs rows of it from before: add an entry to `stored` with the name of the migration before
 * it in `after` and some rows of every table that has none yet, as the version with that migration writes them. A
 * migration that only makes a table needs none. Entries that are there are never changed. A test fails if rows are missing.
 */
interface Stored {
  readonly given: {
    /** The time of the server, milliseconds since 1970. */
    readonly madeMs: number;
    /** Requests with a request id, who sent them, and their responses. */
    readonly creates: readonly {
      readonly method: string;
      readonly by: 'admin' | 'ada';
      readonly request: JsonValue;
      readonly response: JsonValue;
    }[];
    readonly adminRefreshToken: string;
    readonly adaRefreshToken: string;
    /** Of a session that was revoked. */
    readonly revokedRefreshToken: string;
    readonly adaId: string;
    readonly contactPageToken: string;
    readonly userPageToken: string;
    readonly activityPageToken: string;
    readonly activitiesOfNextPage: readonly string[];
    /** With page.left and page.closed after it, as after `progressCursor`. */
    readonly watchCursor: string;
    readonly progressCursor: string;
    /** Of page.left. */
    readonly eventCursor: string;
    readonly apiKey: string;
    /** Of a sign-in that waits for a second factor. */
    readonly challengeToken: string;
    readonly recoveryCode: string;
  };
  readonly stored: readonly {
    readonly after: string;
    readonly rows: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;
  }[];
}

const { given, stored } = JSON.parse(readFileSync(new URL('../data/stored.json', import.meta.url), 'utf8')) as Stored;

export { given };

/** The tables with rows in test/data/stored.json. */
export const storedTables: ReadonlySet<string> = new Set(stored.flatMap(({ rows }) => Object.keys(rows)));

/** The newest version that the rows are of, by its last migration. */
export const storedAfter = stored.at(-1)!.after;

/** Makes the database at `url` one that earlier versions stored: entry by entry, each at its version. */
export async function fillStored(url: string): Promise<void> {
  for (const { after, rows } of stored) {
    await migrateUpTo(url, after, async (db) => {
      for (const [table, values] of Object.entries(rows)) {
        const name = table as keyof Schema;
        if (name === 'activity_purged') await db.deleteFrom(name).execute(); // a migration inserts its row
        await db.insertInto(name).values(values).execute();
        const isNumbered = Object.hasOwn(values[0]!, 'seq') && name !== 'activity_purged';
        if (isNumbered && !url.startsWith('sqlite:')) {
          await sql`select setval(pg_get_serial_sequence(${name}, 'seq'), max(seq)) from ${sql.table(name)}`.execute(
            db,
          );
        }
      }
    });
  }
}

/** Brings the tables up to the migration `last`, as a version that knew no later one, and lets `fill` write rows. */
export async function migrateUpTo(
  url: string,
  last: string,
  fill: (db: Kysely<Schema>) => Promise<void>,
): Promise<void> {
  const dialect: Dialect = url.startsWith('sqlite:')
    ? openSqlite(url.slice('sqlite:'.length))
    : openPostgres(url, LIMITS);
  const db = new Kysely<Schema>({ dialect: dialect.queries });
  try {
    const all = Object.entries(migrations(dialect));
    const known = Object.fromEntries(all.slice(0, all.findIndex(([name]) => name === last) + 1));
    const { error } = await new Migrator({ db, provider: { getMigrations: async () => known } }).migrateToLatest();
    if (error !== undefined) throw error;
    await fill(db);
  } finally {
    await db.destroy();
  }
}
