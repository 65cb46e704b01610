import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller, Peer, Permission, SignInMethod } from '../../kernel/access.ts';
import { type KithActivity, recordActivity } from '../../activity/log/log.ts';
import type { App } from '../../app.ts';
import { payFor } from '../../budget/current-payer.ts';
import { addressPayer, payerOf, signInPayer } from '../../budget/payer.ts';
import type { Db } from '../../storage/database.ts';
import { Failure } from '../../kernel/failure.ts';
import type { HashRequest } from '../passwords/passwords.ts';
import { checkNewPassword, requireOtherPassword } from '../passwords/rules.ts';
import {
  acceptRecoveryCode,
  acceptTotp,
  hasRecoveryCode,
  hasSecondFactor,
  secondFactorWrong,
} from '../second-factor/second-factor.ts';
import {
  endSessionsOf,
  isKnownDevice,
  keepSession,
  requireSession,
  type Session,
  type SessionsApp,
  sessionEnded,
  startSession,
  type Tokens,
  tokensOf,
} from '../sessions/sessions.ts';
import type { SignUpApp } from '../sign-up/sign-up.ts';
import { identifierKey } from '../../kernel/text.ts';
import { writeNotice } from '../../mail/notices.ts';
import {
  beginAttempt,
  forgiveAttempt,
  guessCode,
  guessPassword,
  isKnownAddress,
  rememberAddress,
  type ThrottleApp,
} from '../throttle/throttle.ts';
import {
  type Account,
  findAccount,
  getAccount,
  recordSignIn,
  replacePassword,
  strengthenHash,
} from '../users/accounts.ts';
import type { User } from '../users/user.ts';
import type { SessionCookies } from './session-cookie.ts';
import { type Challenge, CHALLENGE_MS, challengeInvalid, readChallenge, writeChallenge } from './challenge.ts';

export interface AuthApp extends SessionsApp, ThrottleApp, SignUpApp {
  /** Whether users may sign in with codes that are mailed to them. */
  readonly loginCodes: boolean;
  readonly sessionCookies: SessionCookies;
}

/** A step of a sign-in after the password or the mailed code, as the contract names it. */
export type LoginStep = 'LOGIN_STEP_SECOND_FACTOR' | 'LOGIN_STEP_NEW_PASSWORD';

/** The result of a step of a sign-in: the user is signed in, or has another step to take. */
export type SignIn =
  | { readonly tokens: Tokens; readonly user: User }
  | {
      readonly challenge: {
        readonly token: string;
        readonly step: LoginStep;
        /** The answers that are accepted, at least one. */
        readonly methods: readonly LoginAnswer['method'][];
        readonly expireMs: number;
      };
    };

/** The answer to a challenge. */
export type LoginAnswer =
  | { readonly method: 'otp' | 'recovery'; readonly code: string }
  | { readonly method: 'new_password'; readonly password: string };

/**
 * Signs in with a username or email address and a password, up to the next step if there is one.
 * `signal` aborts the call while it waits to hash.
 *
 * Throws credentials_invalid, alike in text and work for an unknown user, a wrong
 * password, a user who may not sign in, and after too many wrong passwords;
 * too_many_attempts, budget_exceeded, server_busy.
 */
export async function login(
  app: AuthApp,
  identifier: string,
  password: string,
  peer: Peer,
  signal?: AbortSignal,
): Promise<SignIn> {
  const account = await findAccount(app.database.db, identifier);
  const subject = account?.user.id ?? `nobody ${identifierKey(identifier)}`;
  const isKnown = await isKnownAddress(app, subject, peer);
  // A known address does not wait for the hashes of unknown ones, however many there are.
  const payer = isKnown ? signInPayer(subject) : addressPayer(peer.address);
  return payFor(payer, () => loginTo(app, account, { subject, isKnown, password, peer, by: { payer, signal } }));
}

/** A sign-in that is not complete. */
interface SignInAttempt {
  /** As in guessPassword. */
  readonly subject: string;
  /** Whether the user signed in from the address recently. */
  readonly isKnown: boolean;
  readonly password: string;
  readonly peer: Peer;
  readonly by: HashRequest;
}

async function loginTo(app: AuthApp, account: Account | undefined, of: SignInAttempt): Promise<SignIn> {
  const { subject, isKnown, password, peer, by } = of;
  const attempt = await beginAttempt(app, peer);
  const compare = async (granted: boolean): Promise<boolean> => {
    const right = await app.passwords.verify(granted ? account?.passwordHash : undefined, password, by);
    return right && account?.user.state === 'active';
  };
  const guess = await guessPassword(app, attempt, subject, compare, isKnown);
  if (!guess.right || account === undefined) {
    if (guess.granted && account !== undefined) {
      recordActivityLater(app, { userId: account.user.id, by: null, action: 'kith.sign_in.failed' });
    }
    throw credentialsInvalid();
  }
  const { passwordHash } = account;
  const isOutdated = passwordHash !== undefined && app.passwords.isOutdated(passwordHash);
  const stronger = isOutdated ? await app.passwords.hash(password, by) : undefined;
  const progress = await app.database.transaction(async (tx) => {
    // Hashing took a while: the user may have been suspended or given another password since. Either
    // begins a new epoch; a new hash alone may be the same password, from a sign-in at the same time.
    const current = await getAccount(tx, account.user.id);
    if (current?.user.state !== 'active' || current.sessionEpoch !== account.sessionEpoch) throw credentialsInvalid();
    if (stronger !== undefined) await strengthenHash(tx, current.user.id, stronger);
    return proceed(tx, app, current, peer, ['pwd']);
  }, account.user.id);
  return toSignIn(app, progress, peer, app.now() + CHALLENGE_MS);
}

