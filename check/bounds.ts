/**
 * Attack a server in every way that is known, beside clients that use it as it is
 * meant: npm run check:bounds. See docs/bounds-checker.md. Exits with 1 when a
 * bound did not hold.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeResult } from './bounds/report.ts';
import { type Result, runBounds } from './bounds/run.ts';
import { hasProc } from './bounds/server.ts';
import { SHAPES } from './bounds/shapes.ts';
import { LIMITS } from './bounds/verdict.ts';
import { createStore, startServer } from './cluster.ts';

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: '' },
    seconds: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    database: { type: 'string', default: 'sqlite' },
    'fast-path': { type: 'string', default: 'true' },
    'heap-mb': { type: 'string', default: '256' },
    'rss-mb': { type: 'string', default: String(LIMITS.rssMax / 2 ** 20) },
    main: { type: 'string' },
    command: { type: 'string', default: '' },
    json: { type: 'string' },
    short: { type: 'boolean', default: false },
    'ignore-times': { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const seconds = wholeNumber('seconds');
const heapMb = wholeNumber('heap-mb');
const rssMb = wholeNumber('rss-mb');
const database = oneOf('database', ['sqlite', 'postgres']);
const fastPath = oneOf('fast-path', ['true', 'false']) === 'true';
const pattern = readPattern();
const shapes = SHAPES.filter(({ name, isShort }) => pattern.test(name) && (isShort || !values.short));
if (shapes.length === 0) refuse(`no shape's name matches ${values.shapes}; --list has them`);

if (values.list) {
  for (const { name, kind, who, sends } of shapes) console.log(`${name} | ${kind} | ${who} | ${sends}`);
  process.exit(0);
}

// So that the processes and the database end with this one.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
if (!hasProc) console.error('!!! no /proc on this machine: the peak of the resident set is not known, and not judged');

await using opened = new AsyncDisposableStack();
const server = database === 'postgres' ? opened.use(await startServer()) : undefined;
let stores = 0;
const results: Result[] = [];
const startedMs = performance.now();
const running = runBounds({
  target: { fastPath, heapMb, main: values.main, command: values.command.split(' ').filter(Boolean) },
  createDatabase: server && (async () => opened.use(await createStore(server, `bounds_${++stores}`)).url),
  shapes,
  seconds,
  seed: values.seed,
  limits: { ...LIMITS, rssMax: rssMb * 2 ** 20, judgesTime: !values['ignore-times'] },
});
for (;;) {
  const { done, value } = await running.next();
  if (done) {
    const took = ((performance.now() - startedMs) / 60_000).toFixed(1);
    console.log(
      `\nidle p99 ${value.idleP99Ms.toFixed(1)} ms before, ${value.idleAfterP99Ms.toFixed(1)} ms after; ${took} min`,
    );
    break;
  }
  results.push(value);
  console.log(describeResult(value));
}
const failed = results.filter(({ broken }) => broken.length > 0).length;
console.log(`${results.length - failed} passed, ${failed} failed`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results.map(summary), null, 1));
process.exitCode = failed > 0 ? 1 : 0;

/** Without the thousands of single times. */
function summary({ experience, ...result }: Result) {
  const { callsMs = [], signInsMs = [], ...rest } = experience ?? {};
  const sorted = callsMs.toSorted((a, b) => a - b);
  const times = {
    calls: callsMs.length,
    p50Ms: sorted[Math.floor(sorted.length / 2)],
    p99Ms: sorted[Math.floor(sorted.length * 0.99)],
    signInsMs,
  };
  return { ...result, experience: { ...rest, ...times } };
}

function readPattern(): RegExp {
  try {
    return new RegExp(values.shapes, 'i');
  } catch {
    return refuse('--shapes is a regular expression');
  }
}

function oneOf<T extends string>(name: 'database' | 'fast-path', allowed: readonly T[]): T {
  const value = allowed.find((item) => item === values[name]);
  return value ?? refuse(`--${name} is ${allowed.join(' or ')}`);
}

function wholeNumber(name: 'seconds' | 'heap-mb' | 'rss-mb'): number {
  const value = values[name];
  return /^[1-9]\d{0,5}$/.test(value) ? Number(value) : refuse(`--${name} is a whole number above 0`);
}

function refuse(why: string): never {
  console.error(`check:bounds: ${why}`);
  process.exit(64);
}
