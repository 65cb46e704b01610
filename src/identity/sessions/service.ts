import type { ServiceImpl } from '@connectrpc/connect';
import { SessionSchema, type SessionService } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import type { App } from '../../app.ts';
import { EXPORT_PAGE_ROWS, type PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { messageJson } from '../../rpc/message-json.ts';
import { toSessionMessage } from './messages.ts';
import { endAllSessions, endSession, keptSessions, listSessions, removeSessionsOf } from './sessions.ts';

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

/** Sessions, those that are over among them until they are purged. */
export const sessionData: PersonalData = {
  tables: { sessions: { user_id: { exported: 'sessions' } } },
  parts: {
    sessions: {
      permission: 'credentials.read',
      async read(app, reader, userId, pageToken) {
        const sessions = await keptSessions(app, reader, userId, pageToken || undefined, EXPORT_PAGE_ROWS);
        return {
          items: sessions.map((session) => ({
            ...messageJson(SessionSchema, toSessionMessage(session)),
            ...(session.endMs === null ? {} : { endTime: new Date(session.endMs).toISOString() }),
          })),
          nextPageToken: sessions.length < EXPORT_PAGE_ROWS ? '' : sessions.at(-1)!.id,
        };
      },
    },
  },
  remove: removeSessionsOf,
};
