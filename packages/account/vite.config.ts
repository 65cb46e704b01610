import { defineConfig } from 'vite';

/**
 * The build is served by src/http/account.ts, under a path that a setting names, and with a content security policy that
 * lets in files alone: nothing is inlined.
 */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  logLevel: 'warn',
  build: {
    target: 'es2023',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
