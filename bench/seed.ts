import { createClient } from '@connectrpc/connect';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { createKeyring } from '../src/keyring.ts';
import { pageTokens } from '../src/pages.ts';
import { grpc } from '../test/support/kith.ts';
import { insertManyUsers } from '../test/support/many-users.ts';
import { startServing } from './load.ts';

const PASSWORD = 'password of the benchmark';
const SECRET = Buffer.alloc(32, 'bench');

/** A database to be measured. */
export interface Seed {
  readonly databaseFile: string;
  readonly accessToken: string;
  readonly userId: string;
  /** Oldest first. */
  readonly ids: readonly string[];
}

/** The settings of a server for it. */
export function kithEnv(databaseFile: string, lane: boolean): Record<string, string> {
  return {
    KITH_PORT: '0',
    KITH_DATABASE_URL: `sqlite:${databaseFile}`,
    KITH_ADMIN_PASSWORD: PASSWORD,
    KITH_SECRET_KEY: SECRET.toString('base64'),
    KITH_ISSUER: 'http://kith.example',
    KITH_ACCESS_TOKEN_SECONDS: '3600',
    KITH_LOG_LEVEL: 'error',
    KITH_FAST_LANE: String(lane),
  };
}

/** A database with so many users, and a token of its administrator. */
export async function seedDatabase(databaseFile: string, users: number): Promise<Seed> {
  const env = kithEnv(databaseFile, true);
  let signedIn: { accessToken: string; user?: { id: string } | undefined };
  {
    await using kith = await startServing('src/main.ts', [], env);
    signedIn = await createClient(AuthService, grpc(kith.address)).login({ identifier: 'admin', password: PASSWORD });
  }
  const ids: string[] = [];
  const AT_ONCE = 50_000;
  for (let done = 0; done < users; done += AT_ONCE) {
    const describe = (n: number) => ({
      name: `User ${done + n}`,
      username: `many-${done + n}`,
      email: `many-${done + n}@example.org`,
    });
    ids.push(...(await insertManyUsers(`sqlite:${databaseFile}`, Math.min(AT_ONCE, users - done), describe)));
  }
  return { databaseFile, accessToken: signedIn.accessToken, userId: signedIn.user?.id ?? '', ids };
}

/**
 * The page token of the last 20 users. The administrator is the oldest user, so 20 remain after the 20th that was made later.
 */
export function tokenOfLastPage({ ids, userId }: Seed): string {
  const filter = { role: undefined, states: ['active', 'suspended'], query: '' };
  return pageTokens<[string]>(createKeyring(SECRET), 'users', userId, filter).write([ids[19] ?? '']);
}
