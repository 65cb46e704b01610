/// <reference lib="esnext.disposable" preserve="true" />
import { clone, create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import { backoffMs, pause, untilAborted } from './backoff.ts';
import {
  type ActivityService,
  type NewActivity,
  NewActivitySchema,
  type StreamUserActivityRequest,
  StreamUserActivityRequestSchema,
  type StreamUserActivityResponse,
} from './gen/kith/activity/v1/activity_service_pb.ts';
import { KithError, type Reason, reasonOf, retryAfterOf } from './kith-error.ts';
import { isTransient } from './retries.ts';
import { randomUuid } from './uuid.ts';

/** How a recorder keeps and sends activities. */
export interface RecorderOptions {
  /** How many activities it holds at the most, those that were sent and not answered among them. Default 10,000. */
  readonly activitiesMax?: number | undefined;
  /** How many bytes they take at the most, as they are sent. Default 8 MiB. */
  readonly bytesMax?: number | undefined;
  /** A batch is sent as soon as it has so many, 1 to 100. Default 100. */
  readonly batchMax?: number | undefined;
  /** Or when its first activity has waited for so long, milliseconds. Default 200. */
  readonly flushMs?: number | undefined;
  /** How long disposing waits for what is not recorded yet, milliseconds. Default 10,000. */
  readonly closeMs?: number | undefined;
  /** Called with each activity that Kith refuses, and why. The others are recorded. */
  readonly onRefused?: ((activity: NewActivity, error: KithError) => void) | undefined;
}

/** Records activities in batches, in the background, each once. */
export interface Recorder extends AsyncDisposable {
  /** How many activities are held: not recorded yet, nor refused. */
  readonly size: number;
  /**
   * Takes an activity. Resolves as soon as the recorder holds it; while that is full, waits for room, in the order of the
   * calls. Await each call: those that wait are bounded by nobody. An activity without an `id` is given one, and without an
   * `eventTime` the present.
   *
   * Rejects with a TypeError or RangeError for what is no activity, and with a KithError once the recorder has ended.
   */
  record(activity: MessageInitShape<typeof NewActivitySchema>): Promise<void>;
  /** The same without waiting: false, and the activity is not taken, when there is no room. Throws what `record` rejects with. */
  offer(activity: MessageInitShape<typeof NewActivitySchema>): boolean;
  /**
   * Sends what is held, and resolves when all of it is recorded. Rejects with the first refusal since the last flush, when
   * everything else is recorded; with the reason of the signal; and with a KithError once the recorder has ended.
   */
  flush(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Takes nothing more, flushes and ends. Rejects as `flush` does, and after `closeMs`: what is left may be recorded or not. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where the batches go. */
export interface RecorderTarget {
  /** Its calls are signed and repeated. */
  readonly client: Client<typeof ActivityService>;
  /** Whether the transport streams requests. Without, batches go as calls of RecordUserActivity. */
  readonly streamsRequests: boolean;
}

const DEFAULTS = {
  activitiesMax: 10_000,
  bytesMax: 8 * 1024 * 1024,
  batchMax: 100,
  flushMs: 200,
  closeMs: 10_000,
};

/** The most that a batch takes but for its last activity, bytes: servers may be set to read no more than 64 kB at once. */
const BATCH_BYTES = 48 * 1024;

const BACKOFF = { firstMs: 200, maxMs: 10_000 };

/** A stream that sends nothing for so long is ended, so that it keeps no process and no connection. */
const IDLE_MS = 5_000;

/** A stream that does not answer for so long is taken for broken. */
const SILENCE_MS = 45_000;

/** Refusals that say something of the activities, not of the caller or the server. */
const OF_ACTIVITIES: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'ACTION_RESERVED',
  'ACTIVITY_ID_TAKEN',
  'FIELDS_INVALID',
  'FIELD_UNKNOWN',
  'MALFORMED_REQUEST',
  'REQUEST_TOO_LARGE',
  'USER_NOT_FOUND',
]);

/** Ends of a call after which the same batch is sent again, beside those that are transient for every call. */
const GOES_ON: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'ACCESS_TOKEN_EXPIRED',
  'BUDGET_EXCEEDED',
  'INTERNAL',
  'SERVER_BUSY',
]);

