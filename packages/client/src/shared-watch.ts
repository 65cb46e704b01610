import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { backoffMs, pause } from './backoff.ts';
import { type Caller, callerOf } from './caller.ts';
import type { Calls } from './calls.ts';
import { UserActivitySchema } from './gen/kith/activity/v1/activity_pb.ts';
import { ActivityService, ListUserActivityResponseSchema } from './gen/kith/activity/v1/activity_service_pb.ts';
import { KithError } from './kith-error.ts';
import { isTransient } from './retries.ts';
import { randomUuid } from './uuid.ts';
import { watchPage } from './watch-page.ts';
import {
  createWatch,
  followAlone,
  gapFrom,
  mayShare,
  type Watch,
  type WatchEvent,
  type WatchFilter,
  type WatchOptions,
  type WatchState,
} from './watch.ts';

/**
 * What tabs say to each other by BroadcastChannel. A term is the time of one holder, who numbers what it tells. What different
 * tabs say may arrive in any order.
 */
type Message =
  /** Asks the holder where it is. The answer is to the question. */
  | { readonly kind: 'where'; readonly question: string }
  | Place
  | { readonly kind: 'told'; readonly term: string; readonly number: number; readonly event: Told }
  /** The holder is none any more. If it was refused, each tab finds out by itself why. */
  | { readonly kind: 'over'; readonly term: string };

/**
 * Where the holder is: what it tells next has the number after this one, and follows the cursor. Empty: it has none yet. Said
 * as an answer, and once without being asked.
 */
interface Place {
  readonly kind: 'place';
  readonly term: string;
  readonly to?: string;
  readonly number: number;
  readonly cursor: string;
  readonly state: WatchState;
}

/** An event as it is copied to another tab, messages of the contract in binary. A state may be told again, for its cursor. */
type Told =
  | { readonly kind: 'activity'; readonly activity: Uint8Array; readonly cursor: string }
  | { readonly kind: 'gap'; readonly page: Uint8Array; readonly cursor: string }
  | (WatchEvent & { readonly kind: 'state' });

/** A holder that a tab is about to follow, and what it has told since it said where it is. */
interface Offer {
  readonly place: Place;
  readonly told: Told[];
}

/** Events that wait for the loop over them, that wait for a tab to be in step, or that one request reads at the most. */
const HELD_MAX = 1_000;

/** How long a holder may be silent until it is asked where it is, and how long it may take to answer, milliseconds. */
const SILENCE = { askMs: 30_000, answerMs: 10_000 };

/** How long a tab waits for an answer before it reads by itself, milliseconds: not all equally long. */
const ANSWER = { leastMs: 1_000, more: { firstMs: 1_000, maxMs: 1_000 } };

const BACKOFF = { firstMs: 200, maxMs: 10_000 };

/** A watch by calls that are signed, which tabs of a browser share unless the options say otherwise. */
export function watchOver(calls: Pick<Calls, 'transport' | 'signing'>, options: WatchOptions = {}): Watch {
  const client = createClient(ActivityService, calls.transport);
  return createWatch(options, (filter, from, signal) =>
    mayShare(options) ? followShared(calls, filter, from, signal) : followAlone(client, filter, from, signal),
  );
}

/**
 * Follows together with the other tabs that watch the same in the same session. The one with the Web Lock
 * (https://www.w3.org/TR/web-locks/) holds the connection and tells the others; when it goes away, the next takes its place.
 * Each tab gets each activity after its own cursor once, in order, whoever holds the connection, and if several do. Follows
 * alone where the session has no name.
 */
