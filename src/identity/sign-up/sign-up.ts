import { recordActivity } from '../../activity/log/log.ts';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer } from '../../budget/payer.ts';
import type { App } from '../../app.ts';
import type { Peer } from '../../kernel/access.ts';
import { identifierKey } from '../../kernel/text.ts';
import { adoptMails, writeMail } from '../../mail/outbox.ts';
import { drawCode, latestExpiry, macOfCode, mailedCodeInvalid } from '../recovery/mailed-codes.ts';
import { answerLater, type RecoveryApp } from '../recovery/code-requests.ts';
import { beginAttempt, guessCode, mayMailNewcomer, rememberAddress } from '../throttle/throttle.ts';
import { findAccount } from '../users/accounts.ts';
import { insertSelf, type NewSelf, newSelfRow, reportTakenIdentifiers, type SelfRow } from '../users/users.ts';
import { requireMaySignUp, type SignUpPolicyApp } from './policy.ts';
import { deleteExpiredSignUps, replaceSignUp, selectInvitationOf, takeInvitation, takeSignUp } from './store.ts';

export interface SignUpApp extends RecoveryApp, SignUpPolicyApp {}

/**
 * Has a code mailed to an address that may sign up, after the answer: what it takes does not tell whether a user has
 * the address, nor whether it is invited.
 *
 * Throws sign_up_closed, sign_up_domain_not_allowed, too_many_attempts, server_busy.
 */
export async function signUp(app: SignUpApp, email: string, peer: Peer): Promise<void> {
  requireMaySignUp(app, email);
  await answerLater(app, peer, () => mailSignUp(app, email));
}

async function mailSignUp(app: SignUpApp, email: string): Promise<void> {
  const key = identifierKey(email);
  if (!(await mayMailNewcomer(app, email))) return;
  await app.database.transaction(async (tx) => {
    const account = await findAccount(tx, email);
    if (account !== undefined) {
      if (account.user.state === 'active') await writeMail(tx, app, account.user, 'sign_up_known', {});
      return;
    }
    if (app.signUp.policy === 'invitation') {
      const invitation = await selectInvitationOf(tx, key);
      if (invitation === undefined || invitation.expire_ms <= app.now()) return;
    }
    const { code, expireMs } = drawCode(app);
    await replaceSignUp(tx, { email_key: key, code_mac: macOf(app, key, code), expire_ms: expireMs });
    await writeMail(tx, app, { id: null, email }, 'sign_up', { code }, expireMs);
  }, key);
}

export interface SignUpConfirmation extends NewSelf {
  readonly code: string;
}

/**
 * Makes a user of who has the code that was mailed to the address. Nothing is stored of username and password before:
 * nobody prepares an account for an address that is not theirs. `signal` aborts the call while it waits to hash.
 *
 * Throws mailed_code_invalid, alike in text and work for whatever is wrong with code or invitation; username_taken and
 * email_taken to who has the code, which stays good; password_is_identifier, password_too_common, sign_up_closed,
 * sign_up_domain_not_allowed, too_many_attempts, budget_exceeded, server_busy.
 */
export async function confirmSignUp(
  app: SignUpApp,
  { code, ...asked }: SignUpConfirmation,
  peer: Peer,
  signal?: AbortSignal,
): Promise<void> {
  requireMaySignUp(app, asked.email);
  const payer = addressPayer(peer.address);
  await payFor(payer, async () => {
    const attempt = await beginAttempt(app, peer);
    const row = await newSelfRow(app, asked, { payer, signal });
    const create = (granted: boolean) =>
      reportTakenIdentifiers(app, row, () => createWith(app, row, granted ? code : ''));
    const { right } = await guessCode(app, attempt, subjectOf(row.email_key), create, 'mailed code');
    if (!right) throw mailedCodeInvalid();
    await rememberAddress(app, row.id, peer);
  });
}

/** Whether the code was good, and the user is there. */
function createWith(app: SignUpApp, row: SelfRow, code: string): Promise<boolean> {
  const { email_key } = row;
  return app.database.transaction(async (tx) => {
    const nowMs = app.now();
    const code_mac = macOf(app, email_key, code);
    if (!(await takeSignUp(tx, { email_key, code_mac }, nowMs, latestExpiry(nowMs)))) return false;
    const role = await takeInvitation(tx, email_key, nowMs);
    // A code that outlived its invitation is used up, and is nothing.
    if (app.signUp.policy === 'invitation' && role === undefined) return false;
    await insertSelf(tx, { ...row, role: role ?? 'viewer' });
    await adoptMails(tx, row.id, email_key);
    const by = { userId: row.id };
    const attributes = { invited: String(role !== undefined) };
    await recordActivity(tx, app, { userId: row.id, by, action: 'kith.user.signed_up', attributes });
    return true;
  }, email_key);
}

/** Removes up to `limit` sign-ups that were not confirmed in time; how many there were. */
export function purgeSignUps(app: App, limit: number): Promise<number> {
  return deleteExpiredSignUps(app.database.db, app.now(), limit);
}

/** What codes are counted by: no id of a user looks so. */
function subjectOf(emailKey: string): string {
  return `sign-up ${emailKey}`;
}

function macOf({ keyring }: App, emailKey: string, code: string): string {
  return macOfCode(keyring, ['sign_up', emailKey, code]);
}
