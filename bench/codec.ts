/**
 * What the compiled codec takes to write and read messages, beside Protobuf-ES and beside plain JSON of the same data.
 * All in turns in one process, medians of processor time. Writes bench/results/codec.md. `--rounds N`.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import * as compiled from '../packages/protobuf-compiled/src/index.ts';
import { quantile, writeReport } from './report.ts';
import { type Sample, samples } from './serialisation.ts';

/** A way to write a sample, and to read what was written. */
interface Way {
  readonly name: string;
  readonly prepare: (sample: Sample) => { readonly write: () => unknown; readonly read: () => unknown };
}

const JSON_TEXT = 'JSON.stringify, JSON.parse';

const BINARY: readonly Way[] = [
  {
    name: 'Protobuf-ES',
    prepare({ schema, message }) {
      const bytes = Buffer.from(toBinary(schema, message));
      return { write: () => toBinary(schema, message), read: () => fromBinary(schema, bytes) };
    },
  },
  {
    name: 'compiled',
    prepare({ schema, message }) {
      const bytes = Buffer.from(toBinary(schema, message));
      return { write: () => compiled.toBinary(schema, message), read: () => compiled.fromBinary(schema, bytes) };
    },
  },
  {
    name: 'compiled, behind an envelope',
    prepare({ schema, message }) {
      const bytes = Buffer.from(toBinary(schema, message));
      return {
        write: () => compiled.toBinaryBehind(schema, message, 5),
        read: () => compiled.fromBinary(schema, bytes),
      };
    },
  },
  {
    name: JSON_TEXT,
    prepare({ plain }) {
      const text = JSON.stringify(plain);
      return { write: () => JSON.stringify(plain), read: () => JSON.parse(text) };
    },
  },
  {
    name: `${JSON_TEXT}, to and from bytes`,
    prepare({ plain }) {
      const bytes = Buffer.from(JSON.stringify(plain));
      return { write: () => Buffer.from(JSON.stringify(plain)), read: () => JSON.parse(bytes.toString()) };
    },
  },
];

/** What came out last; otherwise the engine may leave out what nobody uses. */
let last: unknown;

/** The same messages in JSON. */
const JSON_OF_MESSAGES: readonly Way[] = [
  {
    name: 'Protobuf-ES',
    prepare({ schema, message }) {
      const text = toJsonString(schema, message);
      return { write: () => toJsonString(schema, message), read: () => fromJsonString(schema, text) };
    },
  },
  {
    name: 'compiled',
    prepare({ schema, message }) {
      const text = toJsonString(schema, message);
      return { write: () => compiled.toJsonString(schema, message), read: () => compiled.fromJsonString(schema, text) };
    },
  },
  BINARY.find(({ name }) => name === JSON_TEXT)!,
];

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '31' } } });
const rounds = Number(values.rounds);
/** How long a round takes for each task, about, and the time until a task is compiled, milliseconds. */
const ROUND_MS = 20;
const WARM_UP_MS = 150;

const lines = [
  `Microseconds of processor time, medians of ${rounds} rounds in turns, in brackets the ratio to ${JSON_TEXT} of the same data. Node ${process.versions.node}, ${cpus()[0]?.model ?? 'an unknown processor'}.`,
];
for (const sample of samples()) {
  lines.push('', ...table(`${sample.name}, binary`, sample, BINARY));
  lines.push('', ...table(`${sample.name}, JSON`, sample, JSON_OF_MESSAGES));
}
await writeReport('codec', 'npm run bench:codec', lines);

function table(title: string, sample: Sample, ways: readonly Way[]): string[] {
  const tasks = ways.flatMap(({ name, prepare }) => {
    const { write, read } = prepare(sample);
    return [
      { name, task: write, runs: [] as number[] },
      { name, task: read, runs: [] as number[] },
    ];
  });
  const times = tasks.map(({ task }) => timesOf(task));
  for (let round = 0; round < rounds; round++)
    for (const [i, { task, runs }] of tasks.entries()) runs.push(microsOf(task, times[i]!));
  const medians = tasks.map(({ runs }) => quantile(runs, 0.5));
  const plain = ways.findIndex(({ name }) => name === JSON_TEXT);
  const cell = (i: number, at: number) =>
    `${medians[2 * i + at]!.toFixed(2)} (${(medians[2 * i + at]! / medians[2 * plain + at]!).toFixed(2)})`;
  return [
    `| ${title} | write | read |`,
    '| --- | ---: | ---: |',
    ...ways.map(({ name }, i) => `| ${name} | ${cell(i, 0)} | ${cell(i, 1)} |`),
  ];
}

/** How often a task is run in a round, found out until it is compiled. */
function timesOf(task: () => unknown): number {
  for (let times = 16; ; times *= 2) {
    const micros = microsOf(task, times) * times;
    if (micros > WARM_UP_MS * 1000) return Math.ceil((times * ROUND_MS * 1000) / micros);
  }
}

/** Of this thread alone, so that what else runs on the machine does not count. */
function cpuMicros(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function microsOf(task: () => unknown, times: number): number {
  const start = cpuMicros();
  for (let n = 0; n < times; n++) last = task();
  const micros = cpuMicros() - start;
  if (last === undefined) throw new Error('nothing came out');
  return micros / times;
}
