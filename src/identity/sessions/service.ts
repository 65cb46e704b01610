import type { ServiceImpl } from '@connectrpc/connect';
import type { SessionService } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import type { App } from '../../app.ts';
import { callerOf } from '../../rpc/caller.ts';
import { toSessionMessage } from './messages.ts';
import { endAllSessions, endSession, listSessions } from './sessions.ts';

export function sessionService(app: App): ServiceImpl<typeof SessionService> {
  return {
    async listSessions({ userId }, context) {
      const sessions = await listSessions(app, callerOf(context), userId);
      return { sessions: sessions.map(toSessionMessage) };
    },
    async revokeSession({ userId, sessionId }, context) {
      await endSession(app, callerOf(context), userId, sessionId);
      return {};
    },
    async revokeAllSessions({ userId, keepCurrent }, context) {
      const caller = callerOf(context);
      return { revokedCount: await endAllSessions(app, caller, userId, { keepCurrent }) };
    },
  };
}
