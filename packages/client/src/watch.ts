import { type Client, ConnectError } from '@connectrpc/connect';
import { backoffMs, pause, untilAborted } from './backoff.ts';
import type { UserActivity } from './gen/kith/activity/v1/activity_pb.ts';
import type {
  ActivityService,
  ListUserActivityResponse,
  WatchUserActivityResponse,
} from './gen/kith/activity/v1/activity_service_pb.ts';
import { KithError, type Reason, reasonOf, retryAfterOf } from './kith-error.ts';
import { createListing, type Listing } from './listing.ts';
import { isTransient } from './retries.ts';

/** What to watch. */
export interface WatchOptions {
  /** Whose activity; absent for everybody's. */
  readonly userId?: string | undefined;
  /** The cursor to go on from: of an event, or the `watchCursor` of a list. Absent: what is recorded from now on. */
  readonly from?: string | undefined;
  /** Only actions that are one of these or begin with it and a dot. Absent for every action. */
  readonly actionPrefixes?: readonly string[] | undefined;
  /** Ends the watch. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether one tab holds the connection for all that watch the same in the same session. Default: true in browsers. Where
   * there are no Web Locks, as on pages that came over plain HTTP from another machine, each tab has a connection of its own.
   */
  readonly shared?: boolean | undefined;
}

/** `connecting`: nothing comes. `catching-up`: what was recorded before comes. `live`: activities come as they happen. */
export type WatchState = 'connecting' | 'catching-up' | 'live';

/** What a watch tells. `cursor`: where to go on after this event. */
export type WatchEvent =
  | { readonly kind: 'activity'; readonly activity: UserActivity; readonly cursor: string }
  | { readonly kind: 'state'; readonly state: WatchState; readonly cursor: string }
  | {
      /** Activities that followed the cursor are not kept any more. The watch goes on after `activities`. */
      readonly kind: 'gap';
      /** What is kept, newest first, without what the watch sends from here on. */
      readonly activities: Listing<UserActivity, ListUserActivityResponse>;
      readonly cursor: string;
    };

/** A watch that goes on by itself after a break, with each activity once. Each loop over it goes on at `cursor`. */
export interface Watch extends AsyncIterable<WatchEvent> {
  /** Where to go on after the last event; empty before the first connection. */
  readonly cursor: string;
}

/** The activity that a watch is about, as the contract has it. */
export interface WatchFilter {
  readonly userId: string;
  readonly actionPrefixes: string[];
}

/** Follows one filter from a cursor on. */
export type Follow = (filter: WatchFilter, from: string, signal: AbortSignal | undefined) => AsyncIterable<WatchEvent>;

/** How a watch behaves; tests set it. */
export interface WatchTimes {
  /** Kith says something every 15 seconds: a connection of which nothing is heard for longer is dead. */
  readonly silenceMs: number;
  readonly backoff: { readonly firstMs: number; readonly maxMs: number };
}

/** Ends of a watch after which another connection goes on, beside those that are transient for every call. */
const GOES_ON: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'CONSUMER_TOO_SLOW',
  'SERVER_BUSY',
  'BUDGET_EXCEEDED',
  'ACCESS_TOKEN_EXPIRED',
  'INTERNAL',
]);

const TIMES: WatchTimes = { silenceMs: 45_000, backoff: { firstMs: 200, maxMs: 10_000 } };

/**
 * Whether tabs may share a watch here: in pages and workers, where there are Web Locks, which browsers have for pages that came
 * over TLS or from this machine.
 */
export function mayShare({
  shared = typeof document !== 'undefined' || 'WorkerGlobalScope' in globalThis,
}: WatchOptions) {
  return shared && globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;
}

/** A watch made of what follows its filter. */
export function createWatch(options: WatchOptions, follow: Follow): Watch {
  const { userId = '', actionPrefixes = [], signal } = options;
  let cursor = options.from ?? '';
  return {
    get cursor() {
      return cursor;
    },
    async *[Symbol.asyncIterator]() {
      for await (const event of follow({ userId, actionPrefixes: [...actionPrefixes] }, cursor, signal)) {
        cursor = event.cursor;
        yield event;
      }
    },
  };
}

