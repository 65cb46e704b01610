import { Budget, type Charge } from '../budget/budget.ts';
import { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { payFor } from '../budget/current-payer.ts';
import { callerPayer, type Payer } from '../budget/payer.ts';
import { type Caller, permissionMissing } from '../kernel/access.ts';
import { systemClock } from '../kernel/clock.ts';
import { Failure } from '../kernel/failure.ts';
import type { Keyring } from '../kernel/keyring.ts';
import type { Revocations } from '../identity/revocations/revocations.ts';
import { writeCursor } from './log/cursor.ts';
import { comparePositions, positionOf } from './log/store.ts';
import { type AskedActivity, recordMessages, type Recorded, type RecordingApp } from './recording.ts';

/** Few at once: other calls need connections to the database as well. */
const WRITES = { running: 4, runningPerCaller: 2 };

/** Messages that wait, bytes. A stream has room for the largest of 1 MiB: those that are recorded, and as many that were read ahead. */
const HELD_BYTES = { perCaller: 8 * 1024 * 1024, total: 32 * 1024 * 1024 };

/** The limits that the streams of one process share. Each stream waits for at most one write, so `streamsMax` bounds the queue. */
export function createRecordLimits(streamsMax: number): Pick<RecordStreamApp, 'recordWrites' | 'recordBytes'> {
  const waiting = { waiting: streamsMax, waitingPerCaller: streamsMax, waitMaxMs: Number.POSITIVE_INFINITY };
  return {
    recordWrites: new ConcurrencyLimiter({ name: 'record_writes', ...WRITES, ...waiting, taskMs: 10 }),
    recordBytes: new Budget({ name: 'record_bytes', ...HELD_BYTES }),
  };
}

/** What a stream that records uses. */
export interface RecordStreamApp extends RecordingApp {
  readonly keyring: Keyring;
  readonly revocations: Pick<Revocations, 'subscribe' | 'hasEnded' | 'hasChanged'>;
  /** Reads the caller's present role and permissions. Throws session_ended. */
  readonly renew: (caller: Caller) => Promise<Caller>;
  /** Limits how many streams write at once. */
  readonly recordWrites: ConcurrencyLimiter;
  /** Bytes of messages that were read from streams and have not been answered yet. */
  readonly recordBytes: Budget;
  /** How often the caller is read again while nobody says that they changed, milliseconds. */
  readonly progressMs: number;
  /** How long a stream may send nothing, milliseconds. */
  readonly recordIdleMs: number;
}

/** One message of a stream that records. */
export interface RecordMessage {
  readonly sequence: bigint;
  readonly activities: readonly AskedActivity[];
}

/** What became of one message. */
export interface RecordAnswer {
  readonly sequence: bigint;
  /** The cursor of the message's last activity in the log; '' without one. */
  readonly cursor: string;
  readonly recordedCount: number;
  readonly repeatedCount: number;
  readonly refusal: Failure | undefined;
}

/**
 * What is read ahead on one stream: as many messages and, but for the last of them, as many activities and bytes.
 * What waits is recorded in one transaction, which shares its commit and is short enough for other writers to wait for.
 */
const AHEAD = { messages: 8, activities: 400, bytes: 1024 * 1024 };

/** A message with its charge while it waits. */
interface Waiting {
  readonly message: RecordMessage;
  readonly charge: Charge;
}

/**
 * Answers at once, and then each message as soon as it is recorded or refused, in their order. Reads no further
 * while the reader does not take the answers. When the messages fail, those before are recorded and answered first.
 *
 * Cleans up on `signal`: if a reader disconnects while it receives nothing, the generator is never resumed.
 *
 * Throws session_ended, permission_missing, deadline_exceeded when no message came for `recordIdleMs`,
 * budget_exceeded, server_busy, and what the messages throw.
 */
export async function* recordStream(
  app: RecordStreamApp,
  caller: Caller,
  messages: AsyncIterable<RecordMessage>,
  signal: AbortSignal,
): AsyncGenerator<RecordAnswer> {
  yield { sequence: 0n, cursor: '', recordedCount: 0, repeatedCount: 0, refusal: undefined };
  if (signal.aborted) return;
  const payer = callerPayer(caller);
  const reader = new ReadAhead(app, payer, messages, signal);
  let checkedMs = systemClock.monotonic();
  let isCallerStale = false;
  const end = app.revocations.subscribe(caller.userId, () => {
    isCallerStale = true;
    reader.wake();
  });
  signal.addEventListener('abort', end, { once: true });
  if (app.revocations.hasEnded(caller.sessionId) || app.revocations.hasChanged(caller.userId)) isCallerStale = true;
  for (;;) {
    await reader.wait(Math.max(checkedMs + app.progressMs - systemClock.monotonic(), 0), () => isCallerStale);
    if (signal.aborted) return;
    // Before what waits is recorded. No notification says that a session has expired.
    if (isCallerStale || systemClock.monotonic() - checkedMs >= app.progressMs) {
      isCallerStale = false;
      checkedMs = systemClock.monotonic();
      const renewed = await app.renew(caller);
      if (!renewed.permissions.has('activity.record')) throw permissionMissing('activity.record');
      if (signal.aborted) return;
    }
    const taken = reader.take();
    if (taken.length === 0) {
      if (reader.hasEnded) return;
      continue;
    }
    const asked = taken.map(({ message }) => message.activities);
    // For the caller's share of the database's time, whoever waits for it.
    const write = () => payFor(payer, () => app.database.transaction((tx) => recordMessages(tx, app, caller, asked)));
    const recorded = await app.recordWrites.run(payer, write, signal);
    for (const [i, { message, charge }] of taken.entries()) {
      yield answerTo(app.keyring, message, recorded[i]!);
      charge.release();
    }
  }
}

function answerTo(keyring: Keyring, { sequence, activities }: RecordMessage, recorded: Recorded): RecordAnswer {
  const { refusal } = recorded;
  if (refusal !== undefined) return { sequence, cursor: '', recordedCount: 0, repeatedCount: 0, refusal };
  const { rows, recordedCount } = recorded;
  const last = rows.map(positionOf).reduce((a, b) => (comparePositions(a, b) < 0 ? b : a));
  const repeatedCount = activities.length - recordedCount;
  return { sequence, cursor: writeCursor(keyring, last), recordedCount, repeatedCount, refusal: undefined };
}

/** Reads messages ahead, up to a bound, while those before are recorded. */
class ReadAhead {
  readonly #app: RecordStreamApp;
  readonly #payer: Payer;
  readonly #messages: AsyncIterator<RecordMessage>;
  readonly #signal: AbortSignal;
  #waiting: Waiting[] = [];
  /** Those that wait, and those that were taken and have not been answered. */
  readonly #held = new Set<Waiting>();
  #isReading = false;
  #isOver = false;
  #error: { readonly reason: unknown } | undefined;
  #wake: (() => void) | undefined;
  #receivedMs = systemClock.monotonic();

  constructor(app: RecordStreamApp, payer: Payer, messages: AsyncIterable<RecordMessage>, signal: AbortSignal) {
    this.#app = app;
    this.#payer = payer;
    this.#messages = messages[Symbol.asyncIterator]();
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** Whether no more messages come and all were taken. Throws what they ended with. */
  get hasEnded(): boolean {
    if (!this.#isOver || this.#waiting.length > 0) return false;
    if (this.#error !== undefined) throw this.#error.reason;
    return true;
  }

  /** Lets `wait` look again. */
  wake(): void {
    this.#wake?.();
  }

  /** Takes all that wait. What was taken before has been answered. */
  take(): readonly Waiting[] {
    const taken = this.#waiting;
    this.#waiting = [];
    for (const each of this.#held) if (!taken.includes(each)) this.#held.delete(each);
    if (taken.length > 0) this.#receivedMs = systemClock.monotonic(); // while nothing was read, nothing could come
    this.#readOn();
    return taken;
  }

  /** Waits for a message, the end of all, `ms` milliseconds or until `isDue` says so on a call of `wake`. Throws deadline_exceeded. */
  async wait(ms: number, isDue: () => boolean): Promise<void> {
    this.#readOn();
    while (this.#waiting.length === 0 && !this.#isOver && !this.#signal.aborted && !isDue()) {
      const idleMs = systemClock.monotonic() - this.#receivedMs;
      if (idleMs >= this.#app.recordIdleMs) {
        throw new Failure('deadline_exceeded', 'no message came for a while: open the stream again');
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const waitMs = Math.min(ms, this.#app.recordIdleMs - idleMs);
      let hasPassed = false;
      const timer = setTimeout(() => {
        hasPassed = true;
        resolve();
      }, waitMs);
      await promise;
      clearTimeout(timer);
      this.#wake = undefined;
      if (hasPassed && waitMs === ms) return;
    }
  }

  /** Reads one message at a time: more than one is asked for by nobody. */
  #readOn(): void {
    if (this.#isReading || this.#isOver || !this.#hasRoom()) return;
    this.#isReading = true;
    void this.#readOne();
  }

  async #readOne(): Promise<void> {
    try {
      const { done, value } = await this.#messages.next();
      if (done === true) this.#isOver = true;
      else this.#add(value);
    } catch (reason) {
      return this.#fail(reason);
    }
    this.#isReading = false;
    this.wake();
    this.#readOn();
  }

  #hasRoom(): boolean {
    if (this.#waiting.length === 0) return true;
    // While all streams together hold much, none reads more than one message ahead: then fewer are refused.
    const { used, limits } = this.#app.recordBytes;
    if (used > limits.total / 2) return false;
    const activities = this.#waiting.reduce((sum, { message }) => sum + message.activities.length, 0);
    const bytes = this.#waiting.reduce((sum, { charge }) => sum + charge.amount, 0);
    return this.#waiting.length < AHEAD.messages && activities < AHEAD.activities && bytes < AHEAD.bytes;
  }

  #add(message: RecordMessage): void {
    this.#receivedMs = systemClock.monotonic();
    try {
      const charge = this.#app.recordBytes.charge(this.#payer, bytesOf(message));
      if (this.#signal.aborted) return charge.release();
      const waiting = { message, charge };
      this.#waiting.push(waiting);
      this.#held.add(waiting);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(reason: unknown): void {
    this.#isReading = false;
    this.#isOver = true;
    this.#error = { reason };
    this.wake();
  }

  /** What is charged is given back by those that were never answered too. */
  #end(): void {
    for (const { charge } of this.#held) charge.release();
    this.#held.clear();
    this.#waiting = [];
    this.wake();
    void this.#messages.return?.().catch(() => {});
  }
}

/** About what a message takes in memory: two bytes for each UTF-16 code unit, and as much again for objects as a small one takes. */
function bytesOf({ activities }: RecordMessage): number {
  let bytes = OBJECT_BYTES;
  for (const { action, details = '', attributes = {} } of activities) {
    bytes += OBJECT_BYTES + 2 * (action.length + details.length);
    for (const [key, value] of Object.entries(attributes)) bytes += ATTRIBUTE_BYTES + 2 * (key.length + value.length);
  }
  return bytes;
}

const OBJECT_BYTES = 512;
const ATTRIBUTE_BYTES = 64;
