import type { Browser, BrowserContextOptions } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { hasChromium, startChromium } from './browser.ts';
import { buildConsole, type Visitor, visit } from './console.ts';
import { databases } from './databases.ts';
import { type Kith, type StartOptions, startKith } from './kith.ts';

/** A server with its pages and a Chromium, for all tests of a file. */
export interface Site {
  readonly browser: Browser;
  readonly kith: Kith;
  /** Opens a browser of one person, in English and at the console. */
  visit(options?: BrowserContextOptions & { readonly base?: string }): Promise<Visitor>;
}

/** Where tests of pages keep their data, for a run on the other database: the name of a kind, as in `databases`. */
const KIND = process.env['KITH_TEST_CONSOLE_DATABASE'];

/**
 * Builds the pages, and starts a server and Chromium before the tests of a file and stops them after them. Without Chromium
 * there is nothing but the build. What the options need goes into `resources`, and is stopped after the server.
 */
export function startSite(
  optionsOf: (resources: AsyncDisposableStack) => StartOptions | Promise<StartOptions> = () => ({}),
): Site {
  let opened: { readonly browser: Browser; readonly kith: Kith } | undefined;
  const resources = new AsyncDisposableStack();
  beforeAll(async () => {
    await buildConsole();
    if (!hasChromium) return;
    const database = KIND === undefined ? undefined : resources.use(await kindOf(KIND).create());
    const options = { ...(database !== undefined && { database }), ...(await optionsOf(resources)) };
    const [browser, kith] = await Promise.all([startChromium(), startKith(options)]);
    resources.use(kith);
    resources.use(browser);
    opened = { browser, kith };
  });
  afterAll(() => resources.disposeAsync());
  const get = () => {
    if (opened === undefined) throw new Error('the site is there within tests that need Chromium');
    return opened;
  };
  return {
    get browser() {
      return get().browser;
    },
    get kith() {
      return get().kith;
    },
    visit: (options) => visit(get().browser, get().kith.address, options),
  };
}

function kindOf(name: string) {
  const kind = databases.find((each) => each.name === name);
  if (kind === undefined)
    throw new Error(`KITH_TEST_CONSOLE_DATABASE is one of ${databases.map((each) => each.name).join()}`);
  return kind;
}
