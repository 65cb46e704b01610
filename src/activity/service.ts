import type { ServiceImpl } from '@connectrpc/connect';
import type { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { callerOf } from '../rpc/caller.ts';
import { type ActivityApp, listActivities, recordActivities, watchActivities } from './activity.ts';
import { fromList, fromRecord, fromWatch, toActivityMessage, toActivityPage, toWatchMessage } from './messages.ts';

export function activityService(app: ActivityApp): ServiceImpl<typeof ActivityService> {
  return {
    async recordUserActivity(request, context) {
      const recorded = await recordActivities(app, callerOf(context), fromRecord(request), request.requestId);
      return { activities: recorded.map(toActivityMessage) };
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
