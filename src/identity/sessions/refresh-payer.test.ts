import { afterAll, beforeAll, expect, test } from 'vitest';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import type { Kith, SignedIn } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { currentPayer } from '../../budget/current-payer.ts';
import { createAccessTokens } from '../tokens/access-token.ts';
import { SigningKeys } from '../tokens/signing-keys.ts';
import { startRevocations } from '../revocations/revocations.ts';
import { createSessionUsers } from './refresh-payer.ts';
import { refresh, type SessionsApp } from './sessions.ts';

const cleanUp = new AsyncDisposableStack();
let kith: Kith;
let app: SessionsApp;
/** Who paid for each transaction. */
const payers: string[] = [];

beforeAll(async () => {
  kith = cleanUp.use(await startOn(databases[0]!));
  const opened = cleanUp.use(await openApp(kith));
  const { database, keyring, now } = opened;
  const clocks = { now, monotonic: () => performance.now() };
  const onError = (error: unknown) => {
    throw error;
  };
  const revocations = cleanUp.use(await startRevocations(database, { ...clocks, onError }));
  const options = { database, keyring, ...clocks, periodMs: 1e12, onRotated: () => {}, onError };
  const keys = cleanUp.use(await SigningKeys.open(options));
  app = {
    ...opened,
    database: {
      ...database,
      transaction(run, key) {
        payers.push(currentPayer());
        return database.transaction(run, key);
      },
    },
    accessTokens: createAccessTokens(keys, { issuer: 'https://kith.example.org', audience: 'kith', ttlMs: 3e5, now }),
    sessions: { idleMs: 1e9, maxMs: 1e9, perUserMax: 100 },
    sessionUsers: createSessionUsers(),
    revocations,
  };
});
afterAll(() => cleanUp.disposeAsync());

const signInAgain = ({ user, password }: SignedIn) =>
  signedIn(kith.client(AuthService).login({ identifier: user.username, password }));

test('all sessions of a user are refreshed on one share, that of the user', async () => {
  const [ann, bea] = [await kith.user(), await kith.user()];
  const held = [ann, await signInAgain(ann), await signInAgain(ann), bea];
  const payAll = async (refreshTokens: readonly string[]) => {
    payers.length = 0;
    const tokens: string[] = [];
    for (const token of refreshTokens) tokens.push((await refresh(app, token)).refreshToken);
    expect(payers).toEqual([ann, ann, ann, bea].map(({ user }) => `user:${user.id}`));
    return tokens;
  };
  const first = await payAll(held.map(({ refreshToken }) => refreshToken));
  await payAll(first); // by now it is remembered whose the sessions are
});
