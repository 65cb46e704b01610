import type { ServiceImpl } from '@connectrpc/connect';
import type { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { toPermissions } from '../../rpc/enums.ts';
import { toUserMessage } from '../users/messages.ts';
import { peerOf } from '../../rpc/peer.ts';
import { requestPasswordReset, resetPassword } from '../recovery/password-reset.ts';
import { logout, refresh } from '../sessions/sessions.ts';
import { type AuthApp, changePassword, completeLogin, login, me } from './auth.ts';
import { fromAnswer, toSignInMessage, toTokens } from './messages.ts';

export function authService(app: AuthApp): ServiceImpl<typeof AuthService> {
  return {
    async login({ identifier, password }, context) {
      return toSignInMessage(await login(app, identifier, password, peerOf(context), context.signal));
    },
    async completeLogin(request, context) {
      const { challengeToken } = request;
      const answer = fromAnswer(request);
      return toSignInMessage(await completeLogin(app, challengeToken, answer, peerOf(context), context.signal));
    },
    async userMe(_, context) {
      const { user, permissions } = await me(app, callerOf(context));
      return { user: toUserMessage(user), permissions: toPermissions(permissions) };
    },
    async refreshAccessToken({ refreshToken }) {
      return { tokens: toTokens(await refresh(app, refreshToken)) };
    },
    async logout(_, context) {
      await logout(app, callerOf(context));
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
