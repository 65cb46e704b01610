import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/** What sessions tell of themselves, revocations, throttling, second factors, API keys, and when signing keys begin. */
export function signIn({ orderedText, sequence, writer }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      const alter = async (
        table: string,
        column: string,
        type: 'text' | 'bigint' | 'integer',
        fallback: string | number,
      ) =>
        db.schema
          .alterTable(table)
          .addColumn(column, type, (c) => c.notNull().defaultTo(fallback))
          .execute();
      await alter('users', 'must_change_password', 'integer', 0);
      await alter('sessions', 'user_agent', 'text', '');
      await alter('sessions', 'address', 'text', '');
      await alter('sessions', 'methods', 'text', 'pwd');
      await alter('signing_keys', 'activate_ms', 'bigint', 0);

      await db.schema
        .createTable('revocations')
        .addColumn('seq', sequence.type, sequence.build)
        .addColumn('writer', 'bigint', (c) => c.notNull().defaultTo(writer))
        .addColumn('session_id', orderedText)
        .addColumn('user_id', orderedText, (c) => c.notNull())
        .addColumn('role', 'text')
        .addColumn('revision', 'bigint', (c) => c.notNull())
        .addColumn('expire_ms', 'bigint', (c) => c.notNull())
        .execute();
      await db.schema.createIndex('revocations_writer').on('revocations').column('writer').execute();
      await db.schema.createIndex('revocations_expire').on('revocations').column('expire_ms').execute();

      await db.schema
        .createTable('throttles')
        .addColumn('key', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('failures', 'bigint', (c) => c.notNull())
        .addColumn('until_ms', 'bigint', (c) => c.notNull())
        .addColumn('forget_ms', 'bigint', (c) => c.notNull())
        .execute();
      await db.schema.createIndex('throttles_forget').on('throttles').column('forget_ms').execute();

      await db.schema
        .createTable('second_factors')
        .addColumn('user_id', orderedText, (c) => c.primaryKey().notNull().references('users.id').onDelete('cascade'))
        .addColumn('secret_sealed', 'text', (c) => c.notNull())
        .addColumn('last_step', 'bigint', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addColumn('confirm_ms', 'bigint')
        .execute();
      await db.schema
        .createIndex('second_factors_pending')
        .on('second_factors')
        .columns(['confirm_ms', 'create_ms'])
        .execute();

      await db.schema
        .createTable('recovery_codes')
        .addColumn('user_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('code_mac', orderedText, (c) => c.notNull())
        .addPrimaryKeyConstraint('recovery_codes_pk', ['user_id', 'code_mac'])
        .execute();

      await db.schema
        .createTable('api_keys')
        .addColumn('id', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('user_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('secret_hash', 'text', (c) => c.notNull())
        .addColumn('secret_hint', 'text', (c) => c.notNull())
        .addColumn('permissions', 'text', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addColumn('expire_ms', 'bigint')
        .addColumn('last_used_ms', 'bigint')
        .execute();
      await db.schema.createIndex('api_keys_user').on('api_keys').columns(['user_id', 'id']).execute();
    },
  };
}
