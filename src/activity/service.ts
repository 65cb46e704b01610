import type { ServiceImpl } from '@connectrpc/connect';
import { UserActivitySchema } from '../../gen/kith/activity/v1/activity_pb.ts';
import type { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { EXPORT_PAGE_ROWS, type PersonalData } from '../privacy/personal-data.ts';
import { callerOf } from '../rpc/caller.ts';
import { messageJson } from '../rpc/message-json.ts';
import { type ActivityApp, listActivities, recordActivities, watchActivities } from './activity.ts';
import {
  fromList,
  fromRecord,
  fromStream,
  fromWatch,
  recordResponse,
  toActivityPage,
  toActivityMessage,
  toRecordAnswer,
  toWatchMessage,
} from './messages.ts';
import { purgeActivitiesOf } from './log/purge.ts';
import { recordStream } from './record-stream.ts';

export function activityService(app: ActivityApp): ServiceImpl<typeof ActivityService> {
  return {
    recordUserActivity(request, context) {
      return recordActivities(app, callerOf(context), fromRecord(request), request.requestId, recordResponse);
    },
    async *streamUserActivity(requests, context) {
      for await (const answer of recordStream(app, callerOf(context), fromStream(requests), context.signal)) {
        yield toRecordAnswer(answer);
      }
    },
    async listUserActivity(request, context) {
      return toActivityPage(await listActivities(app, callerOf(context), fromList(request)));
    },
    async *watchUserActivity(request, context) {
      for await (const message of watchActivities(app, callerOf(context), fromWatch(request), context.signal)) {
        yield toWatchMessage(message);
      }
    },
  };
}

/** The activity of a user, which others see but for what is shown to its owner alone. */
export const activityData: PersonalData = {
  tables: {
    activity: {
      user_id: { exported: 'activity' },
      actor_id: {
        exported: { not: 'what the user did to others is activity of theirs' },
        stays: 'who did something to another user is told by the id alone, for as long as that activity is kept',
      },
    },
  },
  parts: {
    activity: {
      permission: 'activity.read',
      omits: (_, isOwn) => (isOwn ? [] : ['private']),
      async read(app, reader, userId, pageToken) {
        const all = { userId, actionPrefixes: [], startMs: undefined, endMs: undefined };
        const page = await listActivities(app, reader, { ...all, pageSize: EXPORT_PAGE_ROWS, pageToken });
        return {
          items: page.items.map((activity) => messageJson(UserActivitySchema, toActivityMessage(activity))),
          nextPageToken: page.nextPageToken,
        };
      },
    },
  },
  remove: purgeActivitiesOf,
};
