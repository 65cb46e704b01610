import { isFault } from './answers.ts';
import type { Tally } from './attack.ts';
import type { Experience } from './neighbours.ts';
import type { Shape } from './shape.ts';

/** What holds while a server is attacked. */
export interface Limits {
  /** Of the resident set, bytes. */
  readonly rssMax: number;
  /** What may be live after an attack beyond what was live before, bytes. */
  readonly marginBytes: number;
  /** How many times the idle p99 of the well-behaved may become, and while an attacker sends as much as a core can. */
  readonly ratioMax: number;
  readonly floodRatioMax: number;
  /** A p99 below this is good in any case, milliseconds: noise must not decide. */
  readonly floorMs: number;
  readonly signInMaxMs: number;
  /** Whether times count: on a machine that does other things beside they do not. */
  readonly judgesTime: boolean;
}

/** What is said of a well-behaved call that was not answered in time. */
export const LATE = 'no answer in time';

export const LIMITS: Limits = {
  rssMax: 400 * 2 ** 20,
  marginBytes: 32 * 2 ** 20,
  ratioMax: 5,
  floodRatioMax: 10,
  floorMs: 50,
  signInMaxMs: 1000,
  judgesTime: true,
};

/** All that was seen of one attack. */
export interface Observation {
  readonly shape: Pick<Shape, 'name' | 'isFlood' | 'expects'>;
  /** Undefined when the attacker came to no end. */
  readonly tally: Tally | undefined;
  readonly experience: Experience | undefined;
  readonly idleP99Ms: number;
  /** How the server's process ended, if it did. */
  readonly ended: string | undefined;
  readonly peakRssBytes: number;
  readonly liveBeforeBytes: number;
  readonly liveAfterBytes: number;
  readonly faults: readonly string[];
  readonly troubles: readonly string[];
}

/** What was broken, as sentences; none when all held. */
export function judge(seen: Observation, limits: Limits): string[] {
  const { shape, tally, experience, ended, faults, troubles } = seen;
  const broken: string[] = [...troubles, ...faults];
  if (ended !== undefined) broken.push(`the process ended: ${ended}`);
  if (seen.peakRssBytes > limits.rssMax) broken.push(`${mb(seen.peakRssBytes)} resident, of ${mb(limits.rssMax)}`);
  const left = seen.liveAfterBytes - seen.liveBeforeBytes;
  if (ended === undefined && left > limits.marginBytes) {
    broken.push(`${mb(left)} more live than before, of ${mb(limits.marginBytes)}`);
  }
  if (tally !== undefined) {
    const outcomes = Object.keys(tally.outcomes).filter((outcome) => tally.outcomes[outcome]! > 0);
    for (const outcome of outcomes.filter(isFault))
      broken.push(`answered ${outcome}, ${tally.outcomes[outcome]} times`);
    if (ended === undefined) {
      if (tally.missed.length > 0) broken.push(`methods that were not called: ${tally.missed.join(', ')}`);
      for (const expected of shape.expects) {
        if (!outcomes.some((outcome) => expected.test(outcome)))
          broken.push(`the attack did not arrive: no answer was ${expected.source}`);
      }
    }
  }
  if (experience !== undefined && ended === undefined) {
    for (const [what, times] of Object.entries(experience.refused))
      if (limits.judgesTime || !what.endsWith(LATE)) broken.push(`well-behaved, ${times} times: ${what}`);
    const { missing, repeated, ended: watchEnded } = experience.watch;
    if (watchEnded !== undefined) broken.push(`the watch ended: ${watchEnded}`);
    if (missing > 0) broken.push(`the watch missed ${missing} of ${experience.written} events`);
    if (repeated > 0) broken.push(`the watch had ${repeated} events twice`);
    if (limits.judgesTime) broken.push(...judgeTimes(seen, experience, limits));
  }
  return broken;
}

function judgeTimes({ shape, idleP99Ms }: Observation, { callsMs, signInsMs }: Experience, limits: Limits): string[] {
  const broken: string[] = [];
  const ratio = shape.isFlood ? limits.floodRatioMax : limits.ratioMax;
  const p99 = percentile(callsMs, 99);
  const max = Math.max(limits.floorMs, ratio * idleP99Ms);
  if (p99 > max) broken.push(`p99 ${p99.toFixed(0)} ms, of ${max.toFixed(0)} ms`);
  const slowest = Math.max(0, ...signInsMs);
  if (slowest > limits.signInMaxMs) broken.push(`signing in took ${slowest.toFixed(0)} ms`);
  return broken;
}

/** Nearest rank; 0 of nothing. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(Math.ceil((percent / 100) * sorted.length) - 1, 0)] ?? 0;
}

export function mb(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
