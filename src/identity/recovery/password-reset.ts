import { recordActivity } from '../../activity/log/log.ts';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer } from '../../budget/payer.ts';
import type { Peer } from '../../kernel/access.ts';
import { identifierKey } from '../../kernel/text.ts';
import { checkNewPassword } from '../passwords/rules.ts';
import { endSessionsOf } from '../sessions/sessions.ts';
import { beginAttempt, forgivePasswords, guessCode, rememberAddress } from '../throttle/throttle.ts';
import { type Account, findAccount, getAccount, replacePassword } from '../users/accounts.ts';
import { type RecoveryApp, requestCode } from './code-requests.ts';
import { mailedCodeInvalid, NOBODY, takeMailedCode } from './mailed-codes.ts';

/**
 * Has a code mailed to a user, after the answer: what it takes does not tell whether there is such a user.
 *
 * Throws too_many_attempts, server_busy.
 */
export async function requestPasswordReset(app: RecoveryApp, identifier: string, peer: Peer): Promise<void> {
  await requestCode(app, identifier, peer, {
    purpose: 'password_reset',
    kind: 'password_reset',
    action: 'kith.password.reset_requested',
    isFor: isActive,
  });
}

function isActive(account: Account | undefined): account is Account {
  return account?.user.state === 'active';
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
