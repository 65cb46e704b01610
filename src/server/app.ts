import type { Logger } from 'pino';
import { type ActivityApp, createWatchLimits } from '../activity/activity.ts';
import { createRecordLimits } from '../activity/record-stream.ts';
import { Tail } from '../activity/log/tail.ts';
import type { Config } from '../config/config.ts';
import type { PhotosApp } from '../contacts/photos.ts';
import { type ApiKeyCallersApp, createKnownApiKeys, renewApiKeyCaller } from '../identity/api-keys/authenticate.ts';
import type { AuthApp } from '../identity/auth/auth.ts';
import { sessionCookies } from '../identity/auth/session-cookie.ts';
import { startRevocations } from '../identity/revocations/revocations.ts';
import type { SecondFactorApp } from '../identity/second-factor/second-factor.ts';
import { createSessionUsers } from '../identity/sessions/refresh-payer.ts';
import { renew } from '../identity/sessions/sessions.ts';
import { createThrottle } from '../identity/throttle/throttle.ts';
import { createAccessTokens } from '../identity/tokens/access-token.ts';
import type { SigningKeysApp } from '../identity/tokens/rotation.ts';
import { SigningKeys } from '../identity/tokens/signing-keys.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { MailTemplates } from '../mail/templates/templates.ts';
import { lockForServer } from '../storage/server-lock.ts';
import { openStore, type StoreOptions } from './store.ts';

/** How long a watch of activity says nothing before it says that, milliseconds: less than proxies wait. */
const PROGRESS_MS = 15_000;

/** How long a stream that records may send nothing, milliseconds. The contract says so. */
const RECORD_IDLE_MS = 300_000;

/** How long a watcher may stand still, milliseconds. */
const STALL_MS = 30_000;

export interface AppOptions extends Omit<StoreOptions, 'onBackgroundError'> {
  /**
   * What connections and their readers are timed by. Default: the clock of the machine, also where `clock` is another:
   * a test that lets a day go by would otherwise end every connection.
   */
  readonly connectionClock?: Clock | undefined;
  /** How long a watch of activity says nothing before it says that, milliseconds. */
  readonly progressMs?: number | undefined;
  /** How long a watcher may stand still, milliseconds. */
  readonly stallMs?: number | undefined;
  /** How long a stream that records may send nothing, milliseconds. */
  readonly recordIdleMs?: number | undefined;
  /** How long revocations that were read are relied on, milliseconds. */
  readonly revocationStaleMs?: number | undefined;
}

/** What the handlers of all services need. */
export type OpenedApp = AuthApp &
  SecondFactorApp &
  ActivityApp &
  SigningKeysApp &
  ApiKeyCallersApp &
  PhotosApp &
  AsyncDisposable;

/**
 * Opens the database and all that follows it: the log, revocations and signing keys. Disposing ends that in the
 * reverse order. Throws DatabaseError and SecretKeyError; what was opened until then is closed.
 */
export async function openApp(config: Config, log: Logger, options: AppOptions = {}): Promise<OpenedApp> {
  await using opened = new AsyncDisposableStack();
  const logFault = (what: string) => (err: unknown) => log.error({ err }, what);
  opened.use(await lockForServer(config.databaseUrl));
  const store = opened.use(
    await openStore(config, { ...options, onBackgroundError: logFault('background work failed') }),
  );
  const { database, keyring, now, monotonic } = store;
  const tail = opened.use(new Tail(database, logFault('could not read the activity log')));
  const revocations = opened.use(
    await startRevocations(database, {
      now,
      monotonic,
      onError: logFault('could not read revocations'),
      staleMs: options.revocationStaleMs,
    }),
  );
  const signingKeys = opened.use(
    await SigningKeys.open({
      database,
      keyring,
      now,
      monotonic,
      periodMs: config.signingKeyMs,
      onRotated: (kid, activateMs) =>
        log.info({ kid, activateTime: new Date(activateMs) }, 'created the next signing key'),
      onError: logFault('could not read signing keys'),
    }),
  );
  const running = opened.move();
  const app: OpenedApp = {
    ...store,
    tail,
    ...createWatchLimits(config.watchesMax),
    ...createRecordLimits(config.watchesMax),
    recordIdleMs: options.recordIdleMs ?? RECORD_IDLE_MS,
    progressMs: options.progressMs ?? PROGRESS_MS,
    stallMs: options.stallMs ?? STALL_MS,
    connectionClock: options.connectionClock ?? systemClock,
    renew: (caller) => (caller.kind === 'api_key' ? renewApiKeyCaller(app, caller) : renew(app, caller)),
    signingKeys,
    accessTokens: createAccessTokens(signingKeys, {
      issuer: config.issuer,
      audience: config.audience,
      ttlMs: config.accessTokenTtlMs,
      now,
    }),
    sessions: {
      idleMs: config.sessionIdleMs,
      maxMs: config.sessionMaxMs,
      perUserMax: config.sessionsPerUserMax,
    },
    sessionUsers: createSessionUsers(),
    revocations,
    throttle: createThrottle(config.signInFailuresPerAddress),
    sessionCookies: sessionCookies(config.issuer),
    resetsUnderWay: { count: 0 },
    signUp: config.signUp,
    loginCodes: config.loginCodes,
    mailTemplates: new MailTemplates({ ...config.mail, accountUrl: config.account.url, own: config.mailTemplates }),
    totpIssuer: new URL(config.issuer).hostname,
    knownApiKeys: createKnownApiKeys(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  return app;
}
