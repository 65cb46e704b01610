import { execFile } from 'node:child_process';
import { glob, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import axe from 'axe-core';
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';

/**
 * Builds console and account pages where there is no build, or an older one than its sources. `npm ci` has made one: other tests start
 * servers meanwhile, which read it.
 */
export async function buildConsole(): Promise<void> {
  const builds = ['console', 'account'].map((name) => stat(`packages/${name}/dist/index.html`).catch(() => undefined));
  const builtMs = Math.min(...(await Promise.all(builds)).map((build) => build?.mtimeMs ?? 0));
  for await (const file of glob('packages/{account,console,client}/src/**/*.{ts,tsx,css}')) {
    if ((await stat(file)).mtimeMs <= builtMs) continue;
    await promisify(execFile)(process.execPath, ['scripts/build-console.ts']);
    return;
  }
}

/** How long a browser of one person may take to close, milliseconds. */
const CLOSE_MAX_MS = 10_000;

/** A browser of one person, and what it has to complain of. */
export interface Visitor extends AsyncDisposable {
  readonly context: BrowserContext;
  /** Violations of the policy of a page, and errors that nothing caught. */
  readonly complaints: string[];
  open(path?: string): Promise<Page>;
}

/** Opens a browser of its own, in English. `base`: of the paths that are opened. */
export async function visit(
  browser: Browser,
  address: string,
  { base = '/console/', ...options }: BrowserContextOptions & { readonly base?: string } = {},
): Promise<Visitor> {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const complaints: string[] = [];
  await context.exposeFunction('complain', (text: string) => void complaints.push(text));
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) => {
      (globalThis as unknown as { complain: (text: string) => void }).complain(
        `${violatedDirective} refused ${blockedURI} ${sample}`,
      );
    });
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return {
    context,
    complaints,
    async open(path = '') {
      const page = await context.newPage();
      await page.goto(`${address}${base}${path}`);
      return page;
    },
    // Closing while a page of it goes elsewhere has hung, and the browser ends it in any case.
    [Symbol.asyncDispose]: () => Promise.race([context.close(), sleep(CLOSE_MAX_MS, undefined, { ref: false })]),
  };
}

/** Signs in on the page that asks for it. */
export async function signInOn(page: Page, identifier: string, password: string): Promise<void> {
  await page.getByLabel('Username or email').fill(identifier);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** What axe finds, and whether the page is wider than the narrowest screen. */
export async function faultsOf(page: Page, name: string): Promise<string[]> {
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () => {
    const { axe: loaded } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations: found } = await loaded.run();
    return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`));
  });
  const size = page.viewportSize()!;
  await page.setViewportSize({ width: 360, height: 740 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.setViewportSize(size);
  return [...violations, ...(width > 360 ? [`${width} pixels wide`] : [])].map((fault) => `${name}: ${fault}`);
}

/** Presses Tab until this has the focus: what people can get at who use no pointer. */
export async function tabTo(target: Locator, key: 'Tab' | 'Shift+Tab' = 'Tab'): Promise<void> {
  await target.waitFor();
  const hasFocus = () => target.evaluate((element) => element === document.activeElement);
  for (let presses = 0; presses < TAB_PRESSES_MAX; presses += 1) {
    if (await hasFocus()) return;
    await target.page().keyboard.press(key);
  }
  throw new Error(`${key} does not get to ${String(target)}`);
}

const TAB_PRESSES_MAX = 80;
