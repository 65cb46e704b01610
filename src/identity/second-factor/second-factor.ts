import { type Caller, type Peer, requireNotAbove } from '../../kernel/access.ts';
import { recordActivity } from '../../activity/log/log.ts';
import type { App } from '../../app.ts';
import { ageOf } from '../../kernel/clock.ts';
import type { Db } from '../../storage/database.ts';
import { Failure } from '../../kernel/failure.ts';
import { type NoticeKind, writeNotice } from '../../mail/notices.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { endSessionsOf, requireSession, type SessionsApp, sessionEnded } from '../sessions/sessions.ts';
import { beginAttempt, guessCode, type ThrottleApp } from '../throttle/throttle.ts';
import { getAccount } from '../users/accounts.ts';
import { createRecoveryCodes, recoveryCodeMac } from './recovery-codes.ts';
import {
  confirmEnrolment,
  countRecoveryCodes,
  deleteEnrolments,
  deleteRecoveryCode,
  deleteSecondFactor,
  replaceEnrolment,
  replaceRecoveryCodeRows,
  type SecondFactorRow,
  selectSecondFactor,
  useStep,
} from './store.ts';
import { base32, createTotpSecret, latestStepAt, matchingStep, otpauthUri } from './totp.ts';

/** How long an enrolment waits for its first code, milliseconds. */
const ENROLMENT_MS = 10 * 60 * 1000;

export interface SecondFactorApp extends SessionsApp, ThrottleApp, MailApp {
  /** What authenticator apps show beside the user's codes. */
  readonly totpIssuer: string;
}

export interface SecondFactor {
  /** When the authenticator app was confirmed, milliseconds since 1970; undefined without one. */
  readonly totpConfirmMs: number | undefined;
  readonly recoveryCodesLeft: number;
}

/** What the caller has. */
export async function getSecondFactor({ database }: App, { userId }: Pick<Caller, 'userId'>): Promise<SecondFactor> {
  const row = await selectSecondFactor(database.db, userId);
  return {
    totpConfirmMs: row?.confirm_ms ?? undefined,
    recoveryCodesLeft: await countRecoveryCodes(database.db, userId),
  };
}

export interface TotpEnrolment {
  /** Base32. */
  readonly secret: string;
  readonly uri: string;
  readonly expireMs: number;
}

/** Begins to add an authenticator app, in place of an earlier enrolment. Throws second_factor_enabled, session_ended. */
export async function enrollTotp(app: SecondFactorApp, caller: Caller): Promise<TotpEnrolment> {
  const secret = createTotpSecret();
  const beginMs = app.now();
  const email = await app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    const account = await getAccount(tx, caller.userId);
    if (account === undefined) throw sessionEnded();
    const secret_sealed = app.keyring.seal('totp-secret', secret.toString('base64url'), caller.userId);
    const begun = await replaceEnrolment(tx, { user_id: caller.userId, secret_sealed, create_ms: beginMs });
    if (!begun) throw secondFactorEnabled();
    return account.user.email;
  }, caller.userId);
  return {
    secret: base32(secret),
    uri: otpauthUri(secret, { issuer: app.totpIssuer, account: email }),
    expireMs: beginMs + ENROLMENT_MS,
  };
}

/**
 * Adds the authenticator app that shows it has the secret, and ends the caller's
 * other sessions, which were opened without. The recovery codes, which are shown
 * once.
 *
 * Throws totp_not_enrolled, second_factor_enabled, totp_code_wrong,
 * too_many_attempts, session_ended.
 */
export async function confirmTotp(
  app: SecondFactorApp,
  caller: Caller,
  peer: Peer,
  code: string,
): Promise<readonly string[]> {
  requireEnrolment(await selectSecondFactor(app.database.db, caller.userId), app.now());
  const attempt = await beginAttempt(app, peer);
  let recoveryCodes: readonly string[] = [];
  const { right } = await guessCode(app, attempt, caller.userId, async (granted) => {
    recoveryCodes = await confirmWith(app, caller, code, granted);
    return recoveryCodes.length > 0;
  });
  if (!right) throw totpCodeWrong();
  return recoveryCodes;
}

/** The recovery codes, or none when the code is wrong. A guess that is not granted takes the time of one that is. */
function confirmWith(app: SecondFactorApp, caller: Caller, code: string, granted: boolean): Promise<readonly string[]> {
  const { userId } = caller;
  return app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    const now = app.now();
    const row = requireEnrolment(await selectSecondFactor(tx, userId), now);
    const step = matchingStep(openSecret(app, row), code, now);
    if (step === undefined || !granted) return [];
    if (!(await confirmEnrolment(tx, userId, step, now))) throw secondFactorEnabled();
    await endSessionsOf(tx, app, userId, { by: caller, but: caller.sessionId });
    await recordActivity(tx, app, { userId, by: caller, action: 'kith.second_factor.enabled' });
    await tell(tx, app, userId, 'second_factor_enabled');
    return giveRecoveryCodes(tx, app, userId);
  }, userId);
}

/** Removes the caller's authenticator app and recovery codes. Throws second_factor_not_enabled, session_ended. */
export async function disableTotp(app: SecondFactorApp, caller: Caller): Promise<void> {
  await app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    if (!(await deleteSecondFactor(tx, caller.userId))) throw secondFactorNotEnabled();
    await recordActivity(tx, app, { userId: caller.userId, by: caller, action: 'kith.second_factor.disabled' });
    await tell(tx, app, caller.userId, 'second_factor_disabled');
  }, caller.userId);
}

