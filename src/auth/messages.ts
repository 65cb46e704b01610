import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type CompleteLoginRequest,
  type LoginResponseSchema,
  LoginStep as LoginStepMessage,
} from '../../gen/kith/auth/v1/auth_service_pb.ts';
import type { Tokens } from '../sessions/sessions.ts';
import { toUserMessage } from '../users/messages.ts';
import type { LoginAnswer, LoginStep, SignIn } from './auth.ts';

const STEP_MESSAGES = {
  LOGIN_STEP_SECOND_FACTOR: LoginStepMessage.SECOND_FACTOR,
  LOGIN_STEP_NEW_PASSWORD: LoginStepMessage.NEW_PASSWORD,
} satisfies Record<LoginStep, LoginStepMessage>;

export function toTokens({ access, refreshToken, refreshExpireMs }: Tokens) {
  return {
    accessToken: access.token,
    accessTokenExpireTime: timestampFromMs(access.expireMs),
    refreshToken,
    refreshTokenExpireTime: timestampFromMs(refreshExpireMs),
  };
}

/** The answer of Login and of CompleteLogin, which have the same fields. */
export function toSignInMessage(signIn: SignIn) {
  if ('tokens' in signIn) return { ...toTokens(signIn.tokens), user: toUserMessage(signIn.user) };
  const { token, step, expireMs } = signIn.challenge;
  const challenge = { challengeToken: token, step: STEP_MESSAGES[step], expireTime: timestampFromMs(expireMs) };
  return { challenge } satisfies MessageInitShape<typeof LoginResponseSchema>;
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
