import { randomUUIDv7 } from 'node:crypto';
import { type Caller, type Permission, PERMISSIONS_OF_ROLE, type Role } from '../access.ts';
import { appendActivities } from '../activity/log.ts';
import type { App } from '../app.ts';
import type { Db } from '../db/database.ts';
import { Failure } from '../failure.ts';
import { findAccount, getAccount, recordSignIn, replacePassword } from '../users/accounts.ts';
import type { User } from '../users/user.ts';
import { checkPasswordIsNoIdentifier } from '../users/users.ts';
import type { AccessToken, AccessTokens } from './access-token.ts';
import { readRefreshToken, writeRefreshToken } from './refresh-token.ts';
import {
  deleteExpired,
  endSessionRow,
  insertSession,
  type SessionRow,
  type SessionState,
  selectSession,
  setSessionEpoch,
  stepSession,
} from './store.ts';

/** How long after its use a refresh token still gives the successor it gave, milliseconds. */
const REPLAY_WINDOW_MS = 30_000;

export interface SessionOptions {
  /** How long a session lives unless refreshed, milliseconds. */
  readonly idleMs: number;
  /** How long a session lives at the most, milliseconds. */
  readonly maxMs: number;
}

export interface AuthApp extends App {
  readonly accessTokens: AccessTokens;
  readonly sessions: SessionOptions;
}

export interface Tokens {
  readonly access: AccessToken;
  readonly refreshToken: string;
  readonly refreshExpireMs: number;
}

/**
 * Opens a session for a username or email address and its password.
 *
 * Throws credentials_invalid, alike in text and work for an unknown user, a wrong
 * password and a user who may not sign in, and server_busy.
 */
export async function login(
  app: AuthApp,
  identifier: string,
  password: string,
): Promise<{ tokens: Tokens; user: User }> {
  const account = await findAccount(app.database.db, identifier);
  const right = await app.passwords.verify(account?.passwordHash, password);
  if (!right || account?.user.state !== 'active') {
    // Not before the answer: it would take longer for a user who exists.
    if (account !== undefined) app.background.run(() => tellOfFailure(app, account.user.id));
    throw credentialsInvalid();
  }
  const stronger = app.passwords.isOutdated(account.passwordHash) ? await app.passwords.hash(password) : undefined;
  const now = app.now();
  const session: SessionRow = {
    id: randomUUIDv7(),
    user_id: account.user.id,
    epoch: account.sessionEpoch,
    refresh_counter: 0,
    refresh_ms: now,
    create_ms: now,
    expire_ms: now + Math.min(app.sessions.idleMs, app.sessions.maxMs),
    end_by_ms: now + app.sessions.maxMs,
    end_ms: null,
  };
  const user = await app.database.transaction(async (tx) => {
    // Hashing took a while: the user may have been suspended or given another password since. Either
    // begins a new epoch; a new hash alone may be the same password, from a sign-in at the same time.
    const current = await getAccount(tx, account.user.id);
    if (current?.user.state !== 'active' || current.sessionEpoch !== account.sessionEpoch) throw credentialsInvalid();
    await insertSession(tx, session);
    await recordSignIn(tx, current.user.id, now, stronger);
    await tell(tx, app, current.user.id, 'kith.session.started');
    return current.user;
  }, account.user.id);
  return { tokens: await tokensOf(app, session, user.role), user };
}

/**
 * Takes a session one step further. The immediate predecessor gives the same
 * successor again for 30 s; anything older ends the session (RFC 9700, 4.14.2).
 *
 * Throws refresh_token_invalid, refresh_token_reused, session_ended.
 */
export async function refresh(app: AuthApp, refreshToken: string): Promise<Tokens> {
  const { sessionId, counter } = readRefreshToken(app.keyring, refreshToken);
  const now = app.now();
  const outcome = await app.database.transaction(async (tx) => {
    const state = await selectSession(tx, sessionId);
    if (!isAlive(state, now)) return 'ended';
    const { session } = state;
    const expireMs = Math.min(now + app.sessions.idleMs, session.end_by_ms);
    if (await stepSession(tx, sessionId, counter, { refresh_ms: now, expire_ms: expireMs })) {
      return { ...state, session: { ...session, refresh_counter: counter + 1, expire_ms: expireMs } };
    }
    if (session.refresh_counter === counter + 1 && now - session.refresh_ms <= REPLAY_WINDOW_MS) return state;
    if (session.refresh_counter <= counter) return 'unknown'; // the database was restored to before this step
    await endSessionRow(tx, sessionId, now);
    await tell(tx, app, session.user_id, 'kith.session.revoked');
    return 'reused';
  }, sessionId);
  switch (outcome) {
    case 'ended':
      throw sessionEnded();
    case 'unknown':
      throw new Failure('refresh_token_invalid', 'the refresh token is not known: sign in');
    case 'reused':
      throw new Failure(
        'refresh_token_reused',
        'the refresh token was used before, so somebody else may hold it; the session has been ended: sign in',
      );
    default:
      return tokensOf(app, outcome.session, outcome.role);
  }
}

