import { systemClock } from '../kernel/clock.ts';
import { type Sample, sampled } from '../kernel/sampled.ts';

/** Something that must hold for calls to be sent here. */
export interface Check {
  /** One word, for operators. */
  readonly name: string;
  /** Rejects where it does not hold; why is not told. */
  run(): Promise<void>;
}

export interface CheckState {
  readonly name: string;
  /** Undefined where the check fails, or takes too long. */
  readonly passed: Pick<Sample<void>, 'tookMs' | 'atMs'> | undefined;
  /** Why it fails, as far as anybody may know. */
  readonly why?: string;
}

/** How long what a check found out is good for, milliseconds: anybody may ask. */
const KEEP_MS = 500;

/** How long it is good for what all checks together say, milliseconds: health checks may come by the thousand. */
const READY_KEEP_MS = 100;

/** How long whoever asks waits for a check at the most, milliseconds. */
const WAIT_MAX_MS = 2000;

/** Whether calls should be sent to this process. */
export class Readiness {
  readonly #checks: readonly { readonly name: string; run(): Promise<Sample<void> | undefined> }[];
  readonly #areAllPassed: () => Promise<Sample<boolean> | undefined>;
  #isStopping = false;

  /** Each check runs once for all who ask within half a second, and one at a time. */
  constructor(checks: readonly Check[]) {
    this.#checks = checks.map(({ name, run }) => ({
      name,
      run: sampled(run, { keepMs: KEEP_MS, waitMaxMs: WAIT_MAX_MS }),
    }));
    const look = async () => (await this.look()).every(({ passed }) => passed !== undefined);
    this.#areAllPassed = sampled(look, { keepMs: READY_KEEP_MS, waitMaxMs: WAIT_MAX_MS });
  }

  /** From now on calls should go elsewhere. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Takes two seconds at the most. */
  async isReady(): Promise<boolean> {
    if (this.#isStopping) return false;
    return (await this.#areAllPassed())?.value === true;
  }

  /** The state of each check. Takes two seconds at the most. */
  async look(): Promise<CheckState[]> {
    const nowMs = systemClock.monotonic();
    const states = this.#checks.map(async ({ name, run }) => ({ name, passed: await run() }));
    const shutdown = this.#isStopping
      ? { name: 'shutdown', passed: undefined, why: 'the server is stopping' }
      : { name: 'shutdown', passed: { tookMs: 0, atMs: nowMs } };
    return [shutdown, ...(await Promise.all(states))];
  }
}

/** One line for each check and one for all, as Kubernetes writes them of itself, and whether all have passed. */
export function describeReadiness(states: readonly CheckState[]): { readonly isReady: boolean; readonly text: string } {
  const nowMs = systemClock.monotonic();
  const lines = states.map(({ name, passed, why = 'reason withheld' }) => {
    if (passed === undefined) return `[-]${name} failed: ${why}`;
    const agoMs = Math.max(0, Math.round(nowMs - passed.atMs));
    return `[+]${name} ok: took ${Math.round(passed.tookMs)} ms, ${agoMs} ms ago`;
  });
  const isReady = states.every(({ passed }) => passed !== undefined);
  return { isReady, text: `${lines.join('\n')}\nreadyz check ${isReady ? 'passed' : 'failed'}\n` };
}
