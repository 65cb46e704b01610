import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/** Photos of contacts, and their images in each size, base64. */
export function migration(dialect: Dialect): Migration {
  const { user, key, text, number, optionalNumber } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .alterTable('contacts')
        .addColumn('photo_id', dialect.orderedText, (c) => c.notNull().defaultTo(''))
        .execute();
      await db.schema
        .createIndex('contacts_photo')
        .on('contacts')
        .columns(['owner_id', 'photo_id'])
        .where(sql<boolean>`photo_id <> ''`)
        .execute();
      await createTable(
        db,
        'contact_photos',
        { owner_id: user, id: key, picture_hash: key, bytes: number, create_ms: number, check_ms: optionalNumber },
        {
          primaryKey: ['owner_id', 'id'],
          indexes: {
            contact_photos_picture: ['owner_id', 'picture_hash'],
            contact_photos_check: ['check_ms'],
          },
        },
      );
      await createTable(
        db,
        'contact_photo_images',
        { owner_id: user, photo_id: key, size: key, image: text },
        { primaryKey: ['owner_id', 'photo_id', 'size'] },
      );
    },
  };
}
