import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, ConnectError } from '@connectrpc/connect';
import { backoffMs, pause } from './backoff.ts';
import { UserActivitySchema } from './gen/kith/activity/v1/activity_pb.ts';
import { type ActivityService, ListUserActivityResponseSchema } from './gen/kith/activity/v1/activity_service_pb.ts';
import { KithError } from './kith-error.ts';
import { isTransient } from './retries.ts';
import { randomUuid } from './uuid.ts';
import { followAlone, gapFrom, type WatchEvent, type WatchFilter, type WatchState } from './watch.ts';

/** What the tabs of a browser share a watch by. */
export interface Sharing {
  /** The name of the session that the tabs share; undefined where they share none. Throws what a call would. */
  readonly sessionName: () => Promise<string | undefined>;
}

/** Where a holder is in what it has told: the last event is that of the number, in what the epoch has told. */
interface Place {
  readonly epoch: string;
  readonly number: number;
}

/** What is told to the other tabs, by BroadcastChannel. */
type Message =
  /** Asks the holder where it is. */
  | { readonly kind: 'hello' }
  /** Where the holder is: told at its beginning, once it has a cursor, and when somebody asks. */
  | {
      readonly kind: 'place';
      readonly place: Place;
      readonly cursor: string;
      readonly state: WatchState;
      /** Where the holder was in what another one told, when it began with its first event. Undefined: somewhere else. */
      readonly after: Place | undefined;
    }
  | { readonly kind: 'event'; readonly place: Place; readonly event: SentEvent }
  /** The holder lives, and has nothing to tell. */
  | { readonly kind: 'alive' };

/** An event as it is copied to another tab: messages of the contract in binary. */
type SentEvent =
  | { readonly kind: 'activity'; readonly activity: Uint8Array; readonly cursor: string }
  | { readonly kind: 'gap'; readonly page: Uint8Array; readonly cursor: string }
  | (WatchEvent & { readonly kind: 'state' });

/** Events that wait for the loop over them, and ids of activities that are remembered. */
const HELD_MAX = 10_000;

/** Kith says something every 15 seconds: a holder of which nothing is heard for longer is frozen or gone. */
const SILENCE_MS = 60_000;

const BACKOFF = { firstMs: 200, maxMs: 10_000 };

/**
 * Follows together with the other tabs of the browser that watch the same in the same session: the one that has the Web Lock
 * (https://www.w3.org/TR/web-locks/) holds the connection, and tells the others by BroadcastChannel. When it goes away,
 * another one takes its place. Each tab gets each activity after its own cursor once. Follows alone where there is no such
 * session, or the browser has no locks, as on pages that came over plain HTTP from another machine.
 */
