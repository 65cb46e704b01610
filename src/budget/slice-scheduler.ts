import { type Clock, systemClock } from '../kernel/clock.ts';
import { FairQueue } from './fair-queue.ts';
import type { Payer } from './payer.ts';

export interface SliceOptions {
  /** How many tasks start at once in one turn of the event loop, while none waits and `sliceMs` have not passed. */
  readonly direct?: number;
  /**
   * How long the tasks that waited may take of one turn, milliseconds; the last of them may take longer. They
   * may take as long as all else that is done in a turn, if that is more: otherwise a busy loop would keep them waiting.
   */
  readonly sliceMs?: number;
  /** Default: the clock of the machine. */
  readonly clock?: Pick<Clock, 'monotonic'>;
}

/** Some 2 ms of small calls. */
const DIRECT = 16;
const SLICE_MS = 2;

/** How many times as long a slice may be when all else that is done in a turn takes long as well. */
const LONGER_MAX = 5;

/** How many steps are planned at once. Each is an immediate, which costs a microsecond. */
const STEPS_MAX = 64;

/**
 * Starts tasks in slices of the event loop and serves callers in turn. A flood of calls, or of connections with
 * calls on them, takes some milliseconds of each turn of the loop, and a caller with one call waits for one slice.
 *
 * The promises and next ticks that a task causes before the loop goes on count as its time.
 */
export class SliceScheduler {
  readonly #direct: number;
  readonly #sliceMs: number;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #queue = new FairQueue<() => void>();
  /** Tasks that started at once in this turn. */
  #started = 0;
  /** Until when they may. */
  #directEndMs = 0;
  /** Steps of the slice that is running and of the next one. An immediate that is set in a slice runs in the next. */
  #stepsLeft = 0;
  #stepsPlanned = 0;
  #sliceEndMs = 0;
  /** When the slice before ended, if tasks were left then. */
  #sliceEndedMs = Infinity;

  constructor({ direct = DIRECT, sliceMs = SLICE_MS, clock = systemClock }: SliceOptions = {}) {
    this.#direct = direct;
    this.#sliceMs = sliceMs;
    this.#clock = clock;
  }

  /** How many tasks wait. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Whether a task may start at once, which it then must: this counts it. */
  mayStart(): boolean {
    if (this.#queue.size > 0 || this.#started >= this.#direct) return false;
    const nowMs = this.#clock.monotonic();
    if (this.#started === 0) {
      setImmediate(this.#endTurn);
      this.#directEndMs = nowMs + this.#sliceMs;
    } else if (nowMs >= this.#directEndMs) return false;
    this.#started += 1;
    return true;
  }

  /** Starts a task when the queue comes to it. The task must not throw. */
  add(payer: Payer, task: () => void): void {
    this.#queue.add(payer, task);
    this.#planStep();
  }

  /** Resolves when the queue comes to the caller. */
  turn(payer: Payer): Promise<void> {
    return new Promise((resolve) => this.add(payer, resolve));
  }

  readonly #endTurn = (): void => {
    this.#started = 0;
  };

  #planStep(): void {
    if (this.#stepsLeft + this.#stepsPlanned >= Math.min(STEPS_MAX, this.#queue.size)) return;
    this.#stepsPlanned += 1;
    setImmediate(this.#step);
  }

  readonly #step = (): void => {
    const nowMs = this.#clock.monotonic();
    if (this.#stepsLeft === 0) {
      this.#stepsLeft = this.#stepsPlanned;
      this.#stepsPlanned = 0;
      const othersMs = nowMs - this.#sliceEndedMs;
      this.#sliceEndMs = nowMs + Math.min(Math.max(this.#sliceMs, othersMs), LONGER_MAX * this.#sliceMs);
    }
    this.#stepsLeft -= 1;
    if (nowMs < this.#sliceEndMs) this.#queue.take()?.();
    this.#planStep();
    if (this.#stepsLeft === 0) this.#sliceEndedMs = this.#stepsPlanned > 0 ? this.#clock.monotonic() : Infinity;
  };
}
