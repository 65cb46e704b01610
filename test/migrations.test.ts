import { randomUUIDv7 } from 'node:crypto';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService, SignInMethod } from '../gen/kith/auth/v1/session_service_pb.ts';
import type { Dialect } from '../src/db/dialect.ts';
import { activity } from '../src/db/migrations/0002-activity.ts';
import { initial } from '../src/db/migrations/0001-initial.ts';
import { openPostgres } from '../src/db/postgres.ts';
import type { Schema } from '../src/db/schema.ts';
import { openSqlite } from '../src/db/sqlite.ts';
import { createKeyring } from '../src/keyring.ts';
import { writeRefreshToken } from '../src/sessions/refresh-token.ts';
import { databases } from './support/databases.ts';
import { startKith } from './support/kith.ts';
import { userRow } from './support/rows.ts';

const LIMITS = {
  connectionsMax: 1,
  connectTimeoutMs: 2000,
  statementTimeoutMs: 10_000,
  idleTransactionTimeoutMs: 10_000,
};

/** Makes the tables of the first migrations alone, as a version from before the others did. */
async function migrateToSecond(url: string, fill: (db: Kysely<Schema>) => Promise<void>): Promise<void> {
  const dialect: Dialect = url.startsWith('sqlite:')
    ? openSqlite(url.slice('sqlite:'.length))
    : openPostgres(url, LIMITS);
  const db = new Kysely<Schema>({ dialect: dialect.queries });
  try {
    const migrations = { '0001-initial': initial(dialect), '0002-activity': activity(dialect) };
    const { error } = await new Migrator({ db, provider: { getMigrations: async () => migrations } }).migrateToLatest();
    if (error !== undefined) throw error;
    await fill(db);
  } finally {
    await db.destroy();
  }
}

test.each(databases)(
  'sessions from before they told how they began go on as sign-ins by password, on $name',
  async (kind) => {
    await using database = await kind.create();
    const { must_change_password: _, ...user } = userRow();
    const now = Date.now();
    const session = {
      id: randomUUIDv7(),
      user_id: user.id,
      epoch: 0,
      refresh_counter: 0,
      refresh_ms: now,
      create_ms: now,
      expire_ms: now + 3_600_000,
      end_by_ms: now + 3_600_000,
      end_ms: null,
    };
    await migrateToSecond(database.url, async (db) => {
      await db
        .insertInto('users')
        .values(user as ReturnType<typeof userRow>)
        .execute();
      await db
        .insertInto('sessions')
        .values(session as unknown as Schema['sessions'])
        .execute();
    });

    await using kith = await startKith({ database });
    const keyring = createKeyring(kith.config.secretKey!);
    const refreshToken = writeRefreshToken(keyring, { sessionId: session.id, counter: 0 });
    const { accessToken } = await kith.client(AuthService).refreshAccessToken({ refreshToken });
    expect(decodeJwt(accessToken)['amr']).toEqual(['pwd']);
    const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: user.id });
    expect(sessions).toMatchObject([{ id: session.id, methods: [SignInMethod.PASSWORD], userAgent: '', address: '' }]);
  },
);
