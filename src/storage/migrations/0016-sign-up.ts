import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/** Sign-ups that wait for their code, and invitations. */
export function migration(dialect: Dialect): Migration {
  const { id, key, number, text } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'sign_ups',
        { email_key: id, code_mac: key, expire_ms: number },
        { indexes: { sign_ups_expire: ['expire_ms'] } },
      );
      await createTable(
        db,
        'invitations',
        { id, email: text, email_key: key, role: text, create_ms: number, expire_ms: number },
        { indexes: { invitations_expire: ['expire_ms'] } },
      );
      await db.schema.createIndex('invitations_email').on('invitations').column('email_key').unique().execute();
    },
  };
}
