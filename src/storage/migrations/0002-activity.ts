import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/** The log of what users did and what happened to them. */
export function migration({ orderedText, sequence, writer }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .createTable('activity')
        .addColumn('seq', sequence.type, sequence.build)
        .addColumn('writer', 'bigint', (c) => c.notNull().defaultTo(writer))
        .addColumn('id', orderedText, (c) => c.notNull())
        .addColumn('user_id', orderedText, (c) => c.notNull().references('users.id').onDelete('cascade'))
        .addColumn('actor_id', orderedText)
        .addColumn('action', orderedText, (c) => c.notNull())
        .addColumn('details', 'text', (c) => c.notNull())
        .addColumn('attributes', 'text', (c) => c.notNull())
        .addColumn('private', 'integer', (c) => c.notNull())
        .addColumn('event_ms', 'bigint', (c) => c.notNull())
        .addColumn('record_ms', 'bigint', (c) => c.notNull())
        .execute();
      await db.schema.createIndex('activity_log').on('activity').columns(['writer', 'seq']).execute();
      await db.schema.createIndex('activity_user').on('activity').columns(['user_id', 'writer', 'seq']).execute();
      await db.schema.createIndex('activity_record').on('activity').column('record_ms').execute();

      await db.schema
        .createTable('activity_purged')
        .addColumn('id', 'integer', (c) => c.primaryKey().notNull())
        .addColumn('writer', 'bigint', (c) => c.notNull())
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('base', 'bigint', (c) => c.notNull().defaultTo(0))
        .execute();
      await sql`insert into activity_purged (id, writer, seq) values (1, -1, 0)`.execute(db);
    },
  };
}
