import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type UserActivity, UserActivitySchema } from '../../gen/kith/activity/v1/activity_pb.ts';
import {
  ActivityService,
  type ListUserActivityRequest,
  type ListUserActivityResponseSchema,
  type NewActivity,
  type RecordUserActivityRequest,
  type StreamUserActivityRequest,
  type StreamUserActivityResponse,
  StreamUserActivityResponseSchema,
  type WatchUserActivityRequest,
  type WatchUserActivityResponse,
  WatchUserActivityResponseSchema,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { shareMessage } from '../../packages/connect-fast/src/index.ts';
import { toRefusal } from '../rpc/errors.ts';
import { responseFormat } from '../rpc/response-format.ts';
import type { Activity, ActivityListRequest, ActivityPage, ActivityWatchRequest, WatchMessage } from './activity.ts';
import type { RecordAnswer, RecordMessage } from './record-stream.ts';
import type { AskedActivity } from './recording.ts';

/** Caches the message of an activity, which goes to many watchers. */
const messages = new WeakMap<Activity, UserActivity>();

export function toActivityMessage(activity: Activity): UserActivity {
  const known = messages.get(activity);
  if (known !== undefined) return known;
  const message = create(UserActivitySchema, {
    id: activity.id,
    userId: activity.userId ?? '',
    actorId: activity.actorId ?? '',
    actorSessionId: activity.actorSessionId ?? '',
    action: activity.action,
    details: activity.details,
    attributes: { ...activity.attributes },
    eventTime: timestampFromMs(activity.eventMs),
    recordTime: timestampFromMs(activity.recordMs),
  });
  messages.set(activity, message);
  return message;
}

export function toActivityPage(page: ActivityPage): MessageInitShape<typeof ListUserActivityResponseSchema> {
  const { nextPageToken, watchCursor } = page;
  return { activities: page.items.map(toActivityMessage), nextPageToken, watchCursor };
}

/** Likewise the message of a watch, whose bytes are the same for all but those that leave out what was listed. */
const watchMessages = new WeakMap<Activity, WatchUserActivityResponse>();

export function toWatchMessage({ activity, cursor, isCaughtUp }: WatchMessage): WatchUserActivityResponse {
  if (activity === undefined) return create(WatchUserActivityResponseSchema, { cursor, caughtUp: isCaughtUp });
  const known = watchMessages.get(activity);
  if (known?.cursor === cursor) return known;
  const message = create(WatchUserActivityResponseSchema, { activity: toActivityMessage(activity), cursor });
  if (known === undefined) watchMessages.set(activity, shareMessage(message));
  return message;
}

export function fromRecord({ activities }: RecordUserActivityRequest): AskedActivity[] {
  return fromActivities(activities);
}

export async function* fromStream(requests: AsyncIterable<StreamUserActivityRequest>): AsyncGenerator<RecordMessage> {
  for await (const { sequence, activities } of requests) yield { sequence, activities: fromActivities(activities) };
}

export function toRecordAnswer({ refusal, ...answer }: RecordAnswer): StreamUserActivityResponse {
  if (refusal === undefined) return create(StreamUserActivityResponseSchema, answer);
  return create(StreamUserActivityResponseSchema, { ...answer, refusal: toRefusal(refusal) });
}

function fromActivities(activities: readonly NewActivity[]): AskedActivity[] {
  return activities.map(({ id, userId, action, details, attributes, eventTime }) => ({
    id: id || undefined,
    userId: userId || null,
    action,
    details,
    attributes: sorted(attributes),
    eventMs: eventTime && timestampMs(eventTime),
  }));
}

/** A map has no order, and a caller who tries again may send another one: see IdempotentRequest.input. */
function sorted(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function fromList(request: ListUserActivityRequest): ActivityListRequest {
  const { pageSize, pageToken, actionPrefixes, startTime, endTime } = request;
  return {
    pageSize,
    pageToken,
    userId: request.userId || undefined,
    actionPrefixes: distinct(actionPrefixes),
    startMs: startTime && timestampMs(startTime),
    endMs: endTime && timestampMs(endTime),
  };
}

export function fromWatch({ userId, afterCursor, actionPrefixes }: WatchUserActivityRequest): ActivityWatchRequest {
  return { userId: userId || undefined, afterCursor, actionPrefixes: distinct(actionPrefixes) };
}

/** Sorted and without repeats, so that a page token is valid for the same filter in any order. */
function distinct(values: readonly string[]): string[] {
  return [...new Set(values)].toSorted();
}

/** Responses to RecordUserActivity, which are stored for a caller that sends the request again. */
export const recordResponse = responseFormat(
  ActivityService.method.recordUserActivity,
  (activities: readonly Activity[]) => ({
    activities: activities.map(toActivityMessage),
  }),
);
