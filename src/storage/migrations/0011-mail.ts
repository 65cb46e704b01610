import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/** The outbox, and the codes that were mailed. */
export function migration(dialect: Dialect): Migration {
  const { id, key, number, optionalNumber, text, optionalText, user, optionalUser } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'mails',
        {
          id,
          user_id: optionalUser,
          recipient: text,
          kind: text,
          subject: text,
          body_sealed: optionalText,
          state: key,
          attempts: number,
          next_ms: number,
          last_error: text,
          create_ms: number,
          expire_ms: number,
          send_ms: optionalNumber,
        },
        {
          indexes: {
            mails_due: ['state', 'next_ms'],
            mails_state: ['state', 'id'],
            mails_create: ['create_ms'],
            mails_user: ['user_id'],
          },
        },
      );
      await createTable(
        db,
        'mailed_codes',
        { user_id: user, purpose: key, address_key: key, address: text, code_mac: key, expire_ms: number },
        { primaryKey: ['user_id', 'purpose', 'address_key'], indexes: { mailed_codes_expire: ['expire_ms'] } },
      );
    },
  };
}