/** An activity that is held. */
interface Entry {
  /** Counted up. */
  readonly number: number;
  readonly activity: NewActivity;
  readonly bytes: number;
}

type Batch = readonly Entry[];

/** Creates a recorder. It opens a stream, or calls, when there is something to send. */
export function createRecorder(target: RecorderTarget, options: RecorderOptions = {}): Recorder {
  return new BufferedRecorder(target, options);
}

class BufferedRecorder implements Recorder {
  readonly #client: Client<typeof ActivityService>;
  readonly #limits: typeof DEFAULTS;
  readonly #onRefused: RecorderOptions['onRefused'];
  readonly #ending = new AbortController();
  /** Neither recorded nor refused, in the order in which they were taken. */
  readonly #held = new Set<Entry>();
  #heldBytes = 0;
  #taken = 0;
  /** What is to be sent next comes first. */
  readonly #batches: Batch[] = [];
  /** The batch that is being filled. */
  #filling: Entry[] = [];
  #fillingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #streams: boolean;
  #isRunning = false;
  #isClosed = false;
  #end: KithError | undefined;
  #refusal: KithError | undefined;
  #failures = 0;
  readonly #forRoom: (() => void)[] = [];
  readonly #forFlush = new Set<() => void>();
  #wakeSender = (): void => {};

  constructor({ client, streamsRequests }: RecorderTarget, { onRefused, ...limits }: RecorderOptions) {
    this.#client = client;
    this.#streams = streamsRequests;
    this.#onRefused = onRefused;
    const given = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
    this.#limits = { ...DEFAULTS, ...given };
    const { activitiesMax, bytesMax, batchMax } = this.#limits;
    if (!(batchMax >= 1 && batchMax <= 100)) throw new RangeError('batchMax is 1 to 100');
    if (!(activitiesMax >= 1 && bytesMax >= 1)) throw new RangeError('activitiesMax and bytesMax are 1 or more');
  }

  get size(): number {
    return this.#held.size;
  }