/**
 * Completes the step of a sign-in that its challenge requires.
 *
 * Throws challenge_invalid, challenge_step_wrong, second_factor_wrong,
 * too_many_attempts, budget_exceeded, server_busy, and for a new password what checkNewPassword
 * throws and password_unchanged.
 */
export async function completeLogin(
  app: AuthApp,
  challengeToken: string,
  answer: LoginAnswer,
  peer: Peer,
  signal?: AbortSignal,
): Promise<SignIn> {
  const challenge = readChallenge(app.keyring, challengeToken, app.now());
  const payer = signInPayer(challenge.userId); // whoever has a challenge knew the password
  return payFor(payer, async () => {
    const progress =
      answer.method === 'new_password'
        ? await takeNewPassword(app, challenge, answer.password, peer, { payer, signal })
        : await takeCode(app, challenge, answer.method, answer.code, peer);
    return toSignIn(app, progress, peer, challenge.expireMs);
  });
}

async function takeCode(
  app: AuthApp,
  challenge: Challenge,
  method: 'otp' | 'recovery',
  code: string,
  peer: Peer,
): Promise<Progress> {
  const { userId, methods } = challenge;
  await requireStep(app.database.db, challenge, 'LOGIN_STEP_SECOND_FACTOR');
  const attempt = await beginAttempt(app, peer);
  const accept = method === 'otp' ? acceptTotp : acceptRecoveryCode;
  let progress: Progress | undefined;
  const guess = await guessCode(app, attempt, userId, async (granted) => {
    progress = await app.database.transaction(async (tx) => {
      const account = await requireStep(tx, challenge, 'LOGIN_STEP_SECOND_FACTOR');
      // Without a grant, does the same work with a value that is no code.
      if (!(await accept(tx, app, userId, granted ? code : ''))) return undefined;
      return proceed(tx, app, account, peer, [...methods, method]);
    }, userId);
    return progress !== undefined;
  });
  if (progress !== undefined) return progress;
  if (guess.granted) {
    const attributes = { step: 'second_factor' };
    recordActivityLater(app, { userId, by: null, action: 'kith.sign_in.failed', attributes });
  }
  throw secondFactorWrong();
}

async function takeNewPassword(
  app: AuthApp,
  challenge: Challenge,
  password: string,
  peer: Peer,
  by: HashRequest,
): Promise<Progress> {
  const { userId, methods } = challenge;
  const { user, passwordHash } = await requireStep(app.database.db, challenge, 'LOGIN_STEP_NEW_PASSWORD');
  checkNewPassword(password, user);
  const attempt = await beginAttempt(app, peer); // each costs two hashes
  await requireOtherPassword(app.passwords, passwordHash, password, by);
  const hash = await app.passwords.hash(password, by);
  const progress = await app.database.transaction(async (tx) => {
    const account = await requireStep(tx, challenge, 'LOGIN_STEP_NEW_PASSWORD');
    const sessionEpoch = await replacePassword(tx, app, account, hash);
    await recordActivity(tx, app, { userId, by: { userId }, action: 'kith.password.changed' });
    await endSessionsOf(tx, app, userId, { by: { userId } });
    return proceed(tx, app, { ...account, sessionEpoch, mustChangePassword: false }, peer, methods);
  }, userId);
  await forgiveAttempt(app, attempt);
  return progress;
}

/** The caller with their present role and permissions. */
export async function me(app: AuthApp, caller: Caller): Promise<{ user: User; permissions: ReadonlySet<Permission> }> {
  const account = await getAccount(app.database.db, caller.userId);
  if (account === undefined) throw sessionEnded();
  return { user: account.user, permissions: caller.permissions };
}

/**
 * Changes the caller's password and ends the other sessions.
 *
 * Throws password_wrong, also after too many wrong ones, here or at sign-in; what
 * checkNewPassword throws; session_ended, too_many_attempts, budget_exceeded, server_busy.
 */
