import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOpened, databases, type OpenedDatabase } from '../../test/support/databases.ts';
import { generator } from '../../test/support/generator.ts';
import { sessionRow, userRow } from '../../test/support/rows.ts';
import { type Db, openDatabase, ping } from './database.ts';
import { DatabaseError, UniqueViolation } from './dialect.ts';
import type { UserTable } from './schema.ts';

describe.each(databases)('on $name', (kind) => {
  let database: OpenedDatabase;
  let db: Db;
  beforeAll(async () => {
    database = await createOpened(kind);
    db = database.db;
  });
  afterAll(() => database[Symbol.asyncDispose]());

  const find = (id: string, on = db) => on.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
  const insert = (row = userRow(), on = db) => on.insertInto('users').values(row).execute();

  describe('a transaction', () => {
    test('is seen by nobody before it is committed', async () => {
      const row = userRow();
      const inserted = Promise.withResolvers<void>();
      const reading = inserted.promise.then(() => find(row.id));
      await expect(
        database.transaction(async (tx) => {
          await insert(row, tx);
          expect(await find(row.id, tx)).toEqual(row);
          inserted.resolve();
          for (let i = 0; i < 20; i++) await find(row.id, tx);
          throw new Error('changed my mind');
        }),
      ).rejects.toThrow('changed my mind');
      expect(await reading).toBeUndefined();
    });

    test('answers what its work does, and is there for others then', async () => {
      const row = userRow();
      expect(await database.transaction(async (tx) => (await insert(row, tx), 'done'))).toBe('done');
      expect(await find(row.id)).toEqual(row);
    });

    test.each([
      ['its work throws', () => Promise.reject(new Error('broken'))],
      [
        'its work throws at once',
        () => {
          throw new Error('broken');
        },
      ],
      ['a statement fails', (tx: Db) => sql`broken`.execute(tx)],
      [
        'a row is there twice',
        async (tx: Db) => {
          const row = userRow();
          await insert(row, tx);
          await insert(row, tx);
        },
      ],
      [
        'a row belongs to nobody',
        (tx: Db) => tx.insertInto('user_terms').values({ term: 'a', user_id: 'nobody' }).execute(),
      ],
    ])('is taken back when %s, and the next one runs', async (_, fail: (tx: Db) => Promise<unknown>) => {
      const row = userRow();
      const other = await find((await insertOther()).id);
      await expect(
        database.transaction(async (tx) => {
          await insert(row, tx);
          await tx.updateTable('users').set({ name: 'Changed' }).where('id', '=', other!.id).execute();
          await fail(tx);
        }),
      ).rejects.toBeInstanceOf(Error);
      expect(await find(row.id)).toBeUndefined();
      expect(await find(other!.id)).toEqual(other);
      await database.transaction((tx) => insert(row, tx));
      expect(await find(row.id)).toEqual(row);
    });

    test('loses no update of another', async () => {
      const row = userRow();
      await insert(row);
      const add = () =>
        database.transaction(async (tx) => {
          const { revision } = (await find(row.id, tx))!;
          await find(row.id, tx);
          await tx
            .updateTable('users')
            .set({ revision: revision + 1 })
            .where('id', '=', row.id)
            .execute();
        });
      await Promise.all(Array.from({ length: 50 }, add));
      expect((await find(row.id))!.revision).toBe(51);
    });

    test('sees its own failed statement and may go on', async () => {
      const row = userRow();
      await insert(row);
      const second = userRow();
      await database.transaction(async (tx) => {
        await insert(second, tx);
      });
      await expect(insert(userRow({ username: row.username }))).rejects.toBeInstanceOf(UniqueViolation);
      expect(await find(second.id)).toEqual(second);
    });

    test('has no other inside', async () => {
      await expect(database.transaction((tx) => tx.transaction().execute(async () => {}))).rejects.toThrow(
        /transaction/,
      );
      expect(await ping(db)).toBe(true);
    });
  });

  describe('a value that is unique', () => {
    test.each<[string, (row: UserTable) => Partial<UserTable>]>([
      ['users.id', ({ id }) => ({ id, username: `other${id}` })],
      ['users.username_key', ({ username_key }) => ({ username_key })],
      ['users.email_key', ({ email_key }) => ({ email_key })],
    ])('%s is named when it is taken', async (column, same) => {
      const row = await insertOther();
      const error: unknown = await insert(userRow(same(row))).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UniqueViolation);
      expect(error).toMatchObject({ column });
    });

    test('is named when an update takes it', async () => {
      const [row, other] = [await insertOther(), await insertOther()];
      const { email_key } = row;
      const taking = db.updateTable('users').set({ email_key }).where('id', '=', other.id).execute();
      await expect(taking).rejects.toMatchObject({ name: 'UniqueViolation', column: 'users.email_key' });
      expect(await find(other.id)).toEqual(other);
    });
  });

  describe('what is stored', () => {
    test('comes back as it was', async () => {
      const random = generator(10);
      for (let round = 0; round < 100; round++) {
        const row = userRow({
          name: random.text(200),
          last_sign_in_ms: random.below(2) ? Number.MAX_SAFE_INTEGER : null,
        });
        await insert(row);
        expect(await find(row.id)).toEqual(row);
      }
    });

    test('is sorted by its bytes', async () => {
      const random = generator(11);
      const kids = new Set(Array.from({ length: 500 }, () => random.text(5)));
      const rows = Array.from(kids, (kid) => ({
        kid,
        public_key: '',
        private_key_sealed: '',
        create_ms: 0,
        activate_ms: 0,
      }));
      await db.insertInto('signing_keys').values(rows).execute();
      const sorted = await db.selectFrom('signing_keys').select('kid').orderBy('kid').execute();
      expect(sorted.map(({ kid }) => kid)).toEqual(
        Array.from(kids).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
      await db.deleteFrom('signing_keys').execute();
    });

    test('goes with the user whose it is', async () => {
      const { id } = await insertOther();
      await db.insertInto('user_terms').values({ term: 'a', user_id: id }).execute();
      const session = sessionRow(id);
      await db.insertInto('sessions').values(session).execute();
      await db.deleteFrom('users').where('id', '=', id).execute();
      expect(await database.files.dump()).not.toContain(id);
    });
  });

  describe('openDatabase', () => {
    test('finds what was committed before, and changes nothing', async () => {
      await using own = await kind.create();
      const row = userRow();
      {
        await using first = await openDatabase(own.url);
        await insert(row, first.db);
      }
      const before = await own.dump();
      await using second = await openDatabase(own.url);
      expect(await find(row.id, second.db)).toEqual(row);
      expect(await own.dump()).toBe(before);
    });

    test('refuses the tables of a newer version, and names it', async () => {
      await using own = await kind.create();
      {
        await using first = await openDatabase(own.url);
        await sql`insert into kysely_migration (name, timestamp) values ('9999-later', '')`.execute(first.db);
      }
      const error: unknown = await openDatabase(own.url).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DatabaseError);
      expect(String(error)).toContain(own.url);
      expect(String(error)).toContain('9999-later');
    });

    test('what was closed answers no more', async () => {
      await using own = await kind.create();
      const closed = await openDatabase(own.url);
      await closed[Symbol.asyncDispose]();
      expect(await ping(closed.db)).toBe(false);
    });

    test('closes after what was begun', async () => {
      await using own = await kind.create();
      const row = userRow();
      const closing = await openDatabase(own.url);
      const begun = Promise.withResolvers<void>();
      const writing = closing.transaction(async (tx) => {
        begun.resolve();
        for (let i = 0; i < 20; i++) await find(row.id, tx);
        await insert(row, tx);
      });
      await begun.promise;
      await Promise.all([writing, closing[Symbol.asyncDispose]()]);
      await using second = await openDatabase(own.url);
      expect(await find(row.id, second.db)).toEqual(row);
    });
  });

  async function insertOther() {
    const row = userRow();
    await insert(row);
    return row;
  }
});