  offer(init: MessageInitShape<typeof NewActivitySchema>): boolean {
    this.#requireOpen();
    const entry = entryOf(init, this.#taken + 1);
    // Those that wait were first.
    if (this.#forRoom.length > 0 || !this.#hasRoom()) return false;
    this.#take(entry);
    return true;
  }

  async record(init: MessageInitShape<typeof NewActivitySchema>): Promise<void> {
    this.#requireOpen();
    const { activity, bytes } = entryOf(init, 0);
    if (this.#forRoom.length > 0 || !this.#hasRoom()) {
      await new Promise<void>((resolve) => {
        this.#forRoom.push(() => {
          if (this.#end === undefined && !this.#isClosed) this.#take({ activity, bytes, number: this.#taken + 1 });
          resolve();
        });
      });
      this.#requireOpen();
      return;
    }
    this.#take({ activity, bytes, number: this.#taken + 1 });
  }

  async flush({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#sendFilling();
    const last = this.#taken;
    const isDone = () => this.#end !== undefined || this.#firstHeld() > last;
    let look: (() => void) | undefined;
    try {
      while (!isDone()) {
        const { promise, resolve } = withResolvers();
        look = resolve;
        this.#forFlush.add(look);
        await untilAborted(promise, signal);
      }
    } finally {
      if (look !== undefined) this.#forFlush.delete(look);
    }
    if (this.#end !== undefined) throw this.#end;
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (refusal !== undefined) throw refusal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#lookForRoom();
    const { closeMs } = this.#limits;
    const tooLong = new AbortController();
    const timer = setTimeout(() => {
      const what = `${this.#held.size} activities were not recorded within ${closeMs} ms`;
      tooLong.abort(new KithError(new ConnectError(what, Code.DeadlineExceeded)));
    }, closeMs);
    try {
      await this.flush({ signal: tooLong.signal });
    } finally {
      clearTimeout(timer);
      clearTimeout(this.#timer);
      this.#ending.abort();
    }
  }

  #requireOpen(): void {
    if (this.#end !== undefined) throw this.#end;
    if (this.#isClosed) throw new KithError(new ConnectError('the recorder is closed', Code.FailedPrecondition));
  }

  #hasRoom(): boolean {
    return this.#held.size < this.#limits.activitiesMax && this.#heldBytes < this.#limits.bytesMax;
  }

  #firstHeld(): number {
    const [first] = this.#held;
    return first?.number ?? Number.POSITIVE_INFINITY;
  }

  #take(entry: Entry): void {
    this.#taken = entry.number;
    this.#held.add(entry);
    this.#heldBytes += entry.bytes;
    this.#filling.push(entry);
    this.#fillingBytes += entry.bytes;
    // What waits for room cannot come before something is sent.
    const isFull = this.#filling.length >= this.#limits.batchMax || this.#fillingBytes >= BATCH_BYTES;
    if (isFull || !this.#hasRoom()) this.#sendFilling();
    else this.#timer ??= setTimeout(() => this.#sendFilling(), this.#limits.flushMs);
  }

  #sendFilling(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#filling.length === 0) return;
    this.#batches.push(this.#filling);
    this.#filling = [];
    this.#fillingBytes = 0;
    this.#wakeSender();
    if (!this.#isRunning) void this.#run();
  }

  /** Sends until there is nothing to send. Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#batches.length > 0 && !this.#ending.signal.aborted) {
      try {
        await (this.#streams ? this.#sendOverStream() : this.#sendNext());
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        if (this.#ending.signal.aborted) break;
        if (!this.#goesOnAfter(error)) {
          this.#finish(KithError.from(error));
          break;
        }
        this.#failures += 1;
        const waitMs = (retryAfterOf(error) ?? 0) * 1000 + backoffMs(BACKOFF, this.#failures);
        await pause(waitMs, this.#ending.signal).catch(() => {}); // the loop looks at the signal
      }
    }
    this.#isRunning = false;
  }

  #goesOnAfter(error: ConnectError): boolean {
    if (this.#streams && error.code === Code.Unimplemented) {
      this.#streams = false; // a server or a proxy that is older, or has no HTTP/2
      return true;
    }
    return GOES_ON.has(reasonOf(error)) || isTransient(error);
  }

  /** One batch as a call. */
  async #sendNext(): Promise<void> {
    const batch = this.#batches.shift()!;
    try {
      const { signal } = this.#ending;
      await this.#client.recordUserActivity({ activities: batch.map(({ activity }) => activity) }, { signal });
      this.#settle(batch);
    } catch (thrown) {
      const error = KithError.from(thrown);
      if (OF_ACTIVITIES.has(error.reason)) return this.#refuse(batch, error);
      this.#batches.unshift(batch);
      throw error.cause;
    }
  }

  /** Sends batches over one stream until there are none for a while. What is not answered is sent again by the next. */
  async #sendOverStream(): Promise<void> {
    const sent: Batch[] = [];
    const stream = new AbortController();
    const abort = () => stream.abort();
    this.#ending.signal.addEventListener('abort', abort);
    try {
      const responses = this.#client.streamUserActivity(this.#requests(sent, stream.signal), { signal: stream.signal });
      const answers = responses[Symbol.asyncIterator]();
      for (let answered = 0n; ; ) {
        const next = await this.#nextAnswer(answers, stream, sent);
        if (next.done === true) break;
        this.#failures = 0;
        const { sequence, refusal } = next.value;
        if (sequence === 0n) continue;
        answered += 1n;
        const batch = sequence === answered ? sent.shift() : undefined;
        if (batch === undefined)
          throw new ConnectError('an answer came for a message that was not sent', Code.Internal);
        if (refusal === undefined) this.#settle(batch);
        else this.#refuse(batch, KithError.ofRefusal(refusal));
      }
      if (sent.length > 0) throw new ConnectError('the stream ended before its last answers', Code.Unavailable);
    } catch (thrown) {
      const error = KithError.from(thrown);
      const first = sent.shift();
      this.#batches.unshift(...sent);
      if (first === undefined) throw error.cause;
      // What breaks the contract ends the stream once all before it is answered: it is the first.
      if (OF_ACTIVITIES.has(error.reason)) return this.#refuse(first, error);
      this.#batches.unshift(first);
      throw error.cause;
    } finally {
      this.#ending.signal.removeEventListener('abort', abort);
      stream.abort();
    }
  }

  /** The messages of a stream. It ends when there has been nothing to send for a while. */
  async *#requests(sent: Batch[], signal: AbortSignal): AsyncGenerator<StreamUserActivityRequest> {
    for (let sequence = 1n; !signal.aborted; sequence += 1n) {
      const batch = this.#batches.shift() ?? (await this.#nextBatch(signal));
      if (batch === undefined) return;
      sent.push(batch);
      yield create(StreamUserActivityRequestSchema, { sequence, activities: batch.map(({ activity }) => activity) });
    }
  }

