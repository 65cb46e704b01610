import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium } from 'playwright-core';
import type { TestContext } from 'vitest';
import { createViteServer } from 'vitest/node';
import { findCommand, skipLoudly } from './commands.ts';

const CHROMIUM = findCommand('chromium', 'chromium-browser', 'google-chrome');
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1',
];

/** Whether this machine has a Chromium. */
export const hasChromium = CHROMIUM !== undefined;

/** Starts Chromium, which reaches this machine alone. */
export async function startChromium(): Promise<Browser> {
  return chromium.launch({ ...(CHROMIUM !== undefined && { executablePath: CHROMIUM }), args: FLAGS });
}

/** Without Chromium the test is skipped, and says why. */
export function needChromium(context: TestContext): void {
  if (!hasChromium) skipLoudly(context, 'there is no Chromium on this machine');
}

export interface PageServer extends AsyncDisposable {
  readonly port: number;
}

/** Has the browser keep a module, which Vite would have it ask for again in each tab. */
function keepInBrowser(response: ServerResponse): void {
  const setHeader = response.setHeader.bind(response);
  response.setHeader = (name, value) => setHeader(name, name.toLowerCase() === 'cache-control' ? 'max-age=600' : value);
}

/** Serves a page with this script, and the modules it imports, on a free port of all names of this machine. */
export async function servePages(script: string): Promise<PageServer> {
  const vite = await createViteServer({
    configFile: false,
    appType: 'custom',
    logLevel: 'error',
    optimizeDeps: { noDiscovery: true },
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  });
  const page = `<!doctype html><title>A page</title><script type="module" src="/${script}"></script>`;
  const server: Server = createServer((request, response) => {
    if (request.url !== '/') {
      keepInBrowser(response);
      return vite.middlewares(request, response);
    }
    response.setHeader('content-type', 'text/html').end(page);
  }).listen(0);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await Promise.all([once(server, 'close'), vite.close()]);
    },
  };
}
