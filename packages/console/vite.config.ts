import { defineConfig } from 'vite';

/**
 * The build is served by src/http/console.ts, under a path that a setting names, and with a content security policy that lets
 * in files alone: nothing is inlined.
 */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  logLevel: 'warn',
  build: {
    target: 'es2023',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: true,
    manifest: true,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    rolldownOptions: {
      // One file of what every call needs is smaller than the parts that pages happen to share.
      output: {
        codeSplitting: { groups: [{ name: 'rpc', test: /node_modules\/@(bufbuild\/protobuf|connectrpc)\// }] },
      },
      onwarn(warning, warn) {
        // "use client", which means nothing in a browser.
        if (warning.code !== 'MODULE_LEVEL_DIRECTIVE') warn(warning);
      },
    },
  },
});
