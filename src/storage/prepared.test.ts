import type { KyselyPlugin } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOpened, databases, type OpenedDatabase } from '../../test/support/databases.ts';
import { userRow } from '../../test/support/rows.ts';
import type { Db } from './database.ts';
import { prepared, preparedInsertion, preparedRows } from './prepared.ts';
import { textRows } from './text-rows.ts';

describe.each(databases)('on $name', (kind) => {
  let database: OpenedDatabase;
  beforeAll(async () => {
    database = await createOpened(kind);
  });
  afterAll(() => database[Symbol.asyncDispose]());

  /** A prepared query, and how often it was built. */
  function preparedQuery() {
    let built = 0;
    const find = prepared((db: Db, name: string, id: string) => {
      built++;
      return db
        .selectFrom('users')
        .select(['id', 'name'])
        .where('state', '=', 'active')
        .where('name', '=', name)
        .where('id', '=', id);
    });
    return { find, built: () => built };
  }

  test('a query is built once, and finds what each caller asks for', async () => {
    const { find, built } = preparedQuery();
    const users = [userRow({ name: 'Ada' }), userRow({ name: 'ä"🦉' }), userRow({ name: 'stand-in 0' })];
    await database.db.insertInto('users').values(users).execute();
    for (const { id, name } of users) expect(await find(database.db, name, id)).toEqual({ id, name });
    const [ada, other] = users;
    expect(await find(database.db, other!.name, ada!.id)).toBeUndefined();
    expect(await find(database.db, "' or 1 = 1 --", ada!.id)).toBeUndefined();
    expect(built()).toBe(1);
  });

  test('a transaction sees what it wrote, and nobody else does', async () => {
    const { find } = preparedQuery();
    const row = userRow();
    const { id, name } = row;
    await database.transaction(async (tx) => {
      await tx.insertInto('users').values(row).execute();
      expect(await find(tx, name, id)).toEqual({ id, name });
      expect(await find(database.db, name, id)).toBeUndefined();
    });
    expect(await find(database.db, name, id)).toEqual({ id, name });
  });

  test('rows are inserted by a statement that is built once for each number of them and order of their members', async () => {
    let built = 0;
    const insertUsers = preparedInsertion((tx, rows: readonly ReturnType<typeof userRow>[]) => {
      built++;
      return tx.insertInto('users').values(rows).returning(['id', 'name']);
    });
    const rows = [userRow({ name: 'Ada' }), userRow({ name: '\0stand-in 3' }), userRow({ name: 'ä"🦉', purge_ms: 7 })];
    const toNames = (some: typeof rows) => some.map(({ id, name }) => ({ id, name }));
    if (kind.name === 'PostgreSQL') rows[1] = userRow({ name: "' or 1 = 1 --" }); // no null character in its texts
    expect(await insertUsers(database.db, rows)).toEqual(toNames(rows));
    const more = Array.from({ length: 3 }, () => userRow());
    expect(await database.transaction((tx) => insertUsers(tx, more))).toEqual(toNames(more));
    expect(built).toBe(1);
    const { name, ...others } = userRow({ name: 'Last' });
    await insertUsers(database.db, [{ ...others, name }]);
    expect(built).toBe(2);
    const stored = await database.db
      .selectFrom('users')
      .selectAll()
      .where('id', 'in', [rows[2]!.id, others.id])
      .execute();
    expect(stored.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual([{ ...others, name }, rows[2]]);
  });

  test('texts are rows of a statement', async () => {
    for (const texts of [[], ['a', 'ä"🦉\\', '\u0001', '', 'null']]) {
      const each = database.db.selectFrom(textRows(database.db, JSON.stringify(texts)).as('each')).select('each.value');
      expect((await each.execute()).map(({ value }) => value)).toEqual(texts);
    }
  });

  test('a plugin sees the query each time', async () => {
    const { find } = preparedQuery();
    const row = userRow();
    const { id, name } = row;
    await database.db.insertInto('users').values(row).execute();
    const seen: string[] = [];
    const plugin: KyselyPlugin = {
      transformQuery({ node }) {
        seen.push(node.kind);
        return node;
      },
      transformResult: async ({ result }) => result,
    };
    for (const db of [database.db, database.db.withPlugin(plugin), database.db.withPlugin(plugin)]) {
      expect(await find(db, name, id)).toEqual({ id, name });
    }
    expect(seen).toEqual(['SelectQueryNode', 'SelectQueryNode']);
  });

  test('a query for rows is built once for each shape, and finds what each caller asks for', async () => {
    const built: unknown[] = [];
    const find = preparedRows((db: Db, shape: { readonly newestFirst: boolean }, name: string, limit: number) => {
      built.push(shape);
      const users = db.selectFrom('users').select('id').where('name', '=', name);
      return users.orderBy('id', shape.newestFirst ? 'desc' : 'asc').limit(limit);
    });
    const ids = (rows: readonly { readonly id: string }[]) => rows.map(({ id }) => id);
    const users = [userRow({ name: 'of shapes' }), userRow({ name: 'of shapes' }), userRow({ name: 'of shape' })];
    await database.db.insertInto('users').values(users).execute();
    const [first, second] = ids(users).slice(0, 2).toSorted();
    for (const { db } of [database, database]) {
      expect(ids(await find(db, { newestFirst: false }, 'of shapes', 10))).toEqual([first, second]);
      expect(ids(await find(db, { newestFirst: true }, 'of shapes', 10))).toEqual([second, first]);
      expect(ids(await find(db, { newestFirst: true }, 'of shapes', 1))).toEqual([second]);
      expect(await find(db, { newestFirst: true }, 'nobody', 10)).toEqual([]);
    }
    expect(built).toEqual([{ newestFirst: false }, { newestFirst: true }]);
  });
});
