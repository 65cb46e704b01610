import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { databases } from '../../test/support/databases.ts';
import { openDatabase } from './database.ts';
import { DatabaseError, DatabaseUnavailable } from './dialect.ts';
import { type Facts, mayPass, problemOf } from './postgres-start.ts';

/** A database of the test's own, changed by a superuser. */
async function newDatabase(): Promise<{ url: string; run(...statements: string[]): Promise<void> }> {
  const database = await databases[1]!.createEmpty();
  onTestFinished(() => database[Symbol.asyncDispose]());
  return { url: database.url, run: (...statements) => runOn(database.url, ...statements) };
}

async function runOn(url: string, ...statements: string[]): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

async function newRole(run: (...statements: string[]) => Promise<void>): Promise<string> {
  const role = `kith_${randomUUID().replaceAll('-', '')}`;
  await run(`create role ${role} login`);
  onTestFinished(() => run(`drop owned by ${role}`, `drop role ${role}`));
  return role;
}

const inSchema = (url: string, schema: string) => `${url}&options=${encodeURIComponent(`-c search_path=${schema}`)}`;
const asUser = (url: string, user: string) => url.replace('//postgres@', `//${user}@`);

async function refusalOf(url: string): Promise<string> {
  const error: unknown = await openDatabase(url).then(
    (database) => database[Symbol.asyncDispose](),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(DatabaseError);
  expect(error).not.toBeInstanceOf(DatabaseUnavailable);
  return (error as DatabaseError).message;
}

describe('a database that could not be served, or only in part, is refused by name:', () => {
  test.each(['LATIN1', 'WIN1252', 'SQL_ASCII'])('one in %s', async (encoding) => {
    const { url, run } = await newDatabase();
    const name = `kith_${randomUUID().replaceAll('-', '')}`;
    await run(`create database ${name} encoding '${encoding}' locale 'C' template template0`);
    onTestFinished(() => run(`drop database ${name} with (force)`));
    const other = url.replace(/kith_\w+/, name);
    expect(await refusalOf(other)).toContain(`its encoding is ${encoding}: it must be UTF8`);
  });

  test('one that takes no writes', async () => {
    const { url, run } = await newDatabase();
    await run(`alter database ${/kith_\w+/.exec(url)![0]} set default_transaction_read_only = on`);
    expect(await refusalOf(url)).toContain('takes no writes: default_transaction_read_only must be off');
  });

  test('one without the schema of the search path', async () => {
    const { url } = await newDatabase();
    expect(await refusalOf(inSchema(url, 'missing'))).toContain(
      'there is no schema that user postgres may use in search_path (missing)',
    );
  });

  test('one whose user may not look into the schema', async () => {
    const { url, run } = await newDatabase();
    const role = await newRole(run);
    await run('create schema a');
    expect(await refusalOf(asUser(inSchema(url, 'a'), role))).toContain(
      `there is no schema that user ${role} may use in search_path (a)`,
    );
  });

  test('one whose user may not create tables', async () => {
    const { url, run } = await newDatabase();
    const role = await newRole(run);
    expect(await refusalOf(asUser(url, role))).toContain(
      `user ${role} may not create tables in schema public: grant create on schema public to ${role}`,
    );
  });

  test('one whose user may not use the tables and sequences that are there', async () => {
    const { url, run } = await newDatabase();
    await using _ = await openDatabase(url);
    const role = await newRole(run);
    await run(`grant select, insert, update, delete on all tables in schema public to ${role}`);
    await run(`revoke update on users, activity from ${role}`);
    expect(await refusalOf(asUser(url, role))).toContain(
      `user ${role} may not read and write activity, activity_seq_seq, revocations_seq_seq, users in schema public`,
    );
    await run(`grant update on users, activity to ${role}`, `grant usage on all sequences in schema public to ${role}`);
    await using served = await openDatabase(asUser(url, role));
    expect(await served.db.selectFrom('users').selectAll().execute()).toEqual([]);
  });
});

describe('what cannot be had in a test', () => {
  const FACTS: Facts = {
    serverEncoding: 'UTF8',
    version: 180_000,
    isReplica: false,
    isReadOnly: false,
    user: 'kith',
    searchPath: 'public',
    schema: 'public',
    mayCreate: true,
    hasTables: false,
    forbidden: '',
  };

  test('an old version is refused, and the first that will do is not', () => {
    expect(problemOf({ ...FACTS, version: 120_022 })).toBe('is PostgreSQL 12: it must be version 13 or newer');
    expect(problemOf({ ...FACTS, version: 130_000 })).toBeUndefined();
  });

  test.each<[boolean, string, Error]>([
    [true, 'a server that is not there', withCode('ECONNREFUSED')],
    [
      true,
      'a server that is on neither address',
      new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')]),
    ],
    [true, 'a name that is not known yet', withCode('ENOTFOUND')],
    [true, 'a socket that is not there yet', Object.assign(withCode('ENOENT'), { syscall: 'connect' })],
    [true, 'a connection that took too long', new Error('timeout exceeded when trying to connect')],
    [true, 'a connection that was lost', new Error('Connection terminated unexpectedly')],
    [false, 'a certificate that is not there', Object.assign(withCode('ENOENT'), { syscall: 'open' })],
    [false, 'a certificate of nobody known', withCode('DEPTH_ZERO_SELF_SIGNED_CERT')],
    [false, 'a certificate that has expired', withCode('CERT_HAS_EXPIRED')],
    [false, 'a socket that may not be used', Object.assign(withCode('EACCES'), { syscall: 'connect' })],
    [false, 'a server without TLS', new Error('The server does not support SSL connections')],
    [
      false,
      'a password that is missing',
      new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string'),
    ],
  ])('may pass by itself (%s): %s', (expected, _, error) => {
    expect(mayPass(error)).toBe(expected);
  });

  function withCode(code: string): Error {
    return Object.assign(new Error(code), { code });
  }
});

test('two services in two schemas of one database know nothing of each other', async () => {
  const { url, run } = await newDatabase();
  await run('create schema a', 'create schema b', `create schema "B c"`);
  // The first in public, as in most databases; the others find its tables in theirs only if they look too far.
  for (const at of [url, inSchema(url, 'a'), inSchema(url, 'b,public'), inSchema(url, '"B\\ c"')]) {
    await using first = await openDatabase(at);
    expect(await first.db.selectFrom('activity_purged').select('seq').execute()).toEqual([{ seq: 0 }]);
    await first.db.updateTable('activity_purged').set({ seq: 7 }).execute();
    await using again = await openDatabase(at);
    expect(await again.db.selectFrom('activity_purged').select('seq').execute()).toEqual([{ seq: 7 }]);
  }
});
