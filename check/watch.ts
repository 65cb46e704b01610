/**
 * Check what watchers of activity are promised, while instances, connections and
 * the database fail: npm run check:watch -- --seeds 3 --seconds 20. See
 * docs/watch-checker.md. Exits with 1 when a promise was broken.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startServer } from './cluster.ts';
import { describeRound, describeRounds } from './report.ts';
import { type Round, runRound } from './round.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '3' },
    'first-seed': { type: 'string', default: '1' },
    seconds: { type: 'string', default: '20' },
    instances: { type: 'string', default: '3' },
    database: { type: 'string', default: 'postgres' },
    reader: { type: 'string', default: 'watch' },
  },
});
const database = oneOf('database', ['postgres', 'sqlite']);
const reader = oneOf('reader', ['watch', 'naive']);
if (reader === 'naive' && database === 'sqlite')
  refuse('the naive reader finds nothing to lose where writers take turns');
const seeds = wholeNumber('seeds');
const firstSeed = wholeNumber('first-seed');
const seconds = wholeNumber('seconds');
const instances = wholeNumber('instances');

// So that the processes and the server end with this one.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
await using server = database === 'postgres' ? await startServer() : undefined;
const startedMs = performance.now();
const rounds: Round[] = [];
for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  const round = await runRound({ seed, seconds, instances, server, reader });
  console.log(describeRound(round));
  if (round.violations.length > 0) console.log(`  ${keep(round)}`);
  rounds.push({ ...round, evidence: { log: [], histories: [] } });
}
console.log(`\n${describeRounds(rounds, { database, instances, reader, tookMs: performance.now() - startedMs })}`);
process.exitCode = rounds.some(({ violations }) => violations.length > 0) ? 1 : 0;

/** Writes what violates and what it is found in to a file, whose name it returns. */
function keep(round: Round): string {
  mkdirSync('tmp', { recursive: true });
  const file = join('tmp', `watch-seed-${round.seed}-${database}-${reader}.json`);
  const { violations, evidence } = round;
  const where = new Set(violations.map((violation) => violation.where));
  const histories = evidence.histories.filter(({ name }) => where.has(name));
  writeFileSync(file, JSON.stringify({ seed: round.seed, violations, histories, log: evidence.log }, null, 1));
  return file;
}

function oneOf<T extends string>(name: 'database' | 'reader', allowed: readonly T[]): T {
  const value = allowed.find((item) => item === values[name]);
  return value ?? refuse(`--${name} is ${allowed.join(' or ')}`);
}

function wholeNumber(name: 'seeds' | 'first-seed' | 'seconds' | 'instances'): number {
  const value = values[name];
  return /^[1-9]\d{0,8}$/.test(value) ? Number(value) : refuse(`--${name} is a whole number above 0`);
}

function refuse(why: string): never {
  console.error(`check:watch: ${why}`);
  process.exit(64);
}
