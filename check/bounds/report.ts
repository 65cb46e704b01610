import type { Result } from './run.ts';
import { mb, percentile } from './verdict.ts';

const OUTCOMES_SHOWN = 5;

/** One attack as a line, and a line for each thing that was broken. */
export function describeResult(result: Result): string {
  const { shape, tally, experience, idleP99Ms, broken } = result;
  const p99 = percentile(experience?.callsMs ?? [], 99);
  const parts = [
    `${(tally?.requests ?? 0).toLocaleString('en')} requests`,
    describeOutcomes(tally?.outcomes ?? {}),
    `p99 ${p99.toFixed(0)} ms${idleP99Ms > 0 ? ` (x${(p99 / idleP99Ms).toFixed(1)})` : ''}`,
    `sign-in ${Math.max(0, ...(experience?.signInsMs ?? [])).toFixed(0)} ms`,
    `RSS ${mb(result.peakRssBytes)}`,
    `live ${signed(result.liveAfterBytes - result.liveBeforeBytes)}`,
    `sent ${kb(tally?.bytesSent ?? 0)}, received ${kb(tally?.bytesReceived ?? 0)}, log ${kb(result.logBytes)}`,
  ];
  const line = `${broken.length === 0 ? 'ok  ' : 'FAIL'} ${shape.name}: ${parts.join('; ')}`;
  return [line, ...broken.map((what) => `     - ${what.replaceAll('\n', '\n       ')}`)].join('\n');
}

function describeOutcomes(outcomes: Readonly<Record<string, number>>): string {
  const sorted = Object.entries(outcomes)
    .filter(([, times]) => times > 0)
    .toSorted(([, a], [, b]) => b - a);
  const shown = sorted.slice(0, OUTCOMES_SHOWN).map(([outcome, times]) => `${outcome} ${times}`);
  const more = sorted.length - shown.length;
  return (shown.join(', ') || 'no answers') + (more > 0 ? ` and ${more} more` : '');
}

function signed(bytes: number): string {
  return `${bytes < 0 ? '' : '+'}${mb(bytes)}`;
}

function kb(bytes: number): string {
  return bytes < 10_000_000 ? `${(bytes / 1000).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(0)} MB`;
}