/** Gives the caller new recovery codes in place of those there were. Throws second_factor_not_enabled, session_ended. */
export async function replaceRecoveryCodes(app: SecondFactorApp, caller: Caller): Promise<string[]> {
  return app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    if (!(await hasSecondFactor(tx, caller.userId))) throw secondFactorNotEnabled();
    await recordActivity(tx, app, {
      userId: caller.userId,
      by: caller,
      action: 'kith.second_factor.recovery_codes_replaced',
    });
    await tell(tx, app, caller.userId, 'recovery_codes_replaced');
    return giveRecoveryCodes(tx, app, caller.userId);
  }, caller.userId);
}

/**
 * Removes the second factor of a user who has lost it, and ends all of the user's
 * sessions, the caller's own too where that is the user.
 *
 * Throws user_not_found, permission_missing, second_factor_not_enabled, session_ended.
 */
export async function resetSecondFactor(app: SecondFactorApp, caller: Caller, userId: string): Promise<void> {
  await app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    const user = (await getAccount(tx, userId))?.user;
    if (user === undefined || (user.purgeMs !== null && user.purgeMs <= app.now())) {
      throw new Failure('user_not_found', 'no user has this id');
    }
    requireNotAbove(caller, user);
    if (!(await deleteSecondFactor(tx, userId))) throw secondFactorNotEnabled();
    await endSessionsOf(tx, app, userId, { by: caller });
    await recordActivity(tx, app, { userId, by: caller, action: 'kith.second_factor.reset' });
    await writeNotice(tx, app, user, 'second_factor_reset', { timeMs: app.now() });
  }, userId);
}

/**
 * Whether signing in takes a code. Ask again in the transaction that opens the
 * session: an app may have been confirmed since the password was looked at.
 */
export async function hasSecondFactor(db: Db, userId: string): Promise<boolean> {
  const row = await selectSecondFactor(db, userId);
  return row !== undefined && row.confirm_ms !== null;
}

/** Whether the user has a recovery code left. */
export async function hasRecoveryCode(db: Db, userId: string): Promise<boolean> {
  return (await countRecoveryCodes(db, userId)) > 0;
}

/**
 * Accepts a code of the user's authenticator app; whether it is one. Each is
 * accepted once, and none after a later one. Count the attempt before: nothing
 * here bounds guesses.
 */
export async function acceptTotp(tx: Db, app: App, userId: string, code: string): Promise<boolean> {
  const row = await selectSecondFactor(tx, userId);
  if (row === undefined || row.confirm_ms === null) return false;
  const now = app.now();
  const step = matchingStep(openSecret(app, row), code, now);
  return step !== undefined && (await useStep(tx, userId, step, latestStepAt(now)));
}

/** Accepts one of the user's recovery codes, however it is spelled; whether it is one. Each is accepted once. Count the attempt before. */
export async function acceptRecoveryCode(tx: Db, app: App, userId: string, code: string): Promise<boolean> {
  if (!(await deleteRecoveryCode(tx, userId, recoveryCodeMac(app.keyring, userId, code)))) return false;
  const left = await countRecoveryCodes(tx, userId);
  await recordActivity(tx, app, {
    userId,
    by: { userId },
    action: 'kith.second_factor.recovery_code_used',
    attributes: { recovery_codes_left: String(left) },
  });
  return true;
}

/** Removes up to `limit` enrolments that were not confirmed in time; how many there were. */
export function purgeEnrolments(app: App, limit: number): Promise<number> {
  return deleteEnrolments(app.database.db, app.now() - ENROLMENT_MS, limit);
}

async function giveRecoveryCodes(tx: Db, app: App, userId: string): Promise<string[]> {
  const codes = createRecoveryCodes();
  const macs = codes.map((code) => recoveryCodeMac(app.keyring, userId, code));
  await replaceRecoveryCodeRows(tx, userId, macs);
  return codes;
}

/** Tells the caller of a change of their own. */
async function tell(
  tx: Db,
  app: SecondFactorApp,
  userId: string,
  kind: Extract<NoticeKind, `second_factor_${string}` | 'recovery_codes_replaced'>,
): Promise<void> {
  const account = await getAccount(tx, userId);
  if (account !== undefined) await writeNotice(tx, app, account.user, kind, { timeMs: app.now() });
}

function requireEnrolment(row: SecondFactorRow | undefined, nowMs: number): SecondFactorRow {
  if (row !== undefined && row.confirm_ms !== null) throw secondFactorEnabled();
  if (row === undefined || ageOf(row.create_ms, nowMs) >= ENROLMENT_MS) {
    throw new Failure('totp_not_enrolled', 'there is no enrolment to confirm, or it has expired: call EnrollTotp');
  }
  return row;
}

/** A secret that does not open was written by somebody else than Kith: what the operator has to know, and no caller can mend. */
function openSecret(app: App, row: SecondFactorRow): Buffer {
  const secret = app.keyring.open('totp-secret', row.secret_sealed, row.user_id);
  if (secret === undefined) {
    throw new Error(`the TOTP secret of user ${row.user_id} was not sealed with this secret key, or for another user`);
  }
  return Buffer.from(secret, 'base64url');
}

function secondFactorEnabled(): Failure {
  return new Failure('second_factor_enabled', 'there is a second factor already: disable it first');
}

function secondFactorNotEnabled(): Failure {
  return new Failure('second_factor_not_enabled', 'the user has no second factor');
}

/** The refusal to confirm, which leaves the caller signed in: whoever refreshes on unauthenticated has nothing to refresh. */
function totpCodeWrong(): Failure {
  return new Failure('totp_code_wrong', 'the code is wrong, or there were too many wrong ones: wait some minutes');
}

/** The refusal at sign-in of a code that is wrong or was used before, and of one that was not looked at after too many of those. */
export function secondFactorWrong(): Failure {
  return new Failure('second_factor_wrong', 'the code is wrong or was used before, or there were too many wrong ones');
}
