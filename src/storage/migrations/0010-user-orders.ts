import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/**
 * The orders of lists of users: by the time of creation, by name, by the last sign-in.
 *
 * The rows of older versions are left as they are here, with '' for the name by which they are sorted: they are
 * brought up to date in small steps while the server runs, and so is what an instance of an older version writes
 * meanwhile.
 */
export function migration({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .alterTable('users')
        .addColumn('name_key', orderedText, (c) => c.notNull().defaultTo(''))
        .execute();
      for (const [order, column] of [
        ['created', 'create_ms'],
        ['name', 'name_key'],
        ['sign_in', 'last_sign_in_ms'],
      ] as const) {
        const create = (name: string, columns: readonly string[]) =>
          db.schema
            .createIndex(`users_${name}_${order}`)
            .on('users')
            .columns([...columns, column, 'id'])
            .execute();
        await create('state', ['state']);
        await create('role_state', ['role', 'state']);
      }
      await db.schema.dropIndex('users_state').execute();
      await db.schema.dropIndex('users_role_state').execute();
    },
  };
}
