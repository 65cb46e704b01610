import type {
  CompleteLoginResponse,
  LoginChallenge,
  LoginResponse,
  LoginWithCodeResponse,
  RefreshAccessTokenResponse,
  Tokens,
} from '../../gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from '../../gen/kith/user/v1/user_pb.ts';

type LoginAnswer = LoginResponse | LoginWithCodeResponse | CompleteLoginResponse;

/** Waits for Login, LoginWithCode or CompleteLogin to sign in: the tokens, and who signed in. Throws when a step is left. */
export async function signedIn(answer: Promise<LoginAnswer>): Promise<Tokens & { readonly user: User }> {
  const { outcome } = await answer;
  if (outcome.case !== 'signedIn') throw new Error(`the sign-in is not complete: ${outcome.case}`);
  return { ...outcome.value.tokens!, user: outcome.value.user! };
}

/** Waits for Login or CompleteLogin to ask for another step. Throws when it does not. */
export async function challengeOf(answer: Promise<LoginAnswer>): Promise<LoginChallenge> {
  const { outcome } = await answer;
  if (outcome.case !== 'challenge') throw new Error(`the sign-in has no step left: ${outcome.case}`);
  return outcome.value;
}

/** Waits for the tokens of a refresh. */
export async function refreshed(answer: Promise<RefreshAccessTokenResponse>): Promise<Tokens> {
  return (await answer).tokens!;
}

/** What an answer matches that has the same user, in which nothing was changed but the time of the last sign-in. */
export function unchanged({ id, etag }: User): Pick<User, 'id' | 'etag'> {
  return { id, etag };
}
