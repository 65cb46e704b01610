import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import {
  type AuthService,
  type CompleteLoginRequestSchema,
  type LoginChallenge,
  LoginMethod,
  LoginStep,
  type SignedIn,
} from './gen/kith/auth/v1/auth_service_pb.ts';
import { KithError, type Reason } from './kith-error.ts';

/** The code of a second factor: of the authenticator app, or one of the recovery codes. */
export type SecondFactorCode = { readonly totpCode: string } | { readonly recoveryCode: string };

/** What a sign-in asks for beside the password. */
export interface Challenge<Method extends string> {
  /** The answers that are accepted. */
  readonly methods: readonly Method[];
  /** Why the answer before was refused; undefined the first time. */
  readonly error: KithError | undefined;
}

/** What the steps of a sign-in after the first take. */
interface StepCallbacks {
  /** Asks for the second factor of a user who has one. Asked again after a wrong code; what it throws ends the sign-in. */
  readonly secondFactor?:
    | ((challenge: Challenge<'totpCode' | 'recoveryCode'>) => SecondFactorCode | Promise<SecondFactorCode>)
    | undefined;
  /** Asks for another password where the present one has to be changed. Asked again after one that is refused. */
  readonly newPassword?: ((challenge: Challenge<'newPassword'>) => string | Promise<string>) | undefined;
}

/** A sign-in with a password. */
export interface PasswordCredentials extends StepCallbacks {
  /** The username or the email address. */
  readonly identifier: string;
  readonly password: string;
}

/** A sign-in with a code that is mailed to the user's verified address, where the server lets people (`KITH_LOGIN_CODES`). */
export interface MailedCodeCredentials extends StepCallbacks {
  /** The username or the email address. */
  readonly identifier: string;
  /**
   * Asks for the code, once it has been asked for. Called again after a wrong one; what it throws ends the sign-in. The
   * code works in this client alone.
   */
  readonly mailedCode: (challenge: Pick<Challenge<never>, 'error'>) => string | Promise<string>;
}

/** How often a callback is asked at the most in one step. */
const ANSWERS_MAX = 5;

/** Refusals after which the same code or challenge may be answered again. */
const RETRIABLE: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'MAILED_CODE_INVALID',
  'SECOND_FACTOR_WRONG',
  'FIELDS_INVALID',
  'PASSWORD_IS_IDENTIFIER',
  'PASSWORD_TOO_COMMON',
  'PASSWORD_UNCHANGED',
]);

type Answer = MessageInitShape<typeof CompleteLoginRequestSchema>['answer'];

/** Signs in, through every step. Throws a ConnectError, or what a callback throws. */
export async function signInWith(
  auth: Client<typeof AuthService>,
  credentials: PasswordCredentials | MailedCodeCredentials,
): Promise<SignedIn> {
  let { outcome } = await begin(auth, credentials);
  while (outcome.case === 'challenge') outcome = await takeStep(auth, outcome.value, credentials);
  if (outcome.case !== 'signedIn') throw incomplete('its outcome is one that this client does not know');
  return outcome.value;
}

async function begin(auth: Client<typeof AuthService>, credentials: PasswordCredentials | MailedCodeCredentials) {
  const { identifier } = credentials;
  if ('password' in credentials) return auth.login({ identifier, password: credentials.password });
  const { clientToken } = await auth.requestLoginCode({ identifier });
  return askUntilTaken(
    async (error) => credentials.mailedCode({ error }),
    (code) => auth.loginWithCode({ identifier, clientToken, code }),
  );
}

async function takeStep(auth: Client<typeof AuthService>, challenge: LoginChallenge, credentials: StepCallbacks) {
  const { challengeToken } = challenge;
  const { outcome } = await askUntilTaken(
    (error) => askFor(challenge, credentials, error),
    (answer) => auth.completeLogin({ challengeToken, answer: answer! }),
  );
  return outcome;
}

/** Asks for an answer and sends it, again while it is refused and another one may be taken, up to ANSWERS_MAX times. */
async function askUntilTaken<Given, Taken>(
  ask: (error: KithError | undefined) => Promise<Given>,
  send: (given: Given) => Promise<Taken>,
): Promise<Taken> {
  let error: KithError | undefined;
  for (let answers = 1; ; answers += 1) {
    const given = await ask(error);
    try {
      return await send(given);
    } catch (thrown) {
      error = KithError.from(thrown);
      if (!RETRIABLE.has(error.reason) || answers === ANSWERS_MAX) throw thrown;
    }
  }
}

async function askFor(
  { step, methods }: LoginChallenge,
  { secondFactor, newPassword }: StepCallbacks,
  error: KithError | undefined,
): Promise<Answer> {
  if (step === LoginStep.SECOND_FACTOR) {
    if (secondFactor === undefined) throw incomplete('the user has a second factor: give the callback secondFactor');
    const known = [
      ...(methods.includes(LoginMethod.TOTP_CODE) ? (['totpCode'] as const) : []),
      ...(methods.includes(LoginMethod.RECOVERY_CODE) ? (['recoveryCode'] as const) : []),
    ];
    const code = await secondFactor({ methods: known, error });
    return 'totpCode' in code
      ? { case: 'totpCode', value: code.totpCode }
      : { case: 'recoveryCode', value: code.recoveryCode };
  }
  if (step === LoginStep.NEW_PASSWORD) {
    if (newPassword === undefined) throw incomplete('the password has to be changed: give the callback newPassword');
    return { case: 'newPassword', value: await newPassword({ methods: ['newPassword'], error }) };
  }
  throw incomplete('it asks for a step that this client does not know');
}

function incomplete(why: string): ConnectError {
  return new ConnectError(`the sign-in is not complete: ${why}`, Code.FailedPrecondition);
}
