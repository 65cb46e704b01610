import type { Histogram } from './histogram.ts';

export type Labels = Readonly<Record<string, string>>;

/** One line of a metric. */
export type Sample = readonly [labels: Labels, value: number];

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly lines: () => string;
}

/**
 * Metrics that are read when they are asked for, and what they look like in the text format of
 * Prometheus, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * Names and labels come from the code and must be valid there; values of labels are escaped.
 */
export class Registry {
  readonly #metrics: Metric[] = [];
  readonly #preparations: (() => Promise<void>)[] = [];

  /** Has `prepare` run before each reading, for what takes a query. It must not reject. */
  beforeReading(prepare: () => Promise<void>): void {
    this.#preparations.push(prepare);
  }

  /** A count that only goes up while the process lives. The name ends with _total. */
  counter(name: string, help: string, read: () => Iterable<Sample>): void {
    this.#add('counter', name, help, () => samples(name, read()));
  }

  gauge(name: string, help: string, read: () => Iterable<Sample>): void {
    this.#add('gauge', name, help, () => samples(name, read()));
  }

  histogram(name: string, help: string, read: () => Iterable<readonly [labels: Labels, values: Histogram]>): void {
    this.#add('histogram', name, help, () => {
      let lines = '';
      for (const [labels, values] of read()) lines += buckets(name, labels, values);
      return lines;
    });
  }

  #add(type: Metric['type'], name: string, help: string, lines: () => string): void {
    if (this.#metrics.some((metric) => metric.name === name)) throw new Error(`there are two metrics ${name}`);
    this.#metrics.push({ type, name, help, lines });
  }

  /** All metrics with their present values. */
  async text(): Promise<string> {
    await Promise.all(this.#preparations.map((prepare) => prepare()));
    return this.#metrics
      .map(({ name, help, type, lines }) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines()}`)
      .join('');
  }
}

function samples(name: string, all: Iterable<Sample>): string {
  let lines = '';
  for (const [labels, value] of all) lines += line(name, labels, value);
  return lines;
}

/** Each bucket counts the values of those below it as well. */
function buckets(name: string, labels: Labels, { bounds, counts, sum }: Histogram): string {
  let lines = '';
  let count = 0;
  counts.forEach((values, i) => {
    count += values;
    lines += line(`${name}_bucket`, { ...labels, le: i < bounds.length ? String(bounds[i]) : '+Inf' }, count);
  });
  return `${lines}${line(`${name}_sum`, labels, sum)}${line(`${name}_count`, labels, count)}`;
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${written(value)}\n`;
}

/** JavaScript's numbers are written as Go reads them, infinity aside. */
function written(value: number): string {
  return value === Infinity ? '+Inf' : String(value);
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
