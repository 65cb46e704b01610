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
  },
});
