import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    globalSetup: 'test/support/postgres.ts',
    include: ['{src,test,check}/**/*.test.ts'],
    // A process per file: tests start whole services, and a service owns its process's thread pool.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A condition that is waited for has all the time a test has: how long it takes is the machine's affair.
    expect: { poll: { interval: 20, timeout: 50_000 } },
  },
});