export async function* followShared(
  sharing: Sharing,
  client: Client<typeof ActivityService>,
  filter: WatchFilter,
  from: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvent> {
  let cursor = from;
  for (let failures = 0; signal?.aborted !== true; ) {
    let session: string | undefined;
    try {
      session = hasMeans() ? await sharing.sessionName() : undefined;
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      if (!isTransient(error)) throw KithError.from(error);
      await pause(backoffMs(BACKOFF, (failures += 1)), signal).catch(() => {}); // the loop looks at the signal
      continue;
    }
    if (session === undefined) {
      yield* followAlone(client, filter, cursor, signal);
      return;
    }
    const tab = new Tab(
      sharing,
      session,
      JSON.stringify([session, filter.userId, filter.actionPrefixes]),
      client,
      filter,
      cursor,
    );
    const end = () => tab.end(undefined);
    signal?.addEventListener('abort', end);
    try {
      for (;;) {
        const event = await tab.next();
        if (event === undefined) break;
        cursor = event.cursor;
        yield event;
      }
    } finally {
      signal?.removeEventListener('abort', end);
      end();
    }
  }
}

function hasMeans(): boolean {
  return globalThis.navigator?.locks !== undefined && globalThis.BroadcastChannel !== undefined;
}

interface Holding {
  place: (Message & { kind: 'place' }) | undefined;
  readonly ending: AbortController;
}

/** The part of one tab in a watch that is shared. */
class Tab {
  readonly #sharing: Sharing;
  readonly #session: string;
  readonly #name: string;
  readonly #client: Client<typeof ActivityService>;
  readonly #filter: WatchFilter;
  readonly #channel: BroadcastChannel;
  readonly #ending = new AbortController();
  readonly #silence: ReturnType<typeof setInterval>;
  readonly #queue: WatchEvent[] = [];
  /** The ids of the last activities that were queued, or come before the cursor that this tab began with. */
  readonly #seen = new Set<string>();
  /** Of the last event that was queued. */
  #cursor: string;
  #state: WatchState | undefined;
  /** Where this tab is in what the holder tells. Undefined: it is not known. */
  #place: Place | undefined;
  /** Whether the holder was where the cursor is when it told the last event: not before what was received alone. */
  #isInStep = false;
  /** While this tab finds its place: what the holder of the epoch tells meanwhile, and what ends that. */
  #joining:
    | { readonly epoch: string; readonly buffer: (Message & { kind: 'event' })[]; readonly ending: AbortController }
    | undefined;
  /** While this tab is the holder: what it says when it is asked for its place, and what ends that. */
  #holding: Holding | undefined;
  #heardMs = Date.now();
  /** Whether the holder was asked since, and is to say something. */
  #hasAsked = false;
  #error: { readonly reason: unknown } | undefined;
  #wake = (): void => {};

  constructor(
    sharing: Sharing,
    session: string,
    name: string,
    client: Client<typeof ActivityService>,
    filter: WatchFilter,
    from: string,
  ) {
    this.#sharing = sharing;
    this.#session = session;
    this.#name = `kith.watch ${name}`;
    this.#client = client;
    this.#filter = filter;
    this.#cursor = from;
    this.#push({ kind: 'state', state: 'connecting', cursor: from });
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.addEventListener('message', ({ data }) => this.#take(data as Message));
    this.#post({ kind: 'hello' });
    this.#silence = setInterval(() => this.#look(), SILENCE_MS / 3);
    void this.#waitForLock({ signal: this.#ending.signal });
  }

  /** The next event. Undefined when this part is over; throws what it ended with. */
  async next(): Promise<WatchEvent | undefined> {
    for (;;) {
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      if (this.#error !== undefined) throw this.#error.reason;
      if (this.#ending.signal.aborted) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  end(error: { readonly reason: unknown } | undefined): void {
    if (this.#ending.signal.aborted) return;
    this.#error = error;
    clearInterval(this.#silence);
    this.#joining?.ending.abort();
    this.#holding?.ending.abort();
    this.#ending.abort();
    this.#channel.close();
    this.#wake();
  }

  #post(message: Message): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- of windows: a channel has one origin
    if (!this.#ending.signal.aborted) this.#channel.postMessage(message);
  }

  #take(message: Message): void {
    if (this.#ending.signal.aborted) return;
    if (message.kind === 'hello') {
      if (this.#holding !== undefined) this.#post(this.#holding.place ?? { kind: 'alive' });
      return;
    }
    if (this.#holding !== undefined) return; // of one that was the holder before
    this.#heardMs = Date.now();
    this.#hasAsked = false;
    if (message.kind === 'place') this.#takePlace(message);
    else if (message.kind === 'event') this.#takeEvent(message);
  }

  #takePlace(message: Message & { kind: 'place' }): void {
    const { place, after } = message;
    if (this.#joining?.epoch === place.epoch) return; // what it tells meanwhile is kept
    if (this.#joining === undefined && this.#place !== undefined) {
      if (isSame(this.#place, place)) return;
      const isBehind = after !== undefined && after.epoch === this.#place.epoch && after.number <= this.#place.number;
      // What came from the holder before and comes from this one again is known by its id.
      if (isBehind && place.number === 0) {
        this.#isInStep &&= after.number === this.#place.number;
        this.#place = place;
        return;
      }
    }
    void this.#join(message);
  }

  #takeEvent(message: Message & { kind: 'event' }): void {
    if (this.#joining !== undefined) {
      this.#joining.buffer.push(message);
      if (this.#joining.buffer.length > HELD_MAX) this.end(undefined); // begins anew
      return;
    }
    const place = this.#place;
    if (place === undefined) return;
    if (message.place.epoch === place.epoch && message.place.number <= place.number) return;
    if (message.place.epoch === place.epoch && message.place.number === place.number + 1) {
      this.#place = message.place;
      this.#pushTold(this.#received(message.event));
      return;
    }
    this.#place = undefined;
    this.#post({ kind: 'hello' });
  }

  /** Finds the place in what the holder tells: receives by itself what comes between the own cursor and that of the holder. */
  async #join({ place, cursor, state }: Message & { kind: 'place' }): Promise<void> {
    this.#joining?.ending.abort();
    const ending = new AbortController();
    const { signal } = ending;
    const buffer: (Message & { kind: 'event' })[] = [];
    this.#joining = { epoch: place.epoch, buffer, ending };
    // The cursor goes on from here: were this tab to hold the connection now, it would begin somewhere else.
    this.#place = undefined;
    let isInStep = true;
    try {
      if (this.#cursor === '') this.#cursor = cursor;
      else if (this.#cursor !== cursor) {
        isInStep = false;
        // The cursors cannot be compared, and the holder may be behind: what it is going to tell, up to now.
        const ahead = new Set<string>();
        await this.#receive(cursor, signal, (event) => {
          if (event.kind === 'activity') ahead.add(event.activity.id);
        });
        // All of that which comes after the own cursor is received here, so that the rest comes before it.
        await this.#receive(this.#cursor, signal, (event) => {
          if (event.kind !== 'state' || event.state === 'catching-up') this.#push(event);
        });
        for (const id of ahead) this.#remember(id);
      }
    } catch (reason) {
      if (!signal.aborted) this.end({ reason });
    }
    if (signal.aborted) return;
    this.#joining = undefined;
    this.#place = place;
    this.#isInStep = isInStep;
    this.#push({ kind: 'state', state, cursor: this.#cursor });
    for (const message of buffer) this.#takeEvent(message);
  }

  /** Receives over a connection of its own what was recorded until now, and no more. */
  async #receive(from: string, signal: AbortSignal, onEvent: (event: WatchEvent) => void): Promise<void> {
    for await (const event of followAlone(this.#client, this.#filter, from, signal)) {
      if (signal.aborted) return;
      if (event.kind === 'state' && event.state === 'live') return;
      onEvent(event);
    }
  }

  async #waitForLock(options: { signal: AbortSignal } | { steal: true }): Promise<void> {
    try {
      await navigator.locks.request(this.#name, options, () => this.#hold());
    } catch (reason) {
      if (this.#ending.signal.aborted) return;
      if (!isAbort(reason)) return this.end({ reason });
      // Another tab took this one for frozen, which it may have been.
      this.#holding?.ending.abort();
      this.#holding = undefined;
      this.#place = undefined;
      this.#heardMs = Date.now();
      this.#post({ kind: 'hello' });
      return this.#waitForLock({ signal: this.#ending.signal });
    }
  }

  /** Receives for all tabs, for as long as this one lives. */
  async #hold(): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#joining?.ending.abort();
    this.#joining = undefined;
    const holding: Holding = { place: undefined, ending: new AbortController() };
    this.#holding = holding;
    const epoch = randomUuid();
    const after = this.#isInStep ? this.#place : undefined;
    const setPlace = (number: number, state: WatchState): void => {
      const isFirst = holding.place === undefined;
      this.#place = { epoch, number };
      if (this.#cursor === '') return; // a tab that has a cursor could not find its place
      holding.place = { kind: 'place', place: this.#place, cursor: this.#cursor, state, after };
      if (isFirst) this.#post(holding.place);
    };
    // Somebody else may have signed in meanwhile: begins anew, as when the session cannot be had.
    const session = await this.#sharing.sessionName().catch(() => undefined);
    if (session !== this.#session) return this.end(undefined);
    try {
      let number = 0;
      let state: WatchState = 'connecting';
      setPlace(number, state);
      const alive = () => this.#post({ kind: 'alive' });
      const { signal } = holding.ending;
      for await (const event of followAlone(this.#client, this.#filter, this.#cursor, signal, alive)) {
        const sent = await toSent(event);
        if (signal.aborted) return;
        number += 1;
        if (event.kind === 'state') state = event.state;
        this.#post({ kind: 'event', place: { epoch, number }, event: sent });
        this.#push(event);
        setPlace(number, state);
      }
    } catch (reason) {
      // The next one finds out by itself: what this one was refused may be its own affair.
      if (!holding.ending.signal.aborted) this.end({ reason });
    }
  }

  #received(event: SentEvent): WatchEvent {
    const { cursor } = event;
    if (event.kind === 'state') return event;
    if (event.kind === 'activity')
      return { kind: 'activity', activity: fromBinary(UserActivitySchema, event.activity), cursor };
    return gapFrom(this.#client, this.#filter, fromBinary(ListUserActivityResponseSchema, event.page));
  }

  /** Queues what the holder told, but for what this tab has by itself, whose cursor would lead back. */
  #pushTold(event: WatchEvent): void {
    if (event.kind === 'activity' && this.#seen.has(event.activity.id)) return;
    if (event.kind === 'state') return this.#push(this.#isInStep ? event : { ...event, cursor: this.#cursor });
    this.#isInStep = true;
    this.#push(event);
  }

  #push(event: WatchEvent): void {
    this.#cursor = event.cursor;
    if (event.kind === 'state') {
      if (event.state === this.#state) return;
      this.#state = event.state;
    }
    if (event.kind === 'activity') {
      if (this.#seen.has(event.activity.id)) return;
      this.#remember(event.activity.id);
    }
    if (this.#queue.length >= HELD_MAX) {
      // Whoever reads too slowly begins anew behind what was read last.
      this.#queue.length = 0;
      this.end(undefined);
      return;
    }
    this.#queue.push(event);
    this.#wake();
  }

  #remember(id: string): void {
    this.#seen.add(id);
    if (this.#seen.size <= HELD_MAX) return;
    const [oldest] = this.#seen;
    this.#seen.delete(oldest!);
  }

  #look(): void {
    if (this.#holding !== undefined || Date.now() - this.#heardMs < SILENCE_MS) return;
    if (this.#hasAsked) {
      this.#heardMs = Date.now();
      void this.#waitForLock({ steal: true });
    } else {
      // The machine may have been asleep, and the holder with it.
      this.#post({ kind: 'hello' });
    }
    this.#hasAsked = !this.#hasAsked;
  }
}

async function toSent(event: WatchEvent): Promise<SentEvent> {
  const { cursor } = event;
  if (event.kind === 'state') return event;
  if (event.kind === 'activity')
    return { kind: 'activity', activity: toBinary(UserActivitySchema, event.activity), cursor };
  return { kind: 'gap', page: toBinary(ListUserActivityResponseSchema, await event.activities.page()), cursor };
}

function isSame(a: Place, b: Place): boolean {
  return a.epoch === b.epoch && a.number === b.number;
}

function isAbort(reason: unknown): boolean {
  return (reason as { name?: unknown } | undefined)?.name === 'AbortError';
}
