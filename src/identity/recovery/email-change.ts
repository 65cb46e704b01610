import { recordActivity } from '../../activity/log/log.ts';
import { atOneTime } from '../../app.ts';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer } from '../../budget/payer.ts';
import type { Caller, Peer } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { identifierKey } from '../../kernel/text.ts';
import { writeNotice } from '../../mail/notices.ts';
import { writeMail } from '../../mail/outbox.ts';
import type { Db } from '../../storage/database.ts';
import { checkNewPassword } from '../passwords/rules.ts';
import { endSessionsOf, sessionEnded } from '../sessions/sessions.ts';
import { beginAttempt, forgiveAttempt, guessCode, mayMail } from '../throttle/throttle.ts';
import { type Account, findAccount, getAccount, replacePassword } from '../users/accounts.ts';
import { reportTakenIdentifiers, setProvedEmail } from '../users/users.ts';
import {
  createMailedCode,
  mailedCodeInvalid,
  NOBODY,
  takeMailedCode,
  userOfToken,
  voidLaterTokens,
} from './mailed-codes.ts';
import type { RecoveryApp } from './code-requests.ts';

/**
 * Has a code mailed to the caller's address, if it is not verified. Throws session_ended, too_many_attempts.
 */
export async function requestEmailVerification(app: RecoveryApp, { userId }: Caller): Promise<void> {
  const { user } = await requireAccount(app.database.db, userId);
  if (user.emailVerifiedMs !== undefined) return;
  await requireMayMail(app, user);
  await app.database.transaction(async (tx) => {
    const account = await requireAccount(tx, userId);
    const { code, expireMs } = await createMailedCode(tx, app, account, 'email_verification');
    await writeMail(tx, app, account.user, 'email_verification', { code }, expireMs);
  }, userId);
}

/** Marks the caller's address as verified. Throws mailed_code_invalid, session_ended, too_many_attempts. */
export function verifyEmail(app: RecoveryApp, caller: Caller, code: string, peer: Peer): Promise<void> {
  return guess(app, caller, peer, (granted) =>
    app.database.transaction(async (tx) => {
      const at = atOneTime(app);
      const account = await requireAccount(tx, caller.userId);
      const taken = await takeMailedCode(tx, at, account, 'email_verification', granted ? code : '');
      if (taken === undefined) return false;
      await setProvedEmail(tx, at, caller.userId, account.user.email, caller);
      return true;
    }, caller.userId),
  );
}

/**
 * Has a code mailed to another address, which is to be the caller's. Where it is another user's, that user is told and
 * the caller is not. Throws email_taken for the caller's own address, session_ended, too_many_attempts.
 */
export async function requestEmailChange(app: RecoveryApp, caller: Caller, email: string): Promise<void> {
  const { userId } = caller;
  const { user } = await requireAccount(app.database.db, userId);
  if (identifierKey(user.email) === identifierKey(email)) {
    throw new Failure('email_taken', 'this is your email address already', { field: 'email' });
  }
  await requireMayMail(app, { id: userId, email });
  await app.database.transaction(async (tx) => {
    const account = await requireAccount(tx, userId);
    const { code, expireMs } = await createMailedCode(tx, app, account, 'email_change', { address: email });
    const owner = await findAccount(tx, email);
    if (owner === undefined) await writeMail(tx, app, { ...account.user, email }, 'email_change', { code }, expireMs);
    else if (owner.user.state === 'active') await writeMail(tx, app, owner.user, 'email_taken', {});
    await recordActivity(tx, app, { userId, by: caller, action: 'kith.email.change_requested' });
  }, userId);
}

/**
 * Gives the caller the address that a code was mailed to, and tells the address before.
 *
 * Throws mailed_code_invalid, email_taken if another user has it by now, session_ended, too_many_attempts.
 */
export function confirmEmailChange(app: RecoveryApp, caller: Caller, code: string, peer: Peer): Promise<void> {
  const { userId } = caller;
  return guess(app, caller, peer, (granted) =>
    reportTakenIdentifiers(app, { id: userId }, () =>
      app.database.transaction(async (tx) => {
        const at = atOneTime(app);
        const account = await requireAccount(tx, userId);
        const taken = await takeMailedCode(tx, at, account, 'email_change', granted ? code : '');
        if (taken === undefined) return false;
        await setProvedEmail(tx, at, userId, taken.address, caller);
        await tellAddressBefore(tx, at, account);
        return true;
      }, userId),
    ),
  );
}

