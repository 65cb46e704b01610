import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn, columnKinds, createTable } from './tables.ts';

/** What sessions tell of themselves, revocations, throttling, second factors, API keys, and when signing keys begin. */
export function migration(dialect: Dialect): Migration {
  const { id, key, optionalKey, number, optionalNumber, onlyOfUser, sequence, text, optionalText, user, writer } =
    columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await addColumn(db, 'users', 'must_change_password', 'integer', 0);
      await addColumn(db, 'sessions', 'user_agent', 'text', '');
      await addColumn(db, 'sessions', 'address', 'text', '');
      await addColumn(db, 'sessions', 'methods', 'text', 'pwd');
      await addColumn(db, 'signing_keys', 'activate_ms', 'bigint', 0);
      await createTable(
        db,
        'revocations',
        {
          seq: sequence,
          writer,
          session_id: optionalKey,
          user_id: key,
          role: optionalText,
          revision: number,
          expire_ms: number,
        },
        { indexes: { revocations_writer: ['writer'], revocations_expire: ['expire_ms'] } },
      );
      await createTable(
        db,
        'throttles',
        { key: id, failures: number, until_ms: number, forget_ms: number },
        { indexes: { throttles_forget: ['forget_ms'] } },
      );
      await createTable(
        db,
        'second_factors',
        { user_id: onlyOfUser, secret_sealed: text, last_step: number, create_ms: number, confirm_ms: optionalNumber },
        { indexes: { second_factors_pending: ['confirm_ms', 'create_ms'] } },
      );
      await createTable(
        db,
        'recovery_codes',
        { user_id: user, code_mac: key },
        { primaryKey: ['user_id', 'code_mac'] },
      );
      await createTable(
        db,
        'api_keys',
        {
          id,
          user_id: user,
          name: text,
          secret_hash: text,
          secret_hint: text,
          permissions: text,
          create_ms: number,
          expire_ms: optionalNumber,
          last_used_ms: optionalNumber,
        },
        { indexes: { api_keys_user: ['user_id', 'id'] } },
      );
    },
  };
}