  async #nextBatch(signal: AbortSignal): Promise<Batch | undefined> {
    if (this.#isClosed && this.#filling.length === 0) return undefined;
    const { promise, resolve } = withResolvers();
    this.#wakeSender = resolve;
    signal.addEventListener('abort', resolve);
    const timer = setTimeout(resolve, IDLE_MS);
    await promise;
    clearTimeout(timer);
    signal.removeEventListener('abort', resolve);
    // A stream that is over must take nothing from the one after it.
    return signal.aborted ? undefined : this.#batches.shift();
  }

  /** The next answer; when one is due and none comes in time, the stream is aborted and the promise rejects. */
  async #nextAnswer(
    answers: AsyncIterator<StreamUserActivityResponse>,
    stream: AbortController,
    sent: readonly Batch[],
  ): Promise<IteratorResult<StreamUserActivityResponse>> {
    let wasDue = sent.length > 0;
    const timer = setInterval(() => {
      if (wasDue && sent.length > 0) stream.abort();
      wasDue = sent.length > 0;
    }, SILENCE_MS);
    try {
      return await untilAborted(answers.next(), stream.signal);
    } finally {
      clearInterval(timer);
    }
  }

  #settle(batch: Batch): void {
    this.#failures = 0;
    for (const entry of batch) {
      this.#held.delete(entry);
      this.#heldBytes -= entry.bytes;
    }
    this.#lookForRoom();
    for (const look of this.#forFlush) look();
  }

  /** Of a batch nothing was recorded: finds the activities that are the reason, by halves, and gives them up. */
  #refuse(batch: Batch, error: KithError): void {
    if (batch.length > 1) {
      const half = Math.ceil(batch.length / 2);
      this.#batches.unshift(batch.slice(0, half), batch.slice(half));
      this.#wakeSender();
      return;
    }
    this.#refusal ??= error;
    this.#settle(batch);
    try {
      this.#onRefused?.(batch[0]!.activity, error);
    } catch (thrown) {
      // As an error that nothing catches: the callback has no caller.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }

  /** Going on would change nothing. */
  #finish(error: KithError): void {
    this.#end = error;
    clearTimeout(this.#timer);
    this.#held.clear();
    this.#heldBytes = 0;
    this.#batches.length = 0;
    this.#filling = [];
    this.#ending.abort();
    this.#lookForRoom();
    for (const look of this.#forFlush) look();
  }

  #lookForRoom(): void {
    while (this.#forRoom.length > 0 && (this.#isClosed || this.#end !== undefined || this.#hasRoom())) {
      this.#forRoom.shift()!();
    }
  }
}

/** The activity as it is sent, however often: what the caller changes later changes nothing. Throws for what is none. */
function entryOf(init: MessageInitShape<typeof NewActivitySchema>, number: number): Entry {
  const activity = clone(NewActivitySchema, create(NewActivitySchema, init));
  if (activity.id === '') activity.id = randomUuid();
  activity.eventTime ??= timestampNow();
  return { number, activity, bytes: toBinary(NewActivitySchema, activity).length };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