/** Mails a token to the address that a user had, if it was verified: one that never was may be a stranger's. */
async function tellAddressBefore(tx: Db, at: RecoveryApp, account: Account): Promise<void> {
  const { user } = account;
  const timeMs = at.now();
  if (user.emailVerifiedMs === undefined) return writeNotice(tx, at, user, 'email_changed', { timeMs });
  const { code: token, expireMs } = await createMailedCode(tx, at, account, 'email_take_back');
  return writeMail(tx, at, user, 'email_take_back', { token, timeMs }, expireMs);
}

export interface TakenBack {
  readonly token: string;
  readonly password: string;
  /** The address that the token was mailed to; undefined where it is not asked for. */
  readonly email: string | undefined;
}

/**
 * Gives a user the address back to which a token was mailed, sets another password, and ends all sessions: whoever
 * changed the address knows the present one perhaps. `signal` aborts the call while it waits to hash.
 *
 * Throws mailed_code_invalid, email_taken if another user has the address by now, what checkNewPassword throws, both of
 * which leave the token good, too_many_attempts, budget_exceeded, server_busy.
 */
export async function takeEmailBack(
  app: RecoveryApp,
  { token, password, email }: TakenBack,
  peer: Peer,
  signal?: AbortSignal,
): Promise<void> {
  const payer = addressPayer(peer.address);
  const id = userOfToken(token) ?? NOBODY.user.id;
  await payFor(payer, async () => {
    const attempt = await beginAttempt(app, peer);
    const hash = await app.passwords.hash(password, { payer, signal });
    const isBack = await reportTakenIdentifiers(app, { id }, () =>
      app.database.transaction((tx) => takeBack(tx, atOneTime(app), id, { token, password, email, hash }), id),
    );
    if (!isBack) throw mailedCodeInvalid();
    await forgiveAttempt(app, attempt);
  });
}

async function takeBack(
  tx: Db,
  at: RecoveryApp,
  id: string,
  { token, password, email: given, hash }: TakenBack & { readonly hash: string },
): Promise<boolean> {
  const account = await getAccount(tx, id);
  const taken = await takeMailedCode(tx, at, account ?? NOBODY, 'email_take_back', token);
  if (taken === undefined || account?.user.state !== 'active') return false;
  const { address: email } = taken;
  // Thrown, which leaves the token good: it may be the slip of who has it.
  if (given !== undefined && identifierKey(given) !== identifierKey(email)) throw mailedCodeInvalid();
  checkNewPassword(password, { ...account.user, email });
  await writeNotice(tx, at, account.user, 'email_changed', { timeMs: at.now() });
  // The address that the user has from now on is told, not the one that is taken away.
  await replacePassword(tx, at, { ...account, user: { ...account.user, email } }, hash);
  await setProvedEmail(tx, at, id, email, null);
  await voidLaterTokens(tx, taken);
  await recordActivity(tx, at, { userId: id, by: null, action: 'kith.email.taken_back' });
  await endSessionsOf(tx, at, id, { by: null });
  return true;
}

/** Counts a guess of the caller's at a code, then has it compared. Throws mailed_code_invalid, and what `compare` throws. */
async function guess(
  app: RecoveryApp,
  { userId }: Caller,
  peer: Peer,
  compare: (granted: boolean) => Promise<boolean>,
): Promise<void> {
  const attempt = await beginAttempt(app, peer);
  const { right } = await guessCode(app, attempt, userId, compare, 'mailed code');
  if (!right) throw mailedCodeInvalid();
}

/** Throws session_ended where the caller may not sign in any more. */
async function requireAccount(db: Db, userId: string): Promise<Account> {
  const account = await getAccount(db, userId);
  if (account?.user.state !== 'active') throw sessionEnded();
  return account;
}

async function requireMayMail(app: RecoveryApp, to: { readonly id: string; readonly email: string }): Promise<void> {
  if (await mayMail(app, to)) return;
  throw new Failure('too_many_attempts', 'too many mails were asked for: wait some minutes', {
    retry_after_seconds: '60',
  });
}