/**
 * Follows over a connection of its own, one after the other, by a client whose calls are signed. `onSign` is called with the
 * cursor before each attempt to connect, and whenever something comes that is no event. Throws a KithError when going on would
 * change nothing.
 */
export async function* followAlone(
  client: Client<typeof ActivityService>,
  filter: WatchFilter,
  from: string,
  signal: AbortSignal | undefined,
  onSign: (cursor: string) => void = () => {},
  { silenceMs, backoff }: WatchTimes = TIMES,
): AsyncGenerator<WatchEvent> {
  let cursor = from;
  let state: WatchState | undefined;
  let failures = 0;
  let isExpired = false;
  const isEnded = () => signal?.aborted === true;
  while (!isEnded()) {
    onSign(cursor);
    if (state !== 'connecting') yield { kind: 'state', state: (state = 'connecting'), cursor };
    const connection = new AbortController();
    const abort = () => connection.abort();
    signal?.addEventListener('abort', abort);
    let waitMs = 0;
    try {
      if (isExpired) {
        const gap = await openGap(client, filter, connection.signal);
        cursor = gap.cursor;
        isExpired = false;
        yield gap;
      }
      const stream = client.watchUserActivity({ ...filter, afterCursor: cursor }, { signal: connection.signal });
      const messages = stream[Symbol.asyncIterator]();
      for (;;) {
        const next = await nextWithin(messages, silenceMs, connection);
        if (next.done === true) break;
        const { activity, caughtUp } = next.value;
        const previous = cursor;
        cursor = next.value.cursor;
        failures = 0;
        if (activity === undefined) {
          // The first message that says so may be any; all later ones say it too.
          const now: WatchState = caughtUp ? 'live' : 'catching-up';
          if (now !== state) yield { kind: 'state', state: (state = now), cursor };
          else onSign(cursor);
        } else {
          if (state === 'connecting') yield { kind: 'state', state: (state = 'catching-up'), cursor: previous };
          yield { kind: 'activity', activity, cursor };
        }
      }
    } catch (thrown) {
      if (isEnded()) return;
      const error = ConnectError.from(thrown);
      const reason = reasonOf(error);
      if (reason === 'CURSOR_EXPIRED') isExpired = true;
      else if (!GOES_ON.has(reason) && !isTransient(error)) throw KithError.from(error);
      waitMs = (retryAfterOf(error) ?? 0) * 1000;
    } finally {
      signal?.removeEventListener('abort', abort);
      connection.abort();
    }
    failures += 1;
    await pause(waitMs + backoffMs(backoff, failures), signal).catch(() => {}); // the loop looks at the signal
  }
}

/** The next message; when none comes in time, the connection is aborted and the promise rejects. */
async function nextWithin(
  messages: AsyncIterator<WatchUserActivityResponse>,
  silenceMs: number,
  connection: AbortController,
): Promise<IteratorResult<WatchUserActivityResponse>> {
  const timer = setTimeout(() => connection.abort(), silenceMs);
  try {
    return await untilAborted(messages.next(), connection.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** What to tell where the cursor is too old: the list of what there is, and where the watch goes on behind it. */
async function openGap(
  client: Client<typeof ActivityService>,
  filter: WatchFilter,
  signal: AbortSignal,
): Promise<WatchEvent & { kind: 'gap' }> {
  return gapFrom(client, filter, await client.listUserActivity(filter, { signal }));
}

/** The gap that a list begins with this page of. */
export function gapFrom(
  client: Client<typeof ActivityService>,
  filter: WatchFilter,
  first: ListUserActivityResponse,
): WatchEvent & { kind: 'gap' } {
  const activities = createListing(
    '',
    async (pageToken) => {
      try {
        return pageToken === '' ? first : await client.listUserActivity({ ...filter, pageToken });
      } catch (thrown) {
        throw KithError.from(thrown);
      }
    },
    (page) => page.activities,
  );
  return { kind: 'gap', activities, cursor: first.watchCursor };
}
