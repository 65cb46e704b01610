import { recordActivity } from '../../activity/log/log.ts';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer } from '../../budget/payer.ts';
import type { Peer } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { identifierKey } from '../../kernel/text.ts';
import { type MailApp, writeMail } from '../../mail/outbox.ts';
import { checkNewPassword } from '../passwords/rules.ts';
import { endSessionsOf, type SessionsApp } from '../sessions/sessions.ts';
import {
  beginAttempt,
  forgivePasswords,
  guessCode,
  mayMail,
  rememberAddress,
  type ThrottleApp,
} from '../throttle/throttle.ts';
import { findAccount, getAccount, replacePassword } from '../users/accounts.ts';
import { createMailedCode, mailedCodeInvalid, NOBODY, takeMailedCode } from './mailed-codes.ts';

export interface RecoveryApp extends SessionsApp, ThrottleApp, MailApp {
  /** How many requests for a code, to reset a password or to sign up, have been answered and are not done. */
  readonly resetsUnderWay: { count: number };
}

/** How many such requests there may be: each is a few rows. */
const UNDER_WAY_MAX = 1000;

/**
 * Has a code mailed to a user, after the answer: what it takes does not tell whether there is such a user.
 *
 * Throws too_many_attempts, server_busy.
 */
export async function requestPasswordReset(app: RecoveryApp, identifier: string, peer: Peer): Promise<void> {
  await answerLater(app, peer, () => mailCode(app, identifier));
}

/**
 * Does what mails, after the answer: who asks learns nothing of it. Charges the address for the call.
 *
 * Throws too_many_attempts, server_busy.
 */
export async function answerLater(app: RecoveryApp, peer: Peer, mail: () => Promise<void>): Promise<void> {
  const { resetsUnderWay } = app;
  if (resetsUnderWay.count >= UNDER_WAY_MAX) {
    throw new Failure('server_busy', 'too many such requests are being answered: call again in a moment', {
      retry_after_seconds: '1',
    });
  }
  await beginAttempt(app, peer); // not given back: whoever asks for mails is not asked for anything else
  resetsUnderWay.count += 1;
  app.background.run(async () => {
    try {
      await mail();
    } finally {
      resetsUnderWay.count -= 1;
    }
  });
}

async function mailCode(app: RecoveryApp, identifier: string): Promise<void> {
  const found = await findAccount(app.database.db, identifier);
  if (found?.user.state !== 'active' || !(await mayMail(app, found.user))) return;
  await app.database.transaction(async (tx) => {
    const account = await getAccount(tx, found.user.id);
    if (account?.user.state !== 'active') return;
    const { code, expireMs } = await createMailedCode(tx, app, account, 'password_reset');
    await writeMail(tx, app, account.user, 'password_reset', { code }, expireMs);
    await recordActivity(tx, app, { userId: account.user.id, by: null, action: 'kith.password.reset_requested' });
  }, found.user.id);
}

/**
 * Sets another password with a mailed code and ends all sessions. `signal` aborts the call while it waits to hash.
 *
 * Throws mailed_code_invalid, alike in text and work for an unknown user, a wrong or used code, a user who may not
 * sign in, and after too many wrong codes; what checkNewPassword throws, which leaves the code good;
 * too_many_attempts, budget_exceeded, server_busy.
 */
export async function resetPassword(
  app: RecoveryApp,
  { identifier, code, password }: { readonly identifier: string; readonly code: string; readonly password: string },
  peer: Peer,
  signal?: AbortSignal,
): Promise<void> {
  const payer = addressPayer(peer.address);
  await payFor(payer, async () => {
    const attempt = await beginAttempt(app, peer);
    const account = await findAccount(app.database.db, identifier);
    const subject = account?.user.id ?? `nobody ${identifierKey(identifier)}`;
    const hash = await app.passwords.hash(password, { payer, signal });
    const guess = await guessCode(
      app,
      attempt,
      subject,
      // Without a grant, does the same work with what is no code.
      (granted) =>
        setPassword(app, account?.user.id ?? NOBODY.user.id, subject, { code: granted ? code : '', password, hash }),
      'mailed code',
    );
    if (!guess.right || account === undefined) {
      throw mailedCodeInvalid();
    }
    await rememberAddress(app, account.user.id, peer);
    await forgivePasswords(app, account.user.id, peer);
  });
}

/** Whether the code was good, and the password is set. */
function setPassword(
  app: RecoveryApp,
  userId: string,
  lockKey: string,
  { code, password, hash }: { readonly code: string; readonly password: string; readonly hash: string },
): Promise<boolean> {
  return app.database.transaction(async (tx) => {
    const account = await getAccount(tx, userId);
    const taken = await takeMailedCode(tx, app, account ?? NOBODY, 'password_reset', code);
    if (taken === undefined || account?.user.state !== 'active') return false;
    checkNewPassword(password, account.user);
    await replacePassword(tx, app, account, hash);
    await recordActivity(tx, app, { userId, by: null, action: 'kith.password.reset' });
    await endSessionsOf(tx, app, userId, { by: null });
    return true;
  }, lockKey);
}
