import { resolve } from 'node:path';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Minutes alone, so that they come first: one that began last would run while the other core has nothing to do. */
const LONG = /\.long\.test\.ts$/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- of vitest, not of arrays
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => Number(LONG.test(b.moduleId)) - Number(LONG.test(a.moduleId)));
  }
}

/**
 * What Node has compiled, for the tests and the servers that they start: a thread, which each server on SQLite has for its
 * writes, takes a quarter of the time so, and a process half.
 */
process.env['NODE_COMPILE_CACHE'] ??= resolve('node_modules/.cache/node');

/** One more than there are cores where there are two: tests also wait, for clocks, processes and connections. */
const WORKERS = 3;

/** Tests of parts, which leave nothing behind in their process. Of these, some do. */
const PARTS = '{src,packages}/**/*.test.ts';
const PARTS_WITH_A_PROCESS = [
  'src/admin/log-level.test.ts',
  'src/http/one-port-attacks.long.test.ts',
  'src/scan/scan.test.ts',
  'src/tracing/*.test.ts',
];

function project(
  name: string,
  test: Pick<NonNullable<TestProjectInlineConfiguration['test']>, 'include' | 'exclude' | 'isolate'>,
): TestProjectInlineConfiguration {
  return {
    extends: false,
    test: {
      name,
      ...test,
      // Processes, not threads: tests start whole services, and a service owns its process's thread pool.
      pool: 'forks',
      // Node loads the sources itself, as it does in production: nothing is transformed, and what it compiled is kept.
      experimental: { viteModuleRunner: false, nodeLoader: false },
      testTimeout: 60_000,
      hookTimeout: 120_000,
      // A condition that is waited for has all the time a test has: how long it takes is the machine's affair.
      expect: { poll: { interval: 20, timeout: 50_000 } },
      maxWorkers: WORKERS,
    },
  };
}

export default defineConfig({
  test: {
    globalSetup: [
      'test/support/scratch.ts',
      'test/support/compiled.ts',
      'test/support/postgres.ts',
      'test/support/templates.ts',
    ],
    sequence: { sequencer: LongFirst },
    experimental: { viteModuleRunner: false, nodeLoader: false },
    maxWorkers: WORKERS,
    projects: [
      project('process of its own', { include: ['{test,check}/**/*.test.ts', ...PARTS_WITH_A_PROCESS] }),
      project('shared process', { include: [PARTS], exclude: PARTS_WITH_A_PROCESS, isolate: false }),
    ],
  },
});
