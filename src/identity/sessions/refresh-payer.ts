import { LRUCache } from 'lru-cache';
import type { App } from '../../app.ts';
import { payFor } from '../../budget/current-payer.ts';
import { type Payer, sessionPayer, userPayer } from '../../budget/payer.ts';
import { selectSession } from './store.ts';

/** How many sessions are remembered, at about 250 bytes each. */
const KNOWN_MAX = 20_000;

/** The users of sessions that were refreshed lately, by the id of the session. A session never changes its user. */
export type SessionUsers = LRUCache<string, string>;

export function createSessionUsers(): SessionUsers {
  return new LRUCache({ max: KNOWN_MAX });
}

/**
 * Whom to charge for refreshing a session: its user, since a user may have a hundred sessions, which would otherwise
 * be a hundred shares. The session itself pays for the one short read that finds out who that is. Undefined if there
 * is no such session.
 */
export async function refreshPayer(
  app: Pick<App, 'database'> & { readonly sessionUsers: SessionUsers },
  sessionId: string,
): Promise<Payer | undefined> {
  let userId = app.sessionUsers.get(sessionId);
  if (userId === undefined) {
    const state = await payFor(sessionPayer(sessionId), () => selectSession(app.database.db, sessionId));
    if (state === undefined) return undefined;
    userId = state.session.user_id;
    app.sessionUsers.set(sessionId, userId);
  }
  return userPayer(userId);
}
