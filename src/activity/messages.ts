import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type UserActivity, UserActivitySchema } from '../../gen/kith/activity/v1/activity_pb.ts';
import {
  type ListUserActivityRequest,
  type ListUserActivityResponseSchema,
  type RecordUserActivityRequest,
  type WatchUserActivityRequest,
  type WatchUserActivityResponse,
  WatchUserActivityResponseSchema,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { shareMessage } from '../lane/shared-message.ts';
import type { Page } from '../pages.ts';
import type { Activity, ActivityListRequest, ActivityWatchRequest, WatchMessage } from './activity.ts';
import type { NewActivity } from './log.ts';

/** One activity goes to many watchers: its message is made once. */
const messages = new WeakMap<Activity, UserActivity>();

export function toActivityMessage(activity: Activity): UserActivity {
  const known = messages.get(activity);
  if (known !== undefined) return known;
  const message = create(UserActivitySchema, {
    id: activity.id,
    userId: activity.userId,
    actorId: activity.actorId ?? '',
    action: activity.action,
    details: activity.details,
    attributes: { ...activity.attributes },
    eventTime: timestampFromMs(activity.eventMs),
    recordTime: timestampFromMs(activity.recordMs),
    cursor: activity.cursor,
  });
  messages.set(activity, message);
  return message;
}

export function toActivityPage(
  page: Omit<Page<Activity>, 'total'>,
): MessageInitShape<typeof ListUserActivityResponseSchema> {
  return { activities: page.items.map(toActivityMessage), nextPageToken: page.nextPageToken };
}

/** Likewise the message of a watch, whose bytes are the same for all. */
const watchMessages = new WeakMap<Activity, WatchUserActivityResponse>();

export function toWatchMessage({ activity, cursor }: WatchMessage): WatchUserActivityResponse {
  if (activity === undefined) return create(WatchUserActivityResponseSchema, { cursor });
  let message = watchMessages.get(activity);
  if (message === undefined) {
    message = shareMessage(create(WatchUserActivityResponseSchema, { activity: toActivityMessage(activity), cursor }));
    watchMessages.set(activity, message);
  }
  return message;
}

export function fromRecord(request: RecordUserActivityRequest): Omit<NewActivity, 'actorId'>[] {
  return request.activities.map(({ userId, action, details, attributes, eventTime }) => ({
    userId,
    action,
    details,
    attributes: sorted(attributes),
    eventMs: eventTime && timestampMs(eventTime),
  }));
}

/** A map has no order, and a caller who tries again may send another one: see OnceRequest.input. */
function sorted(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function fromList(request: ListUserActivityRequest): ActivityListRequest {
  const { pageSize, pageToken, action, startTime, endTime } = request;
  return {
    pageSize,
    pageToken,
    userId: request.userId || undefined,
    action,
    startMs: startTime && timestampMs(startTime),
    endMs: endTime && timestampMs(endTime),
  };
}

export function fromWatch({ userId, afterCursor, action }: WatchUserActivityRequest): ActivityWatchRequest {
  return { userId: userId || undefined, afterCursor, action };
}
