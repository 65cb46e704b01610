import type { ServiceImpl } from '@connectrpc/connect';
import type { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { callerOf } from '../rpc/caller.ts';
import { type ActivityApp, listActivities, recordActivities, watchActivities } from './activity.ts';
import {
  fromList,
  fromRecord,
  fromStream,
  fromWatch,
  recordResponse,
  toActivityPage,
  toRecordAnswer,
  toWatchMessage,
} from './messages.ts';
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
