import { type ActivityApp, createWatchLimits } from '../../src/activity/activity.ts';
import { Tail } from '../../src/activity/log/tail.ts';
import { Background } from '../../src/kernel/background.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { ContactsApp } from '../../src/contacts/contacts.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { createKeyring } from '../../src/kernel/keyring.ts';
import { createPasswords } from '../../src/identity/passwords/passwords.ts';
import { startRevocations } from '../../src/identity/revocations/revocations.ts';
import { createSessionUsers } from '../../src/identity/sessions/refresh-payer.ts';
import { renew, type SessionsApp } from '../../src/identity/sessions/sessions.ts';
import { createAccessTokens } from '../../src/identity/tokens/access-token.ts';
import { SigningKeys } from '../../src/identity/tokens/signing-keys.ts';

/** Kith's own store, rules and token check, without its way of serving. Settings are those of Kith. */
export async function openApp(): Promise<SessionsApp & ActivityApp & ContactsApp> {
  const config = parseConfig(process.env);
  if (config.secretKey === undefined) throw new Error('KITH_SECRET_KEY is missing');
  const database = await openDatabase(config.databaseUrl, config.databaseLimits);
  const keyring = createKeyring(config.secretKey);
  const onError = (error: unknown): void => console.error(error);
  const signingKeys = await SigningKeys.open({
    database,
    keyring,
    now: Date.now,
    monotonic: () => performance.now(),
    periodMs: config.signingKeyMs,
    onRotated: () => {},
    onError,
  });
  const app: SessionsApp & ActivityApp & ContactsApp = {
    database,
    keyring,
    passwords: await createPasswords(),
    now: Date.now,
    background: new Background(onError),
    purgeAfterMs: config.purgeAfterMs,
    accessTokenTtlMs: config.accessTokenTtlMs,
    activityRetentionMs: config.activityRetentionMs,
    contacts: config.contacts,
    accessTokens: createAccessTokens(signingKeys, {
      issuer: config.issuer,
      audience: config.audience,
      ttlMs: config.accessTokenTtlMs,
      now: Date.now,
    }),
    sessions: {
      idleMs: config.sessionIdleMs,
      maxMs: config.sessionMaxMs,
      perUserMax: config.sessionsPerUserMax,
    },
    sessionUsers: createSessionUsers(),
    revocations: await startRevocations(database, { now: Date.now, monotonic: () => performance.now(), onError }),
    tail: new Tail(database, onError),
    ...createWatchLimits(config.watchesMax),
    progressMs: 15_000,
    stallMs: 30_000,
    monotonic: () => performance.now(),
    renew: (caller) => renew(app, caller),
  };
  return app;
}