/** Who a valid access token speaks for, as they are now. Throws access_token_invalid, access_token_expired, session_ended. */
export async function authenticate(app: AuthApp, accessToken: string): Promise<Caller> {
  return renew(app, await app.accessTokens.verify(accessToken));
}

/** The caller as they are now. Throws session_ended. */
export async function renew(app: App, { userId, sessionId }: Pick<Caller, 'userId' | 'sessionId'>): Promise<Caller> {
  const state = await selectSession(app.database.db, sessionId);
  if (!isAlive(state, app.now()) || state.session.user_id !== userId) throw sessionEnded();
  return { userId, sessionId, permissions: PERMISSIONS_OF_ROLE[state.role] };
}

/** The caller as they are now, with what they are allowed. */
export async function me(app: AuthApp, caller: Caller): Promise<{ user: User; permissions: ReadonlySet<Permission> }> {
  const account = await getAccount(app.database.db, caller.userId);
  if (account === undefined) throw sessionEnded();
  return { user: account.user, permissions: caller.permissions };
}

/** Ends the caller's session. */
export async function logout(app: AuthApp, caller: Caller): Promise<void> {
  await app.database.transaction(async (tx) => {
    await endSessionRow(tx, caller.sessionId, app.now());
    await tell(tx, app, caller.userId, 'kith.session.ended');
  });
}

/** Changes the caller's password and ends the other sessions. Throws password_wrong, password_is_identifier, server_busy. */
export async function changePassword(app: AuthApp, caller: Caller, current: string, next: string): Promise<void> {
  const account = await getAccount(app.database.db, caller.userId);
  if (account === undefined) throw sessionEnded();
  if (!(await app.passwords.verify(account.passwordHash, current))) throw passwordWrong();
  checkPasswordIsNoIdentifier(next, account.user);
  const hash = await app.passwords.hash(next);
  await app.database.transaction(async (tx) => {
    // The session may have ended while hashing: it must not be taken along into the new epoch.
    const latest = await getAccount(tx, caller.userId);
    if (latest === undefined || !isAlive(await selectSession(tx, caller.sessionId), app.now())) throw sessionEnded();
    if (latest.sessionEpoch !== account.sessionEpoch) throw passwordWrong(); // another call changed it meanwhile
    await setSessionEpoch(tx, caller.sessionId, await replacePassword(tx, latest, hash));
    await tell(tx, app, caller.userId, 'kith.password.changed');
  }, caller.userId);
}

/** Removes up to `limit` sessions whose time is over; how many there were. */
export function purgeSessions(app: App, limit: number): Promise<number> {
  return deleteExpired(app.database.db, app.now(), limit);
}

/** Tells of what a user did to the own account, in the transaction that does it. */
async function tell(tx: Db, app: App, userId: string, action: string): Promise<void> {
  await appendActivities(tx, app, [{ userId, actorId: userId, action }]);
}

function tellOfFailure(app: App, userId: string): Promise<unknown> {
  return app.database.transaction((tx) =>
    appendActivities(tx, app, [{ userId, actorId: null, action: 'kith.sign_in.failed' }]),
  );
}

function isAlive(state: SessionState | undefined, nowMs: number): state is SessionState {
  return (
    state !== undefined &&
    state.session.end_ms === null &&
    state.session.expire_ms > nowMs &&
    state.session.epoch === state.userEpoch &&
    state.userState === 'active'
  );
}

async function tokensOf(app: AuthApp, session: SessionRow, role: Role): Promise<Tokens> {
  return {
    access: await app.accessTokens.sign({
      userId: session.user_id,
      sessionId: session.id,
      role,
      signInMs: session.create_ms,
    }),
    refreshToken: writeRefreshToken(app.keyring, { sessionId: session.id, counter: session.refresh_counter }),
    refreshExpireMs: session.expire_ms,
  };
}

function credentialsInvalid(): Failure {
  return new Failure('credentials_invalid', 'the identifier or the password is wrong, or the user may not sign in');
}

function passwordWrong(): Failure {
  return new Failure('password_wrong', 'the current password is wrong');
}

function sessionEnded(): Failure {
  return new Failure('session_ended', 'the session has ended: sign in again');
}