export async function changePassword(
  app: AuthApp,
  caller: Caller,
  current: string,
  next: string,
  peer: Peer,
  signal?: AbortSignal,
): Promise<void> {
  const { userId, sessionId } = caller;
  const by = { payer: payerOf(caller, peer.address), signal };
  const attempt = await beginAttempt(app, peer);
  const account = await getAccount(app.database.db, userId);
  if (account === undefined) throw sessionEnded();
  const guess = await guessPassword(app, attempt, userId, (granted) =>
    app.passwords.verify(granted ? account.passwordHash : undefined, current, by),
  );
  if (!guess.right) {
    if (guess.granted) recordActivityLater(app, { userId, by: caller, action: 'kith.password.change_failed' });
    throw passwordWrong();
  }
  checkNewPassword(next, account.user);
  const hash = await app.passwords.hash(next, by);
  await app.database.transaction(async (tx) => {
    // The session may have ended while hashing: it must not move to the new epoch.
    const latest = await getAccount(tx, userId);
    if (latest === undefined) throw sessionEnded();
    if (latest.sessionEpoch !== account.sessionEpoch) throw passwordWrong(); // another call changed it meanwhile
    await requireSession(tx, app, sessionId);
    await keepSession(tx, sessionId, await replacePassword(tx, app, latest, hash));
    await recordActivity(tx, app, { userId, by: caller, action: 'kith.password.changed' });
    await endSessionsOf(tx, app, userId, { by: caller, but: sessionId });
  }, userId);
}

/** The result of a step, within its transaction. */
export type Progress =
  | { readonly session: Session; readonly user: User }
  | { readonly account: Account; readonly methods: readonly SignInMethod[]; readonly step: LoginStep };

/** Opens the session if no step is left, in the transaction that read the account. */
export async function proceed(
  tx: Db,
  app: AuthApp,
  account: Account,
  peer: Peer,
  methods: readonly SignInMethod[],
): Promise<Progress> {
  const step = await nextStep(tx, account, methods);
  if (step !== undefined) return { account, methods, step };
  const { user, sessionEpoch } = account;
  const lastSignInMs = app.now();
  await recordSignIn(tx, user.id, lastSignInMs);
  if (user.lastSignInMs !== null && !(await isKnownDevice(tx, user.id, peer))) {
    await writeNotice(tx, app, user, 'new_sign_in', { timeMs: lastSignInMs, address: peer.address || '-' });
  }
  const session = await startSession(tx, app, { id: user.id, sessionEpoch }, peer, methods);
  return { session, user: { ...user, lastSignInMs } };
}

/** The second factor comes first: a password alone must not be enough to set another. */
async function nextStep(
  db: Db,
  { user, mustChangePassword }: Account,
  methods: readonly SignInMethod[],
): Promise<LoginStep | undefined> {
  const hasProvedSecond = methods.includes('otp') || methods.includes('recovery');
  if (!hasProvedSecond && (await hasSecondFactor(db, user.id))) return 'LOGIN_STEP_SECOND_FACTOR';
  return mustChangePassword ? 'LOGIN_STEP_NEW_PASSWORD' : undefined;
}

/** The account of a sign-in whose next step is this one. Throws challenge_invalid, challenge_step_wrong. */
async function requireStep(db: Db, challenge: Challenge, answered: LoginStep): Promise<Account> {
  const account = await getAccount(db, challenge.userId);
  if (account?.user.state !== 'active' || account.sessionEpoch !== challenge.sessionEpoch) throw challengeInvalid();
  const step = await nextStep(db, account, challenge.methods);
  if (step === undefined) throw challengeInvalid(); // an admin has taken the second factor away meanwhile
  if (step === answered) return account;
  throw new Failure('challenge_step_wrong', `the sign-in has another step to take: ${step}`, { step });
}

export async function toSignIn(app: AuthApp, progress: Progress, peer: Peer, expireMs: number): Promise<SignIn> {
  if ('session' in progress) {
    const { session, user } = progress;
    await rememberAddress(app, user.id, peer);
    return { tokens: await tokensOf(app, session, user.role), user };
  }
  const { account, methods, step } = progress;
  const challenge = { userId: account.user.id, sessionEpoch: account.sessionEpoch, methods, expireMs };
  const accepted = await methodsOf(app, account, step);
  return { challenge: { token: writeChallenge(app.keyring, challenge), step, methods: accepted, expireMs } };
}

/** The methods by which the user can complete a step. */
async function methodsOf({ database }: AuthApp, { user }: Account, step: LoginStep): Promise<LoginAnswer['method'][]> {
  if (step === 'LOGIN_STEP_NEW_PASSWORD') return ['new_password'];
  return (await hasRecoveryCode(database.db, user.id)) ? ['otp', 'recovery'] : ['otp'];
}

/** The longest time between the answer and the record of a failure, milliseconds. */
const RECORD_DELAY_MAX_MS = 100;

/**
 * Records a failure at a random time after the answer. Recorded before the answer, it would
 * delay that for users who exist; directly after it, it would delay the next answer.
 */
export function recordActivityLater(app: App, activity: KithActivity): void {
  app.background.run(async () => {
    await sleep(Math.random() * RECORD_DELAY_MAX_MS);
    await app.database.transaction((tx) => recordActivity(tx, app, activity));
  });
}

function credentialsInvalid(): Failure {
  return new Failure('credentials_invalid', 'the identifier or the password is wrong, or the user may not sign in');
}

function passwordWrong(): Failure {
  return new Failure('password_wrong', 'the current password is wrong');
}
