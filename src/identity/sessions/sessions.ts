import {
  type Caller,
  type Peer,
  permissionsOfRole,
  requireNotAbove,
  type Role,
  type SignInMethod,
} from '../../kernel/access.ts';
import { type Actor, type KithActivity, recordActivity } from '../../activity/log/log.ts';
import type { App } from '../../app.ts';
import { payFor } from '../../budget/current-payer.ts';
import { countedAddress } from '../../kernel/address.ts';
import { ageOf } from '../../kernel/clock.ts';
import type { Db } from '../../storage/database.ts';
import { Failure } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import type { AccessToken, AccessTokenClaims, AccessTokens } from '../tokens/access-token.ts';
import { refreshPayer, type SessionUsers } from './refresh-payer.ts';
import { readRefreshToken, writeRefreshToken } from './refresh-token.ts';
import { type Revocations, revokeSession, revokeSessions } from '../revocations/revocations.ts';
import {
  deleteExpired,
  deleteSessionsOf,
  endSessionRow,
  endSessionRows,
  endSessionRowsById,
  insertSession,
  type SessionRow,
  type SessionState,
  selectLiveSessions,
  selectRole,
  selectAddresses,
  selectSession,
  selectSessions,
  setSessionEpoch,
  stepSession,
} from './store.ts';

/** How long after its first use a refresh token returns the same successor again, milliseconds. */
const REPLAY_WINDOW_MS = 30_000;

export interface SessionOptions {
  /** How long a session lives unless refreshed, milliseconds. */
  readonly idleMs: number;
  /** How long a session lives at the most, milliseconds. */
  readonly maxMs: number;
  /** How many sessions a user may have. */
  readonly perUserMax: number;
}

export interface SessionsApp extends App {
  readonly accessTokens: AccessTokens;
  readonly sessions: SessionOptions;
  readonly sessionUsers: SessionUsers;
  readonly revocations: Revocations;
}

export type Session = SessionRow;

export interface Tokens {
  readonly access: AccessToken;
  readonly refreshToken: string;
  readonly refreshExpireMs: number;
}

/** How many of a user's sessions with the same user agent are looked at, the newest. */
const DEVICE_SESSIONS_MAX = 100;

/** Whether the user has a session, over or not, that is kept and was opened with this user agent from this address. */
export async function isKnownDevice(db: Db, userId: string, { userAgent, address }: Peer): Promise<boolean> {
  const addresses = await selectAddresses(db, userId, userAgent, DEVICE_SESSIONS_MAX);
  return addresses.some((each) => countedAddress(each) === countedAddress(address));
}

/**
 * Opens a session, in the transaction that found that the user may sign in. Ends the oldest
 * sessions if the user has more than allowed.
 */
export async function startSession(
  tx: Db,
  app: Pick<SessionsApp, 'database' | 'now' | 'sessions'>,
  user: { readonly id: string; readonly sessionEpoch: number },
  peer: Peer,
  methods: readonly SignInMethod[],
): Promise<Session> {
  const now = app.now();
  const session: SessionRow = {
    id: newId(),
    user_id: user.id,
    epoch: user.sessionEpoch,
    refresh_counter: 0,
    refresh_ms: now,
    user_agent: peer.userAgent,
    address: peer.address,
    methods: methods.join(),
    create_ms: now,
    expire_ms: now + Math.min(app.sessions.idleMs, app.sessions.maxMs),
    end_by_ms: now + app.sessions.maxMs,
    end_ms: null,
  };
  const by = { userId: user.id, sessionId: session.id };
  // A session begun before the clock was set back looks newer than it is.
  const isOfFuture = ({ create_ms: createMs }: SessionRow) => ageOf(createMs, now) === Number.POSITIVE_INFINITY;
  const present = (await selectLiveSessions(tx, user.id, now)).toSorted(
    (a, b) => Number(isOfFuture(a)) - Number(isOfFuture(b)),
  );
  const surplus = present.slice(app.sessions.perUserMax - 1).map(({ id }) => id);
  if (surplus.length > 0) {
    await endSessionRowsById(tx, surplus, now);
    await revokeSessions(tx, app, user.id, surplus);
    await recordActivity(tx, app, ...sessionActivities(user.id, by, 'kith.session.revoked', surplus));
  }
  await insertSession(tx, session);
  await recordActivity(tx, app, ...sessionActivities(user.id, by, 'kith.session.started', [session.id]));
  return session;
}

/**
 * Replaces the refresh token of a session. The immediate predecessor returns the same successor
 * for 30 s; an older token ends the session (RFC 9700, 4.14.2).
 *
 * Throws refresh_token_invalid, refresh_token_reused, session_ended.
 */
