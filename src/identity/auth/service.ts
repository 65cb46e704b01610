import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { findHeader } from '../../../packages/connect-fast/src/index.ts';
import { callerOf } from '../../rpc/caller.ts';
import { toPermissions } from '../../rpc/enums.ts';
import { toUserMessage } from '../users/messages.ts';
import { peerOf } from '../../rpc/peer.ts';
import {
  confirmEmailChange,
  requestEmailChange,
  requestEmailVerification,
  takeEmailBack,
  verifyEmail,
} from '../recovery/email-change.ts';
import { requestPasswordReset, resetPassword } from '../recovery/password-reset.ts';
import { logout, refresh } from '../sessions/sessions.ts';
import { confirmSignUp, signUp } from '../sign-up/sign-up.ts';
import { type AuthApp, changePassword, completeLogin, login, me, type SignIn } from './auth.ts';
import { loginWithCode, requestLoginCode } from './login-code.ts';
import { fromAnswer, toSignInMessage, toTokens } from './messages.ts';
import { asksForCookie, intoCookie, readCookie, type ReadHeader, removeCookie } from './session-cookie.ts';

/** Without the Headers of a call, for which Node loads all of its fetch. */
function headersOf(context: HandlerContext): ReadHeader {
  return (name) => findHeader(context, name);
}

export function authService(app: AuthApp): ServiceImpl<typeof AuthService> {
  const keptInCookie = (signIn: SignIn, { responseHeader }: HandlerContext): SignIn =>
    'tokens' in signIn
      ? { ...signIn, tokens: intoCookie(signIn.tokens, responseHeader, app.sessionCookies, app.now()) }
      : signIn;
  return {
    async login({ identifier, password }, context) {
      const inCookie = asksForCookie(headersOf(context), app.sessionCookies);
      const signIn = await login(app, identifier, password, peerOf(context), context.signal);
      return toSignInMessage(inCookie ? keptInCookie(signIn, context) : signIn);
    },
    async completeLogin(request, context) {
      const { challengeToken } = request;
      const answer = fromAnswer(request);
      const inCookie = asksForCookie(headersOf(context), app.sessionCookies);
      const signIn = await completeLogin(app, challengeToken, answer, peerOf(context), context.signal);
      return toSignInMessage(inCookie ? keptInCookie(signIn, context) : signIn);
    },
    async requestLoginCode({ identifier }, context) {
      return { clientToken: await requestLoginCode(app, identifier, peerOf(context)) };
    },
    async loginWithCode(request, context) {
      const inCookie = asksForCookie(headersOf(context), app.sessionCookies);
      const signIn = await loginWithCode(app, request, peerOf(context));
      return toSignInMessage(inCookie ? keptInCookie(signIn, context) : signIn);
    },
    async userMe(_, context) {
      const { user, permissions } = await me(app, callerOf(context));
      return { user: toUserMessage(user), permissions: toPermissions(permissions) };
    },
    async refreshAccessToken({ refreshToken }, context) {
      const header = headersOf(context);
      if (!asksForCookie(header, app.sessionCookies)) {
        return { tokens: toTokens(await refresh(app, refreshToken)) };
      }
      const tokens = await refresh(app, readCookie(header, app.sessionCookies));
      return { tokens: toTokens(intoCookie(tokens, context.responseHeader, app.sessionCookies, app.now())) };
    },
    async logout(_, context) {
      const inCookie = asksForCookie(headersOf(context), app.sessionCookies);
      await logout(app, callerOf(context));
      if (inCookie) removeCookie(context.responseHeader, app.sessionCookies);
      return {};
    },
    async changePassword({ currentPassword, newPassword }, context) {
      await changePassword(app, callerOf(context), currentPassword, newPassword, peerOf(context), context.signal);
      return {};
    },
    async requestPasswordReset({ identifier }, context) {
      await requestPasswordReset(app, identifier, peerOf(context));
      return {};
    },
    async resetPassword({ identifier, code, newPassword: password }, context) {
      await resetPassword(app, { identifier, code, password }, peerOf(context), context.signal);
      return {};
    },
    async signUp({ email }, context) {
      await signUp(app, email, peerOf(context));
      return {};
    },
    async confirmSignUp({ email, code, username, name, password }, context) {
      await confirmSignUp(app, { email, code, username, name, password }, peerOf(context), context.signal);
      return {};
    },
    async requestEmailVerification(_, context) {
      await requestEmailVerification(app, callerOf(context));
      return {};
    },
    async verifyEmail({ code }, context) {
      await verifyEmail(app, callerOf(context), code, peerOf(context));
      return {};
    },
    async requestEmailChange({ email }, context) {
      await requestEmailChange(app, callerOf(context), email);
      return {};
    },
    async confirmEmailChange({ code }, context) {
      await confirmEmailChange(app, callerOf(context), code, peerOf(context));
      return {};
    },
    async takeEmailBack({ token, newPassword: password, email }, context) {
      await takeEmailBack(app, { token, password, email }, peerOf(context), context.signal);
      return {};
    },
  };
}

/** What sign-in keeps beside sessions. Counts of failed attempts name nobody. */
export const authData: PersonalData = {
  tables: {
    mailed_codes: {
      user_id: { exported: { not: 'which code was mailed, as a MAC, until it is used or has expired' } },
    },
  },
};
