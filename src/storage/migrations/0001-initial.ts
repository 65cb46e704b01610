import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/** Users, sessions, signing keys, contacts, remembered requests. */
export function migration({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .createTable('users')
        .addColumn('id', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('username', 'text', (c) => c.notNull())
        .addColumn('username_key', orderedText, (c) => c.notNull().unique())
        .addColumn('email', 'text', (c) => c.notNull())
        .addColumn('email_key', orderedText, (c) => c.notNull().unique())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('role', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('undelete_state', 'text')
        .addColumn('password_hash', 'text', (c) => c.notNull())
        .addColumn('session_epoch', 'bigint', (c) => c.notNull())
        .addColumn('last_sign_in_ms', 'bigint')
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addColumn('update_ms', 'bigint', (c) => c.notNull())
        .addColumn('delete_ms', 'bigint')
        .addColumn('purge_ms', 'bigint')
        .addColumn('revision', 'bigint', (c) => c.notNull())
        .execute();
      await db.schema.createIndex('users_state').on('users').columns(['state', 'id']).execute();
      await db.schema.createIndex('users_role_state').on('users').columns(['role', 'state', 'id']).execute();
      await db.schema.createIndex('users_purge').on('users').column('purge_ms').execute();

      await db.schema
        .createTable('user_terms')
        .addColumn('term', orderedText, (c) => c.notNull())
        .addColumn('user_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addPrimaryKeyConstraint('user_terms_pk', ['term', 'user_id'])
        .execute();
      await db.schema.createIndex('user_terms_user').on('user_terms').columns(['user_id', 'term']).execute();

      await db.schema
        .createTable('sessions')
        .addColumn('id', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('user_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('epoch', 'bigint', (c) => c.notNull())
        .addColumn('refresh_counter', 'bigint', (c) => c.notNull())
        .addColumn('refresh_ms', 'bigint', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addColumn('expire_ms', 'bigint', (c) => c.notNull())
        .addColumn('end_by_ms', 'bigint', (c) => c.notNull())
        .addColumn('end_ms', 'bigint')
        .execute();
      await db.schema.createIndex('sessions_user').on('sessions').columns(['user_id', 'id']).execute();
      await db.schema.createIndex('sessions_expire').on('sessions').column('expire_ms').execute();

      await db.schema
        .createTable('signing_keys')
        .addColumn('kid', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('public_key', 'text', (c) => c.notNull())
        .addColumn('private_key_sealed', 'text', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .execute();

      await db.schema
        .createTable('contacts')
        .addColumn('id', orderedText, (c) => c.primaryKey().notNull())
        .addColumn('owner_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('sort_key', orderedText, (c) => c.notNull())
        .addColumn('given_name', 'text', (c) => c.notNull())
        .addColumn('family_name', 'text', (c) => c.notNull())
        .addColumn('company', 'text', (c) => c.notNull())
        .addColumn('title', 'text', (c) => c.notNull())
        .addColumn('emails', 'text', (c) => c.notNull())
        .addColumn('phones', 'text', (c) => c.notNull())
        .addColumn('addresses', 'text', (c) => c.notNull())
        .addColumn('urls', 'text', (c) => c.notNull())
        .addColumn('birthday', 'text')
        .addColumn('notes', 'text', (c) => c.notNull())
        .addColumn('starred', 'integer', (c) => c.notNull())
        .addColumn('deleted', 'integer', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addColumn('update_ms', 'bigint', (c) => c.notNull())
        .addColumn('delete_ms', 'bigint')
        .addColumn('purge_ms', 'bigint')
        .addColumn('revision', 'bigint', (c) => c.notNull())
        .execute();
      const byName = ['sort_key', 'id'] as const;
      await db.schema
        .createIndex('contacts_name')
        .on('contacts')
        .columns(['owner_id', 'deleted', ...byName])
        .execute();
      await db.schema
        .createIndex('contacts_starred')
        .on('contacts')
        .columns(['owner_id', 'deleted', 'starred', ...byName])
        .execute();
      await db.schema.createIndex('contacts_purge').on('contacts').column('purge_ms').execute();

      await db.schema
        .createTable('contact_terms')
        .addColumn('owner_id', orderedText, (c) => c.notNull())
        .addColumn('term', orderedText, (c) => c.notNull())
        .addColumn('contact_id', orderedText, (c) => c.notNull().references('contacts.id').onDelete('cascade'))
        .addPrimaryKeyConstraint('contact_terms_pk', ['owner_id', 'term', 'contact_id'])
        .execute();
      await db.schema.createIndex('contact_terms_contact').on('contact_terms').column('contact_id').execute();

      await db.schema
        .createTable('requests')
        .addColumn('caller_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('request_id', orderedText, (c) => c.notNull())
        .addColumn('method', 'text', (c) => c.notNull())
        .addColumn('fingerprint', 'text', (c) => c.notNull())
        .addColumn('answer', 'text', (c) => c.notNull())
        .addColumn('create_ms', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('requests_pk', ['caller_id', 'request_id'])
        .execute();
      await db.schema.createIndex('requests_create').on('requests').column('create_ms').execute();
    },
  };
}
