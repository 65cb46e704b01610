import type { Round } from './round.ts';

/** One seed as a line, and a line for each kind of violation. */
export function describeRound(round: Round): string {
  const { seed, written, acknowledged, indeterminate, delivered, watches, resumed, faults, violations } = round;
  const kinds = Map.groupBy(violations, ({ kind }) => kind);
  const verdict =
    violations.length === 0 ? 'sound' : [...kinds].map(([kind, { length }]) => `${length} ${kind}`).join(', ');
  const line = [
    `seed ${seed}: ${verdict}`,
    `${written} events written, ${acknowledged} acknowledged, ${indeterminate} indeterminate, ${delivered} delivered`,
    `${watches} watches, resumed ${resumed} times`,
    describeFaults([faults]),
  ].join('; ');
  const examples = [...kinds].map(([kind, [first]]) => `  ${kind}: ${first!.where}: ${first!.what}`);
  return [line, ...examples].join('\n');
}

export interface Conditions {
  readonly database: string;
  readonly instances: number;
  readonly reader: string;
  readonly tookMs: number;
}

/** All seeds as Markdown, for docs/watch-checker.md. */
export function describeRounds(rounds: readonly Round[], { database, instances, reader, tookMs }: Conditions): string {
  const sum = (of: (round: Round) => number): string =>
    rounds.reduce((total, round) => total + of(round), 0).toLocaleString('en');
  const rows = [
    ['database, instances, reader', `${database}, ${database === 'sqlite' ? 1 : instances}, ${reader}`],
    ['seeds', `${rounds[0]?.seed} to ${rounds.at(-1)?.seed}, ${rounds[0]?.seconds} s each`],
    ['in all', `${(tookMs / 60_000).toFixed(1)} min`],
    ['events written', sum((round) => round.written)],
    ['acknowledged', sum((round) => round.acknowledged)],
    ['indeterminate', sum((round) => round.indeterminate)],
    ['delivered', sum((round) => round.delivered)],
    ['watches', sum((round) => round.watches)],
    ['resumed', sum((round) => round.resumed)],
    ['faults', describeFaults(rounds.map(({ faults }) => faults))],
    ['violations', sum((round) => round.violations.length)],
  ];
  return ['| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

function describeFaults(faults: readonly Readonly<Record<string, number>>[]): string {
  const total = new Map<string, number>();
  for (const [fault, count] of faults.flatMap((some) => Object.entries(some))) {
    total.set(fault, (total.get(fault) ?? 0) + count);
  }
  return [...total].map(([fault, count]) => `${count} ${fault}`).join(', ') || 'no faults';
}
