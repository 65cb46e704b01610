import type { App } from '../../app.ts';
import { deleteOfUser, deleteOldest } from './store.ts';

/** Removes up to `limit` activities that are past the retention. Returns how many were removed. */
export function purgeActivities(app: App, limit: number): Promise<number> {
  return app.database.transaction((tx) => deleteOldest(tx, app.now() - app.activityRetentionMs, limit));
}

/** Removes up to `limit` activities of a user who is about to be purged. Returns how many were removed. */
export function purgeActivitiesOf(app: App, userId: string, limit: number): Promise<number> {
  return deleteOfUser(app.database.db, userId, limit);
}
