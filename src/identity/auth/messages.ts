import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type CompleteLoginRequest,
  LoginMethod as LoginMethodMessage,
  type LoginResponseSchema,
  LoginStep as LoginStepMessage,
  type TokensSchema,
} from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import type { Tokens } from '../sessions/sessions.ts';
import { toUserMessage } from '../users/messages.ts';
import type { LoginAnswer, LoginStep, SignIn } from './auth.ts';

const STEP_MESSAGES = {
  LOGIN_STEP_SECOND_FACTOR: LoginStepMessage.SECOND_FACTOR,
  LOGIN_STEP_NEW_PASSWORD: LoginStepMessage.NEW_PASSWORD,
} satisfies Record<LoginStep, LoginStepMessage>;

const METHOD_MESSAGES = {
  otp: LoginMethodMessage.TOTP_CODE,
  recovery: LoginMethodMessage.RECOVERY_CODE,
  new_password: LoginMethodMessage.NEW_PASSWORD,
} satisfies Record<LoginAnswer['method'], LoginMethodMessage>;

export function toTokens({ access, refreshToken, refreshExpireMs }: Tokens): MessageInitShape<typeof TokensSchema> {
  return {
    accessToken: access.token,
    accessTokenExpireTime: timestampFromMs(access.expireMs),
    accessTokenLifetime: durationFromMs(access.lifetimeMs),
    refreshToken,
    refreshTokenExpireTime: timestampFromMs(refreshExpireMs),
  };
}

/** The answer of Login, CompleteLogin and LoginWithCode, which have the same fields. */
export function toSignInMessage(signIn: SignIn): Pick<MessageInitShape<typeof LoginResponseSchema>, 'outcome'> {
  if ('tokens' in signIn) {
    const value = { tokens: toTokens(signIn.tokens), user: toUserMessage(signIn.user) };
    return { outcome: { case: 'signedIn', value } };
  }
  const { token, step, methods, expireMs } = signIn.challenge;
  const value = {
    challengeToken: token,
    step: STEP_MESSAGES[step],
    methods: methods.map((method) => METHOD_MESSAGES[method]),
    expireTime: timestampFromMs(expireMs),
  };
  return { outcome: { case: 'challenge', value } };
}

export function fromAnswer({ answer }: CompleteLoginRequest): LoginAnswer {
  switch (answer.case) {
    case 'totpCode':
      return { method: 'otp', code: answer.value };
    case 'recoveryCode':
      return { method: 'recovery', code: answer.value };
    case 'newPassword':
      return { method: 'new_password', password: answer.value };
    default:
      throw new Error('the rules of the contract let a request without an answer through');
  }
}