export async function refresh(app: SessionsApp, refreshToken: string): Promise<Tokens> {
  const { sessionId, counter } = readRefreshToken(app.keyring, refreshToken);
  const payer = await refreshPayer(app, sessionId);
  if (payer === undefined) throw sessionEnded();
  return payFor(payer, () => refreshSession(app, sessionId, counter));
}

async function refreshSession(app: SessionsApp, sessionId: string, counter: number): Promise<Tokens> {
  const now = app.now();
  const outcome = await app.database.transaction(async (tx) => {
    const state = await selectSession(tx, sessionId);
    if (!isAlive(state, now)) return 'ended';
    const { session } = state;
    // No session has longer to go than one that begins now, unless it began before the clock was set back.
    const endByMs = Math.min(session.end_by_ms, now + app.sessions.maxMs);
    if (session.refresh_counter === counter) {
      const stepped = {
        refresh_counter: counter + 1,
        refresh_ms: now,
        expire_ms: Math.min(now + app.sessions.idleMs, endByMs),
        end_by_ms: endByMs,
      };
      await stepSession(tx, { id: sessionId, ...stepped });
      return { ...state, session: { ...session, ...stepped } };
    }
    if (session.refresh_counter === counter + 1 && ageOf(session.refresh_ms, now) <= REPLAY_WINDOW_MS) return state;
    if (session.refresh_counter <= counter) return 'unknown'; // the database was restored to before this step
    await endSessionRow(tx, session.user_id, sessionId, now);
    await revokeSession(tx, app, { userId: session.user_id, sessionId });
    await recordActivity(tx, app, ...sessionActivities(session.user_id, null, 'kith.session.revoked', [sessionId]));
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

/**
 * The caller of a valid access token with their present role, without a query. Returns a promise
 * only if it has to wait, which is rare.
 *
 * Rejects with access_token_invalid, access_token_expired, session_ended, server_unavailable.
 */
export function authenticate(app: SessionsApp, accessToken: string): Caller | Promise<Caller> {
  const claims = app.accessTokens.verify(accessToken);
  if (claims instanceof Promise) return claims.then((verified) => currentCaller(app, verified));
  const role = app.revocations.currentRoleSync(claims);
  return role === undefined ? currentCaller(app, claims) : toCaller(claims, role);
}

async function currentCaller(app: SessionsApp, claims: AccessTokenClaims): Promise<Caller> {
  return toCaller(claims, await app.revocations.currentRole(claims));
}

function toCaller({ userId, sessionId, kind, scope, signInMs }: AccessTokenClaims, role: Role): Caller {
  const allowed = permissionsOfRole(role);
  return {
    userId,
    sessionId,
    kind,
    permissions: scope === undefined ? allowed : scope.intersection(allowed),
    signInMs,
  };
}

/** The caller of a session with their present role, from the database. Throws session_ended. */
export async function renew(app: App, { userId, sessionId }: Pick<Caller, 'userId' | 'sessionId'>): Promise<Caller> {
  const state = await selectSession(app.database.db, sessionId);
  if (!isAlive(state, app.now()) || state.session.user_id !== userId) throw sessionEnded();
  return {
    userId,
    sessionId,
    kind: 'session',
    permissions: permissionsOfRole(state.role),
    signInMs: state.session.create_ms,
  };
}

/** A session as the contract shows it; times in milliseconds since 1970. */
export interface SessionInfo {
  readonly id: string;
  readonly userId: string;
  readonly userAgent: string;
  readonly address: string;
  readonly methods: readonly SignInMethod[];
  readonly createMs: number;
  readonly lastUsedMs: number;
  readonly expireMs: number;
  /** Whether the caller uses it for this call. */
  readonly isCurrent: boolean;
}

/** The sessions of a user that are not over, newest first. Throws user_not_found. */
export async function listSessions(app: App, caller: Caller, userId: string): Promise<SessionInfo[]> {
  const { db } = app.database;
  const sessions = await selectLiveSessions(db, userId, app.now());
  if (sessions.length === 0) await requireUser(app, db, userId);
  return sessions.map((session) => toInfo(session, caller));
}

function toInfo(session: SessionRow, caller: Caller): SessionInfo {
  return {
    id: session.id,
    userId: session.user_id,
    userAgent: session.user_agent,
    address: session.address,
    methods: methodsOf(session),
    createMs: session.create_ms,
    lastUsedMs: session.refresh_ms,
    expireMs: session.expire_ms,
    isCurrent: session.id === caller.sessionId,
  };
}

/** A session that may be over: `endMs` is when it was ended before its time. */
export interface KeptSession extends SessionInfo {
  readonly endMs: number | null;
}

/** Up to `limit` sessions of a user that are kept, those that are over among them, newest first, after one of them. */
export async function keptSessions(
  app: Pick<App, 'database'>,
  caller: Caller,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<KeptSession[]> {
  const rows = await selectSessions(app.database.db, userId, after, limit);
  return rows.map((row) => ({ ...toInfo(row, caller), endMs: row.end_ms }));
}

/** Removes up to `limit` sessions of a user who is about to be removed. Returns how many were removed. */
export function removeSessionsOf(app: Pick<App, 'database'>, userId: string, limit: number): Promise<number> {
  return deleteSessionsOf(app.database.db, userId, limit);
}

/** Ends a session of a user. Throws session_not_found, permission_missing. */
export async function endSession(app: App, caller: Caller, userId: string, sessionId: string): Promise<void> {
  await app.database.transaction(async (tx) => {
    const state = await selectSession(tx, sessionId);
    if (!isAlive(state, app.now()) || state.session.user_id !== userId) {
      throw new Failure('session_not_found', 'the user has no such session, or not any more');
    }
    requireNotAbove(caller, { id: userId, role: state.role });
    await endSessionRow(tx, userId, sessionId, app.now());
    await revokeSession(tx, app, { userId, sessionId });
    await recordActivity(tx, app, ...sessionActivities(userId, caller, 'kith.session.revoked', [sessionId]));
  }, sessionId);
}

/** Ends all sessions of a user, or all but the caller's. Returns how many. Throws user_not_found, permission_missing. */
export async function endAllSessions(
  app: App,
  caller: Caller,
  userId: string,
  { keepCurrent }: { readonly keepCurrent: boolean },
): Promise<number> {
  return app.database.transaction(async (tx) => {
    requireNotAbove(caller, { id: userId, role: await requireUser(app, tx, userId) });
    return endSessionsOf(tx, app, userId, { by: caller, but: keepCurrent ? caller.sessionId : undefined });
  }, userId);
}

/**
 * Ends all sessions of a user, or all but `but`, in the transaction of the change that requires it.
 * Returns how many. `by` is who made that change.
 */
export async function endSessionsOf(
  tx: Db,
  app: App,
  userId: string,
  { by, but }: { readonly by: Actor | null; readonly but?: string | undefined },
): Promise<number> {
  const ended = await endSessionRows(tx, userId, but, app.now());
  await revokeSessions(tx, app, userId, ended);
  await recordActivity(tx, app, ...sessionActivities(userId, by, 'kith.session.revoked', ended));
  return ended.length;
}

/** Ends the caller's session. */
export async function logout(app: SessionsApp, caller: Caller): Promise<void> {
  const { userId, sessionId } = caller;
  await app.database.transaction(async (tx) => {
    if (!(await endSessionRow(tx, userId, sessionId, app.now()))) return;
    await revokeSession(tx, app, { userId, sessionId });
    await recordActivity(tx, app, ...sessionActivities(userId, caller, 'kith.session.ended', [sessionId]));
  }, sessionId);
}

/** Throws session_ended. */
export async function requireSession(tx: Db, app: App, sessionId: string): Promise<void> {
  if (!isAlive(await selectSession(tx, sessionId), app.now())) throw sessionEnded();
}

/** Moves a session to its user's new epoch, which ends the other sessions. */
export const keepSession = setSessionEpoch;

/** Removes up to `limit` expired sessions. Returns how many were removed. */
export function purgeSessions(app: App, limit: number): Promise<number> {
  return deleteExpired(app.database.db, app.now(), limit);
}

/** One activity for each session. They do not say where a session came from: others may read them. */
function sessionActivities(
  userId: string,
  by: Actor | null,
  action: KithActivity['action'],
  sessionIds: readonly string[],
): KithActivity[] {
  return sessionIds.map((id) => ({ userId, by, action, attributes: { session_id: id } }));
}

/** The role of a user who is not purged. */
async function requireUser(app: App, db: Db, id: string): Promise<Role> {
  const role = await selectRole(db, id, app.now());
  if (role === undefined) throw new Failure('user_not_found', 'no user has this id');
  return role;
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

function methodsOf({ methods }: SessionRow): SignInMethod[] {
  return methods.split(',') as SignInMethod[];
}

/** The tokens of a session at its present step. */
export async function tokensOf(app: SessionsApp, session: SessionRow, role: Role): Promise<Tokens> {
  return {
    access: await app.accessTokens.sign({
      userId: session.user_id,
      sessionId: session.id,
      role,
      methods: methodsOf(session),
      signInMs: session.create_ms,
      notAfterMs: session.expire_ms,
    }),
    refreshToken: writeRefreshToken(app.keyring, { sessionId: session.id, counter: session.refresh_counter }),
    refreshExpireMs: session.expire_ms,
  };
}

export function sessionEnded(): Failure {
  return new Failure('session_ended', 'the session has ended: sign in again');
}