export async function* followShared(
  calls: Pick<Calls, 'transport' | 'signing'>,
  filter: WatchFilter,
  from: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvent> {
  let cursor = from;
  const page = watchPage();
  const isEnded = () => signal?.aborted === true;
  try {
    for (let failures = 0; !isEnded(); ) {
      await page.shown(signal);
      let caller: Caller | undefined;
      try {
        caller = await callerOf(calls);
        failures = 0;
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        if (!isTransient(error)) throw KithError.from(error);
        await pause(backoffMs(BACKOFF, (failures += 1)), signal).catch(() => {}); // the loop looks at the signal
        continue;
      }
      if (caller === undefined) {
        yield* followAlone(createClient(ActivityService, calls.transport), filter, cursor, signal);
        return;
      }
      const tab = new Tab(await nameOf(caller, filter), caller, filter, cursor);
      const leave = () => tab.leave();
      signal?.addEventListener('abort', leave);
      page.onHidden(leave);
      if (isEnded()) leave();
      try {
        for (let event = await tab.next(); event !== undefined; event = await tab.next()) {
          cursor = event.cursor;
          yield event;
        }
      } finally {
        signal?.removeEventListener('abort', leave);
        leave();
      }
      await pause(BACKOFF.firstMs, signal).catch(() => {}); // the loop looks at the signal
    }
  } finally {
    page.close();
  }
}

/** The name of a lock and a channel. Who is signed in cannot be read from it. */
async function nameOf({ key }: Caller, { userId, actionPrefixes }: WatchFilter): Promise<string> {
  // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is of ES2023
  const prefixes = [...new Set(actionPrefixes)].sort();
  const text = new TextEncoder().encode(JSON.stringify([key, userId, prefixes]));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', text));
  return `kith.watch ${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** The part of one tab in a watch that is shared: follows a holder, and is one when it has the lock. */
class Tab {
  readonly #name: string;
  readonly #caller: Caller;
  readonly #client: Client<typeof ActivityService>;
  readonly #filter: WatchFilter;
  readonly #channel: BroadcastChannel;
  readonly #leaving = new AbortController();
  readonly #queue: WatchEvent[] = [];
  /** Behind the last event that was queued. */
  #cursor: string;
  #state: WatchState | undefined;
  /** What this tab follows: the last number that it has. Undefined while it reads by itself. */
  #step: { readonly term: string; number: number } | undefined;
  #offer: Offer | undefined;
  /** Whether there is more to read than is read while this tab joins. */
  #isBehind = false;
  /** What this tab has read by itself, and the holder may yet tell. Empty once the holder is past all of that. */
  #known: Set<string> = new Set();
  /** Where this tab is as the holder; undefined while another one is. */
  #place: Place | undefined;
  /** Ends the waiting for the lock, or the holding of it. */
  #turn = new AbortController();
  #isStealing = false;
  /** The question that this tab has asked and nobody has answered. */
  #question: string | undefined;
  /** When the holder that this tab follows was heard last, milliseconds since 1970. */
  #heardMs = Date.now();
  #over: { readonly error: unknown } | undefined;
  /** Called when the loop over the events, and that which fills the queue, may have something to do. */
  #wakeReader = (): void => {};
  #wakeFiller = (): void => {};

  constructor(name: string, caller: Caller, filter: WatchFilter, from: string) {
    this.#name = name;
    this.#caller = caller;
    this.#client = createClient(ActivityService, caller.transport);
    this.#filter = filter;
    this.#cursor = from;
    this.#push({ kind: 'state', state: 'connecting', cursor: from });
    this.#channel = new BroadcastChannel(name);
    this.#channel.addEventListener('message', ({ data }: MessageEvent<Message>) => this.#receive(data, false));
    void this.#takeTurns();
    void this.#fill();
  }

  /** The next event; undefined when this tab has left. Throws what ends the watch. */
  async next(): Promise<WatchEvent | undefined> {
    for (;;) {
      if (this.#leaving.signal.aborted && this.#over === undefined) return undefined;
      const event = this.#queue.shift();
      if (event !== undefined) {
        if (this.#queue.length === 0) this.#wakeFiller();
        return event;
      }
      if (this.#over !== undefined) throw this.#over.error;
      await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
  }

  leave(): void {
    if (this.#leaving.signal.aborted) return;
    if (this.#place !== undefined) this.#post({ kind: 'over', term: this.#place.term });
    this.#place = undefined;
    this.#leaving.abort();
    this.#turn.abort();
    this.#channel.close();
    this.#wakeReader();
    this.#wakeFiller();
  }

  #post(message: Message): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is of one origin
    if (!this.#leaving.signal.aborted) this.#channel.postMessage(message);
  }

  /** What another tab says, or this one as the holder. */
  #receive(message: Message, isOwn: boolean): void {
    if (this.#leaving.signal.aborted) return;
    // Somebody else has signed in here meanwhile.
    if (!this.#caller.isStill()) return this.leave();
    if (message.kind === 'where') {
      if (this.#place !== undefined) this.#post({ ...this.#place, to: message.question });
      return;
    }
    const follows = message.term === this.#step?.term;
    const joins = message.term === this.#offer?.place.term;
    if (follows || joins) this.#heardMs = Date.now();
    if (message.kind === 'place') {
      if (isOwn || (message.to !== undefined && message.to === this.#question)) this.#hear(message);
      // Another holder. It may be one that is none any more: the one that is will answer.
      else if (message.to === undefined && !follows && !joins) {
        this.#lose();
        if (this.#question !== undefined) this.#post({ kind: 'where', question: this.#question });
      }
    } else if (message.kind === 'over') {
      if (follows || joins) this.#lose();
    } else if (follows) {
      if (message.number !== this.#step!.number + 1 || this.#queue.length >= HELD_MAX) return this.#lose();
      this.#step!.number += 1;
      this.#deliver(message.event);
    } else if (joins) {
      const { place, told } = this.#offer!;
      // What a gap leaves out cannot be known by ids.
      const isNext = message.number === place.number + told.length + 1 && message.event.kind !== 'gap';
      if (isNext && told.length < HELD_MAX) told.push(message.event);
      else this.#lose();
    }
  }

  /** A holder says where it is now. */
  #hear(place: Place): void {
    this.#question = undefined;
    this.#wakeFiller();
    if (place.cursor === '' || place.term === this.#offer?.place.term) return;
    if (place.term === this.#step?.term) {
      if (place.number !== this.#step.number) this.#lose();
      return;
    }
    // This tab holds the connection, and began without a cursor when this watch did.
    if (place.term === this.#place?.term && this.#cursor === '') this.#cursor = place.cursor;
    this.#step = undefined;
    this.#offer = { place, told: [] };
  }

  /** Goes on by itself from the cursor, until it is in step again. */
  #lose(): void {
    this.#step = undefined;
    this.#offer = undefined;
    this.#wakeFiller();
  }

  #deliver(told: Told): void {
    if (told.kind === 'activity') {
      const activity = fromBinary(UserActivitySchema, told.activity);
      if (this.#known.has(activity.id)) return;
      // The log has one order: whatever follows this one is not known either.
      this.#known.clear();
      this.#push({ kind: 'activity', activity, cursor: told.cursor });
    } else if (told.kind === 'gap') {
      if (this.#known.size > 0) return this.#lose();
      this.#push(gapFrom(this.#client, this.#filter, fromBinary(ListUserActivityResponseSchema, told.page)));
    } else {
      // Until the holder is past what is known, its cursor leads back.
      this.#push(this.#known.size === 0 ? told : { ...told, cursor: this.#cursor });
    }
  }

  #push(event: WatchEvent): void {
    this.#cursor = event.cursor;
    if (event.kind === 'state') {
      if (event.state === this.#state) return;
      this.#state = event.state;
    }
    this.#queue.push(event);
    this.#wakeReader();
  }

  /** Fills the queue for as long as this tab watches. */
  async #fill(): Promise<void> {
    const { signal } = this.#leaving;
    let unanswered = 0;
    let failures = 0;
    try {
      while (!signal.aborted) {
        if (this.#step !== undefined) {
          unanswered = failures = 0;
          await this.#wait(SILENCE.askMs);
          const isSilent = this.#place === undefined && Date.now() - this.#heardMs >= SILENCE.askMs;
          if (isSilent && !(await this.#ask(SILENCE.answerMs))) this.#lose();
        } else if (this.#queue.length >= HELD_MAX / 2) {
          await this.#wait();
        } else if (this.#isBehind) {
          this.#isBehind = !(await this.#catchUp());
        } else if (this.#offer === undefined) {
          if (await this.#ask(ANSWER.leastMs + backoffMs(ANSWER.more, 1))) {
            unanswered = 0;
            // Until it has a cursor.
            if (this.#offer === undefined) await this.#wait(ANSWER.leastMs);
          } else {
            unanswered += 1;
            if (unanswered * ANSWER.leastMs >= SILENCE.answerMs) this.#steal();
            else if (this.#cursor !== '') this.#isBehind = !(await this.#catchUp());
          }
        } else {
          const offer: Offer = this.#offer;
          if (await this.#join(offer)) continue;
          if (this.#offer === offer) this.#offer = undefined;
          if (!this.#isBehind) await pause(backoffMs(BACKOFF, (failures += 1)), signal);
        }
      }
    } catch (error) {
      this.#end(error);
    }
  }

  /** Ends the watch for a reason that is told, unless this tab has left. */
  #end(error: unknown): void {
    if (this.#leaving.signal.aborted) return;
    // What somebody else may not do is no end of this watch.
    if (this.#caller.isStill()) this.#over = { error };
    this.leave();
  }

  /** Asks the holder where it is. False when nobody answers. */
  async #ask(timeoutMs: number): Promise<boolean> {
    if (this.#place !== undefined) {
      this.#hear(this.#place);
      return true;
    }
    const endMs = Date.now() + timeoutMs;
    const question = randomUuid();
    this.#question = question;
    this.#post({ kind: 'where', question });
    const isOpen = () => this.#question === question && !this.#leaving.signal.aborted && Date.now() < endMs;
    while (isOpen()) await this.#wait(Math.max(1, endMs - Date.now()));
    const isAnswered = this.#question !== question;
    this.#question = undefined;
    return isAnswered;
  }

  /** Waits until something has changed, or for so long. */
  async #wait(timeoutMs?: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wakeFiller = resolve;
      if (timeoutMs !== undefined) timer = setTimeout(resolve, timeoutMs);
      if (this.#leaving.signal.aborted) resolve();
    });
    clearTimeout(timer);
  }

  /**
   * Gets in step with the holder of the offer. False: that takes another try.
   *
   * Cursors cannot be compared. So this tab first reads what the holder has yet to tell of all that there is, which includes
   * what is before its own cursor if the holder is behind, and then what comes after its own cursor, which includes what the
   * first did not if the holder is ahead. After that, what the holder tells is either among these or new.
   */
  async #join(offer: Offer): Promise<boolean> {
    const { term, number, cursor, state } = offer.place;
    const known = new Set<string>();
    if (cursor !== this.#cursor) {
      this.#push({ kind: 'state', state: 'connecting', cursor: this.#cursor });
      const end = await this.#readAhead(cursor, known);
      if (this.#cursor === '') this.#cursor = end ?? '';
      else this.#isBehind = !(await this.#catchUp(known));
      if (end === undefined || this.#isBehind) return false;
    }
    if (this.#offer !== offer) return false;
    this.#offer = undefined;
    this.#known = known;
    this.#step = { term, number: number + offer.told.length };
    this.#push({ kind: 'state', state, cursor: this.#cursor });
    for (const told of offer.told) this.#deliver(told);
    return true;
  }

  /** Notes what comes after a cursor. Returns where that ends; undefined when there is too much of it, or not all is kept. */
  async #readAhead(from: string, known: Set<string>): Promise<string | undefined> {
    for await (const event of followAlone(this.#client, this.#filter, from, this.#leaving.signal)) {
      if (event.kind === 'state' && event.state === 'live') return event.cursor;
      if (event.kind === 'activity') known.add(event.activity.id);
      if (event.kind === 'gap' || known.size >= HELD_MAX) return undefined;
    }
    return undefined;
  }

  /** Queues and notes what comes after the cursor of this tab. False when there is too much of it, or not all is kept. */
  async #catchUp(known?: Set<string>): Promise<boolean> {
    for await (const event of followAlone(this.#client, this.#filter, this.#cursor, this.#leaving.signal)) {
      if (event.kind === 'state' && event.state === 'live') {
        this.#cursor = event.cursor;
        return true;
      }
      this.#push(event);
      if (event.kind === 'activity') known?.add(event.activity.id);
      const isFull = this.#queue.length >= HELD_MAX || (known !== undefined && known.size >= HELD_MAX);
      if (isFull || event.kind === 'gap') return false;
    }
    return false;
  }

  /** Takes the lock from a holder that does not answer. Harmless if it comes back: each tab follows one of them. */
  #steal(): void {
    this.#isStealing = true;
    this.#turn.abort();
  }

  /** Waits for the lock and holds the connection, again and again. */
  async #takeTurns(): Promise<void> {
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      const turn = new AbortController();
      this.#turn = turn;
      const ended = new Promise<void>((resolve) => turn.signal.addEventListener('abort', () => resolve()));
      const options: LockOptions = this.#isStealing ? { steal: true } : { signal: turn.signal };
      this.#isStealing = false;
      const hold = () => Promise.race([ended, this.#hold(turn.signal)]);
      // It rejects when another tab steals the lock, or this one leaves.
      await navigator.locks.request(this.#name, options, hold).catch(() => {});
      turn.abort();
      await pause(BACKOFF.firstMs, signal).catch(() => {}); // the loop looks at the signal
    }
  }

  /** Holds the connection, and tells this tab and the others what comes. */
  async #hold(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const term = randomUuid();
    let place: Place = { kind: 'place', term, number: 0, cursor: this.#cursor, state: 'connecting' };
    const announce = () => {
      if (place.cursor !== '') this.#post(place);
      this.#receive(place, true);
    };
    const tell = (event: Told) => {
      if (signal.aborted) return;
      const { cursor } = event;
      const isFirst = place.cursor === '' && cursor !== '';
      const state = event.kind === 'state' ? event.state : place.state;
      this.#place = place = { ...place, number: place.number + 1, cursor, state };
      if (isFirst) return announce();
      const message: Message = { kind: 'told', term, number: place.number, event };
      this.#post(message);
      this.#receive(message, true);
    };
    this.#place = place;
    announce();
    try {
      const sign = (cursor: string) => tell({ kind: 'state', state: place.state, cursor });
      for await (const event of followAlone(this.#client, this.#filter, place.cursor, signal, sign))
        tell(await toTold(event));
    } catch (error) {
      if (!signal.aborted) this.#end(error);
    } finally {
      if (this.#place?.term === term) this.#place = undefined;
      this.#post({ kind: 'over', term });
      if (this.#step?.term === term || this.#offer?.place.term === term) this.#lose();
    }
  }
}

async function toTold(event: WatchEvent): Promise<Told> {
  const { cursor } = event;
  if (event.kind === 'state') return event;
  if (event.kind === 'activity')
    return { kind: 'activity', activity: toBinary(UserActivitySchema, event.activity), cursor };
  return { kind: 'gap', page: toBinary(ListUserActivityResponseSchema, await event.activities.page()), cursor };
}
