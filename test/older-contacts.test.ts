import { randomUUIDv7 } from 'node:crypto';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { describe, expect, test } from 'vitest';
import { databases, type TestDatabase } from './support/databases.ts';
import { userRowBefore0009 } from './support/rows.ts';
import { type Database, openDatabase } from '../src/storage/database.ts';
import type { Dialect } from '../src/storage/dialect.ts';
import { migrations } from '../src/storage/migrate.ts';
import { openPostgres } from '../src/storage/postgres.ts';
import type { Schema } from '../src/storage/schema.ts';
import { openSqlite } from '../src/storage/sqlite.ts';
import { NO_FIELDS, toColumns } from '../src/contacts/contact.ts';
import { upgradeContacts } from '../src/contacts/contacts.ts';
import { selectContactPage, selectUsage } from '../src/contacts/store.ts';
import { contactQueries, TERMS_MAX } from '../src/contacts/terms.ts';

/** What 20 numbers of 64 digits took: a term for each place in them. */
const DIGITS = Array.from({ length: 20 }, (_, n) => String(n + 10).repeat(32));
const CONTACTS = 45;
const STEP = 20;

describe.each(databases)('contacts of an older version, on $name', ({ createEmpty }) => {
  test('are found at once, and brought up to date in steps that can be interrupted', async () => {
    await using files = await createEmpty();
    const owner = userRowBefore0009();
    await using old = await openOld(files);
    await old.db.insertInto('users').values(owner).execute();
    const ids: string[] = [];
    for (let n = 0; n < CONTACTS; n++) ids.push(await insertOld(old.db, owner.id, n, 'title'));

    await using first = await openDatabase(files.url);
    const usage = { contacts: CONTACTS, liveContacts: CONTACTS - 1, versionBytes: 0 };
    expect(await selectUsage(first.db, owner.id)).toEqual({ ...usage, bytes: 0 });
    await expectFound(first, owner.id, ids);
    expect(await upgradeContacts({ database: first }, STEP)).toBe(STEP);
    const half = await selectUsage(first.db, owner.id);
    expect(half).toEqual({ ...usage, bytes: expect.any(Number) });
    expect(half.bytes).toBeGreaterThan(0);
    await expectFound(first, owner.id, ids);

    // Some are written without their usage while that goes on.
    ids.push(await insertOld(first.db, owner.id, CONTACTS, 'job_title'));
    await using second = await openDatabase(files.url);
    const steps: number[] = [];
    do steps.push(await upgradeContacts({ database: second }, STEP));
    while (steps.at(-1) !== 0);
    expect(steps).toEqual([STEP, CONTACTS + 1 - 2 * STEP, 0]);
    expect(await selectUsage(second.db, owner.id)).toMatchObject({
      contacts: CONTACTS + 1,
      liveContacts: CONTACTS,
    });
    await expectFound(second, owner.id, ids);
    const terms = await second.db
      .selectFrom('contact_terms')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .groupBy('contact_id')
      .execute();
    expect(Math.max(...terms.map(({ count }) => count))).toBeLessThanOrEqual(TERMS_MAX);
    // The user was stored without the terms of the name.
    expect((await files.faults()).filter((fault) => !fault.startsWith('the search terms of user'))).toEqual([]);
  }, 60_000);
});

interface OldDatabase extends AsyncDisposable {
  readonly db: Kysely<Schema>;
}

/** A database as the version before made it. */
async function openOld({ url }: TestDatabase): Promise<OldDatabase> {
  const dialect: Dialect = url.startsWith('sqlite:')
    ? openSqlite(url.slice('sqlite:'.length))
    : openPostgres(url, {
        connectionsMax: 2,
        connectTimeoutMs: 2000,
        statementTimeoutMs: 10_000,
        idleTransactionTimeoutMs: 10_000,
      });
  const db = new Kysely<Schema>({ dialect: dialect.queries });
  const known = Object.fromEntries(Object.entries(migrations(dialect)).filter(([name]) => name <= '0003-sign-in'));
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: async () => known },
  }).migrateToLatest();
  if (error !== undefined) throw error;
  return { db, [Symbol.asyncDispose]: () => db.destroy() };
}

/** The columns of fields that there were then, beside the job title. */
const OLD_COLUMNS = [
  'sort_key',
  'given_name',
  'family_name',
  'company',
  'emails',
  'phones',
  'addresses',
  'urls',
  'birthday',
  'notes',
  'starred',
] as const;

/** The first is deleted. Every other one has numbers that are as long as can be. */
async function insertOld(
  db: Kysely<Schema>,
  ownerId: string,
  n: number,
  jobTitleColumn: 'title' | 'job_title',
): Promise<string> {
  const id = randomUUIDv7();
  const numbers = n % 2 === 0 ? DIGITS : [`49301234${1000 + n}`];
  const phones = numbers.map((number) => ({ number, type: '', primary: false }));
  const columns = toColumns({ ...NO_FIELDS, givenName: 'Ada', familyName: `n${n}`, phones });
  const deletion = n === 0 ? ({ deleted: 1, delete_ms: 1, purge_ms: 8e12 } as const) : { deleted: 0 as const };
  const row = {
    ...Object.fromEntries(OLD_COLUMNS.map((column) => [column, columns[column]])),
    [jobTitleColumn]: columns.job_title,
    id,
    owner_id: ownerId,
    create_ms: 0,
    update_ms: 0,
    revision: 1,
    ...deletion,
  };
  await db
    .insertInto('contacts')
    .values(row as unknown as Schema['contacts'])
    .execute();
  const inside = numbers.flatMap((digits) =>
    Array.from({ length: digits.length - 4 }, (_, i) => `\u0001${digits.slice(i + 1)}`),
  );
  const terms = [`ada n${n}`, `n${n}`, `n${n} ada`, 'ada', ...numbers, ...inside];
  const rows = [...new Set(terms)].map((term) => ({ owner_id: ownerId, term, contact_id: id }));
  await db.insertInto('contact_terms').values(rows).execute();
  return id;
}

async function expectFound({ db }: Pick<Database, 'db'>, ownerId: string, ids: readonly string[]): Promise<void> {
  const live = ids.filter((_, n) => n > 0);
  const search = async (query: string) => {
    const filter = { deleted: false, starred: undefined, queries: contactQueries(query) };
    return new Set((await selectContactPage(db, ownerId, filter, undefined, 1000)).rows.map(({ id }) => id));
  };
  expect(await search('ada')).toEqual(new Set(live));
  for (const query of ['1010', '0101', '9292929', '29292']) {
    expect(await search(query)).toEqual(new Set(live.filter((id) => ids.indexOf(id) % 2 === 0)));
  }
  for (const query of ['4930', '0123', '3012', '341']) {
    const isInside = query.length >= 4;
    expect(await search(query)).toEqual(new Set(isInside ? live.filter((id) => ids.indexOf(id) % 2 === 1) : []));
  }
}
