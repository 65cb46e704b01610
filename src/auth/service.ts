import type { ServiceImpl } from '@connectrpc/connect';
import type { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { callerOf } from '../rpc/caller.ts';
import { toPermissions } from '../rpc/enums.ts';
import { toUserMessage } from '../users/messages.ts';
import { type AuthApp, changePassword, login, logout, me, refresh } from './auth.ts';
import { toTokens } from './messages.ts';

export function authService(app: AuthApp): ServiceImpl<typeof AuthService> {
  return {
    async login({ identifier, password }) {
      const { tokens, user } = await login(app, identifier, password);
      return { ...toTokens(tokens), user: toUserMessage(user) };
    },
    async userMe(_, context) {
      const { user, permissions } = await me(app, callerOf(context));
      return { user: toUserMessage(user), permissions: toPermissions(permissions) };
    },
    async refreshAccessToken({ refreshToken }) {
      return toTokens(await refresh(app, refreshToken));
    },
    async logout(_, context) {
      await logout(app, callerOf(context));
      return {};
    },
    async changePassword({ currentPassword, newPassword }, context) {
      await changePassword(app, callerOf(context), currentPassword, newPassword);
      return {};
    },
  };
}
