import { randomBytes } from 'node:crypto';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer } from '../../budget/payer.ts';
import type { Peer } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { identifierKey } from '../../kernel/text.ts';
import { requestCode } from '../recovery/code-requests.ts';
import { mailedCodeInvalid, NOBODY, takeMailedCode } from '../recovery/mailed-codes.ts';
import { beginAttempt, guessCode } from '../throttle/throttle.ts';
import { type Account, findAccount, getAccount } from '../users/accounts.ts';
import { type AuthApp, type Progress, proceed, recordActivityLater, type SignIn, toSignIn } from './auth.ts';
import { CHALLENGE_MS } from './challenge.ts';

const CLIENT_TOKEN_BYTES = 32;

/**
 * Has a code to sign in with mailed to a user's verified address, after the answer: what it takes does not tell whether
 * there is such a user. Returns the token without which the code is of no use: whoever reads the mail or is told the
 * code, and did not ask for it, does not sign in.
 *
 * Throws login_codes_off, too_many_attempts, server_busy.
 */
export async function requestLoginCode(app: AuthApp, identifier: string, peer: Peer): Promise<string> {
  requireLoginCodes(app);
  const clientToken = randomBytes(CLIENT_TOKEN_BYTES).toString('base64url');
  await requestCode(app, identifier, peer, {
    purpose: 'login',
    kind: 'login_code',
    action: 'kith.sign_in.code_requested',
    isFor: mayUseCodes,
    clientToken,
  });
  return clientToken;
}

export interface LoginCode {
  readonly identifier: string;
  /** From requestLoginCode. */
  readonly clientToken: string;
  readonly code: string;
}

/**
 * Signs in with a mailed code in place of the password, up to the next step if there is one: the second factor is asked
 * for as after a password.
 *
 * Throws mailed_code_invalid, alike in text and work for an unknown user, a wrong or used code, another client token, a
 * user who may not sign in, and after too many wrong codes; login_codes_off, too_many_attempts, server_busy.
 */
export async function loginWithCode(
  app: AuthApp,
  { identifier, clientToken, code }: LoginCode,
  peer: Peer,
): Promise<SignIn> {
  requireLoginCodes(app);
  return payFor(addressPayer(peer.address), async () => {
    const attempt = await beginAttempt(app, peer);
    const account = await findAccount(app.database.db, identifier);
    const userId = account?.user.id ?? NOBODY.user.id;
    const subject = account?.user.id ?? `nobody ${identifierKey(identifier)}`;
    let progress: Progress | undefined;
    const compare = async (granted: boolean): Promise<boolean> => {
      progress = await app.database.transaction(async (tx) => {
        const current = await getAccount(tx, userId);
        // Without a grant, does the same work with what is no code.
        const given = granted ? code : '';
        const taken = await takeMailedCode(tx, app, current ?? NOBODY, 'login', given, clientToken);
        return taken !== undefined && mayUseCodes(current) ? proceed(tx, app, current, peer, ['mail']) : undefined;
      }, subject);
      return progress !== undefined;
    };
    const guess = await guessCode(app, attempt, subject, compare, 'mailed code');
    if (progress !== undefined) return toSignIn(app, progress, peer, app.now() + CHALLENGE_MS);
    if (guess.granted && account !== undefined) {
      const attributes = { step: 'mailed_code' };
      recordActivityLater(app, { userId, by: null, action: 'kith.sign_in.failed', attributes });
    }
    throw mailedCodeInvalid();
  });
}

/** Whether a user may sign in, with codes mailed to an address that was proved to be theirs. */
function mayUseCodes(account: Account | undefined): account is Account {
  return account?.user.state === 'active' && account.user.emailVerifiedMs !== undefined;
}

function requireLoginCodes({ loginCodes }: AuthApp): void {
  if (!loginCodes) throw new Failure('login_codes_off', 'nobody signs in with mailed codes on this server');
}
