import { setTimeout as sleep } from 'node:timers/promises';
import { recordActivity } from '../../activity/log/log.ts';
import { Failure } from '../../kernel/failure.ts';
import type { Peer } from '../../kernel/access.ts';
import { type MailApp, writeMail } from '../../mail/outbox.ts';
import type { SessionsApp } from '../sessions/sessions.ts';
import { beginAttempt, mayMail, type ThrottleApp } from '../throttle/throttle.ts';
import { type Account, findAccount, getAccount } from '../users/accounts.ts';
import { createMailedCode } from './mailed-codes.ts';

export interface RecoveryApp extends SessionsApp, ThrottleApp, MailApp {
  /** How many requests for a code have been answered and are not done. */
  readonly resetsUnderWay: { count: number };
}

/** How many such requests there may be: each is a few rows. */
const UNDER_WAY_MAX = 1000;

/**
 * How long the answer is given to leave before anything is done, milliseconds: what is done at once competes with it, and
 * answers to users took up to a fifth longer than those to nobody (bench/sign-in-timing.ts).
 */
const ANSWER_MS = 30;

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
      await sleep(ANSWER_MS);
      await mail();
    } finally {
      resetsUnderWay.count -= 1;
    }
  });
}

/** A code that is mailed to whoever asks for it by a username or an email address. */
interface RequestedCode {
  readonly purpose: 'login' | 'password_reset';
  readonly kind: 'login_code' | 'password_reset';
  readonly action: 'kith.sign_in.code_requested' | 'kith.password.reset_requested';
  /** Whether an account gets one. */
  readonly isFor: (account: Account | undefined) => account is Account;
  /** See createMailedCode. */
  readonly clientToken?: string;
}

/**
 * Has a code mailed to a user, after the answer: what it takes does not tell whether there is such a user.
 *
 * Throws too_many_attempts, server_busy.
 */
export async function requestCode(
  app: RecoveryApp,
  identifier: string,
  peer: Peer,
  requested: RequestedCode,
): Promise<void> {
  await answerLater(app, peer, () => mailCode(app, identifier, peer, requested));
}

async function mailCode(
  app: RecoveryApp,
  identifier: string,
  peer: Peer,
  { purpose, kind, action, isFor, clientToken = '' }: RequestedCode,
): Promise<void> {
  const found = await findAccount(app.database.db, identifier);
  if (!isFor(found) || !(await mayMail(app, found.user, peer))) return;
  await app.database.transaction(async (tx) => {
    const account = await getAccount(tx, found.user.id);
    if (!isFor(account)) return;
    const { code, expireMs } = await createMailedCode(tx, app, account, purpose, { clientToken });
    await writeMail(tx, app, account.user, kind, { code }, expireMs);
    await recordActivity(tx, app, { userId: account.user.id, by: null, action });
  }, found.user.id);
}
