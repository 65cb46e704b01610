import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import type { UserActivity } from '../../gen/kith/activity/v1/activity_pb.ts';
import {
  ActivityService,
  type WatchUserActivityRequestSchema,
  type WatchUserActivityResponse,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { writeCursor } from '../../src/activity/log/cursor.ts';
import { positionOf, selectActivities } from '../../src/activity/log/store.ts';
import { type Kith, type Refusal, refusalOf } from './kith.ts';
import { openApp } from './stored.ts';

export type WatchRequest = MessageInitShape<typeof WatchUserActivityRequestSchema>;

/** A watch of activity that is read when asked to. Disposing leaves it. */
export class Watch implements AsyncDisposable {
  readonly #messages: AsyncIterator<WatchUserActivityResponse>;
  readonly #leaving = new AbortController();
  /** Of the last message that was read. */
  cursor = '';

  constructor(client: Client<typeof ActivityService>, request: WatchRequest) {
    this.#messages = client.watchUserActivity(request, { signal: this.#leaving.signal })[Symbol.asyncIterator]();
  }

  /** The next message. Throws what ended the watch. */
  async next(): Promise<WatchUserActivityResponse> {
    const { done, value } = await this.#messages.next();
    if (done) throw new Error('the watch ended without a code');
    this.cursor = value.cursor;
    return value;
  }

  /** The next activity, whatever progress is told before it. */
  async activity(): Promise<UserActivity> {
    for (;;) {
      const { activity } = await this.next();
      if (activity !== undefined) return activity;
    }
  }

  /** The next `count` activities. */
  async activities(count: number): Promise<UserActivity[]> {
    const activities: UserActivity[] = [];
    while (activities.length < count) activities.push(await this.activity());
    return activities;
  }

  /** Reads to the end: how the watch was ended. `seen` gets the activities on the way. */
  end(seen: UserActivity[] = []): Promise<Refusal> {
    const rest = async (): Promise<never> => {
      for (;;) seen.push(await this.activity());
    };
    return refusalOf(rest());
  }

  leave(): void {
    this.#leaving.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave();
    await this.#messages.next().catch(() => {});
  }
}

/** Watches, from before this resolves. */
export async function startWatch(
  on: Transport | Client<typeof ActivityService>,
  request: WatchRequest = {},
): Promise<Watch> {
  const watch = new Watch('watchUserActivity' in on ? on : createClient(ActivityService, on), request);
  await watch.next();
  return watch;
}

/** Likewise, again and again while the server says that it cannot at the moment. */
export async function startWatchPatiently(
  client: Client<typeof ActivityService>,
  request: WatchRequest,
): Promise<Watch> {
  for (;;) {
    try {
      return await startWatch(client, request);
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
      await sleep(Math.random() * 1000);
    }
  }
}

/** The cursor of a message of a watch that has this activity. */
export function cursorAfter(kith: Kith, activity: Pick<UserActivity, 'id'>): Promise<string> {
  return cursorAt(kith, activity, 0);
}

/** A cursor from which a watch begins with this activity. */
export function cursorBefore(kith: Kith, activity: Pick<UserActivity, 'id'>): Promise<string> {
  return cursorAt(kith, activity, -1);
}

async function cursorAt(kith: Kith, { id }: Pick<UserActivity, 'id'>, by: number): Promise<string> {
  await using app = await openApp(kith);
  const [row] = await selectActivities(app.database.db, [id]);
  const { writer, seq } = positionOf(row!);
  return writeCursor(app.keyring, { writer, seq: seq + by });
}
