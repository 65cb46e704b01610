import { Kysely } from 'kysely';
import { Failure } from '../failure.ts';
import { DatabaseError, type Dialect } from './dialect.ts';
import { migrate } from './migrate.ts';
import type { Schema } from './schema.ts';
import { openSqlite } from './sqlite.ts';

/** Queries, inside a transaction or not. */
export type Db = Kysely<Schema>;

export interface Database extends AsyncDisposable {
  readonly db: Db;
  readonly dialect: Dialect;
  /**
   * Runs `work` in a transaction, rolled back when it throws. It may be the only
   * one to run: await nothing in it but the database.
   */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>;
}

/**
 * Opens the database that `url` names, with its tables brought up to date.
 *
 * `sqlite:PATH` is a file, made when missing; a relative path counts from the
 * working directory. Throws DatabaseError, whose message names the URL.
 */
export async function openDatabase(url: string): Promise<Database> {
  try {
    const dialect = openSqlite(sqlitePath(url));
    const db = new Kysely<Schema>({ dialect: dialect.queries });
    await using opening = new AsyncDisposableStack();
    opening.defer(() => db.destroy());
    await migrate(db, dialect);
    opening.move();
    return {
      db,
      dialect,
      transaction: (work) => db.transaction().execute(work),
      [Symbol.asyncDispose]: () => db.destroy(),
    };
  } catch (error) {
    const cause = error instanceof Failure ? error.cause : error;
    throw new DatabaseError(`${url}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** The path of a file that belongs to the database and lies beside it. */
export function fileBeside(url: string, suffix: string): string {
  return sqlitePath(url) + suffix;
}

function sqlitePath(url: string): string {
  return url.replace(/^sqlite:/, '');
}

/** Whether the database answers. */
export async function ping(db: Db): Promise<boolean> {
  try {
    await db.selectFrom('signing_keys').select('kid').limit(1).execute();
    return true;
  } catch {
    return false;
  }
}
