import { type Kysely, sql } from 'kysely';
import { DatabaseError as ServerError } from 'pg';
import { DatabaseError, DatabaseUnavailable } from './dialect.ts';
import { TABLES } from './migrations/list.ts';
import type { Schema } from './schema.ts';

/** What the server says of itself and of the database. */
export interface Facts {
  readonly serverEncoding: string;
  /** Ten thousands of the major version and the minor one, e.g. 180004. */
  readonly version: number;
  readonly isReplica: boolean;
  readonly isReadOnly: boolean;
  readonly user: string;
  readonly searchPath: string;
  /** The first schema of the search path that there is and that the user may look into. */
  readonly schema: string | null;
  readonly mayCreate: boolean;
  /** Whether tables were made in the schema before. */
  readonly hasTables: boolean;
  /** Tables and sequences of the schema that the user may not read and write, with commas between them. */
  readonly forbidden: string;
}

/** The first version with transaction ids of 64 bits, which the log is ordered by. */
const VERSION_MIN = 13;

/** The tables that migrations make are those that are declared: one that is missing on either side does not compile. */
const DECLARED = Object.keys(TABLES satisfies Record<keyof Schema, string>) as (keyof typeof TABLES)[];
/** Kysely's own tables beside those of the schema. */
const MIGRATIONS = 'kysely_migration';
const ALL_TABLES = [...(DECLARED satisfies (keyof Schema)[]), MIGRATIONS, 'kysely_migration_lock'];

/**
 * Resolves to the schema of the tables. Throws DatabaseError, which names what is wrong,
 * for a database that could not be served, or only in part: what is found out here would
 * otherwise be found out by callers.
 */
export async function requireSuitable(db: Kysely<Schema>): Promise<string> {
  const { rows } = await sql<Facts>`
    with tables as (
      select oid, relname as name from pg_class
      where relnamespace = (select oid from pg_namespace where nspname = current_schema()) and relkind in ('r', 'p')
        and relname in (${sql.join(ALL_TABLES)}))
    select
      current_setting('server_encoding') as "serverEncoding",
      current_setting('server_version_num')::int as "version",
      pg_is_in_recovery() as "isReplica",
      current_setting('transaction_read_only') = 'on' as "isReadOnly",
      current_user::text as "user",
      current_setting('search_path') as "searchPath",
      current_schema()::text as "schema",
      coalesce(has_schema_privilege(current_schema(), 'create'), false) as "mayCreate",
      exists (select from tables where name = ${MIGRATIONS}) as "hasTables",
      (select coalesce(string_agg(name, ', ' order by name), '') from (
        select name from tables
        where not (has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
          and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete'))
        union all
        select s.relname from pg_class s
        join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.refclassid = d.classid
        join tables t on t.oid = d.refobjid
        where case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'usage') end) as f) as "forbidden"`.execute(
    db,
  );
  const [facts] = rows;
  if (facts === undefined) throw new DatabaseError('does not answer as PostgreSQL does');
  if (facts.isReplica) {
    throw new DatabaseUnavailable('is a replica, which takes no writes: name the primary, or wait until it is one');
  }
  const problem = problemOf(facts);
  if (problem !== undefined) throw new DatabaseError(problem);
  return facts.schema ?? '';
}

/** Why the database cannot be served, and what to do about it; undefined if it can. */
export function problemOf(facts: Facts): string | undefined {
  const { user, schema, version } = facts;
  if (version < VERSION_MIN * 10_000) {
    return `is PostgreSQL ${Math.floor(version / 10_000)}: it must be version ${VERSION_MIN} or newer`;
  }
  if (facts.serverEncoding !== 'UTF8') {
    return `its encoding is ${facts.serverEncoding}: it must be UTF8; create it with: encoding 'UTF8' template template0`;
  }
  if (schema === null) {
    return `there is no schema that user ${user} may use in search_path (${facts.searchPath}): create one, or grant usage on it`;
  }
  if (facts.isReadOnly) return 'takes no writes: default_transaction_read_only must be off';
  if (!facts.hasTables && !facts.mayCreate) {
    return `user ${user} may not create tables in schema ${schema}: grant create on schema ${schema} to ${user}`;
  }
  if (facts.forbidden !== '') {
    return `user ${user} may not read and write ${facts.forbidden} in schema ${schema}: use the user who owns them, or grant select, insert, update and delete, and usage on sequences`;
  }
  return undefined;
}

/** Error codes of Node: no server listens yet, its name does not resolve yet, or there are too many connections or files at the moment. */
const TRANSIENT = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EAGAIN',
  'EMFILE',
  'ENFILE',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** SQLSTATE classes: connection, resources, intervention of an operator of the server, system; a lock that is held. */
const TRANSIENT_STATES = /^(08(?!P01)|53|55P03|57|58)/;

/**
 * Whether an error of the first connection may pass without anybody changing anything. An
 * unknown error counts as permanent, since a supervisor would otherwise try for ever.
 */
export function mayPass(error: Error): boolean {
  if (error instanceof ServerError) return TRANSIENT_STATES.test(error.code ?? '');
  if (error instanceof AggregateError) return error.errors.some((one) => one instanceof Error && mayPass(one));
  const code = 'code' in error ? String(error.code) : undefined;
  // The driver's own errors have no code: "timeout expired", "Connection terminated unexpectedly".
  if (code === undefined) return /\btime(d )?out\b|\bterminated\b/i.test(error.message);
  const isMissingSocket = code === 'ENOENT' && 'syscall' in error && error.syscall === 'connect';
  return TRANSIENT.has(code) || isMissingSocket;
}
