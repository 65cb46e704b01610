import { constants, performance, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { systemClock } from '../kernel/clock.ts';
import { Histogram } from './histogram.ts';
import type { Registry } from './registry.ts';

/** How often the delay of the event loop is measured, milliseconds. What blocks it for longer is always seen. */
const LOOP_SAMPLE_MS = 20;

const LOOP_BOUNDS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const GC_BOUNDS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/**
 * Adds what Node knows of this process, under the names that others use for it. Measures
 * the event loop and garbage collection until disposed.
 */
export function addProcessMetrics(registry: Registry): Disposable {
  registry.counter('process_cpu_seconds_total', 'CPU time of the process, all threads.', () => {
    const { user, system } = process.cpuUsage();
    return [[{}, (user + system) / 1e6]];
  });
  registry.gauge('process_start_time_seconds', 'When the process started, seconds since 1970.', () => [
    [{}, performance.timeOrigin / 1000],
  ]);
  registry.gauge('process_resident_memory_bytes', 'Memory of the process that is in RAM.', () => [
    [{}, process.memoryUsage.rss()],
  ]);
  registry.gauge(
    'nodejs_memory_bytes',
    'Memory by kind: JavaScript heap in use and reserved, outside of it, buffers.',
    () => {
      const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
      return [
        [{ kind: 'heap_used' }, heapUsed],
        [{ kind: 'heap_total' }, heapTotal],
        [{ kind: 'external' }, external],
        [{ kind: 'array_buffers' }, arrayBuffers],
      ];
    },
  );

  registry.counter('nodejs_eventloop_seconds_total', 'Time that the event loop was active and idle.', () => {
    const { active, idle } = performance.eventLoopUtilization();
    return [
      [{ state: 'active' }, active / 1000],
      [{ state: 'idle' }, idle / 1000],
    ];
  });
  const delays = new Histogram(LOOP_BOUNDS_SECONDS);
  registry.histogram('nodejs_eventloop_delay_seconds', 'How late a timer fires that is due every 20 ms.', () => [
    [{}, delays],
  ]);
  // Not by monitorEventLoopDelay: its quantiles are those since a reset, which two scrapers would take from each other.
  let lastMs = systemClock.monotonic();
  const timer = setInterval(() => {
    const nowMs = systemClock.monotonic();
    delays.observe(Math.max(0, nowMs - lastMs - LOOP_SAMPLE_MS) / 1000);
    lastMs = nowMs;
  }, LOOP_SAMPLE_MS).unref();

  const pauses = new Map<number, Histogram>();
  registry.histogram('nodejs_gc_duration_seconds', 'Garbage collections by kind.', () =>
    [...pauses].map(([kind, values]) => [{ kind: GC_KINDS[kind] ?? 'other' }, values] as const),
  );
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = kindOf(entry);
      let values = pauses.get(kind);
      if (values === undefined) pauses.set(kind, (values = new Histogram(GC_BOUNDS_SECONDS)));
      values.observe(entry.duration / 1000);
    }
  });
  observer.observe({ entryTypes: ['gc'] });

  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      observer.disconnect();
    },
  };
}

/** 0, shown as "other", for a kind that is not known: two of them would have the same labels. */
function kindOf(entry: PerformanceEntry): number {
  const { kind = 0 } = (entry as PerformanceEntry & { detail?: { kind?: number } }).detail ?? {};
  return kind in GC_KINDS ? kind : 0;
}
