import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { MAIL_KINDS } from '../src/mail/templates/kinds.ts';
import { needChromium } from './support/browser.ts';
import { faultsOf, signInOn, tabTo, type Visitor } from './support/console.ts';
import { ADMIN_PASSWORD } from './support/kith.ts';
import { startSite } from './support/site.ts';

/** Every way of running a script, of loading something or of leading away that a template might try. */
const HOSTILE = `<!doctype html>
<html lang="fr" onclick="complain('ran html')"><head>
<base href="https://evil.example/">
<meta http-equiv="refresh" content="0; url=https://evil.example/refresh">
<link rel="stylesheet" href="https://evil.example/style.css">
<script>complain('ran inline')</script>
<script src="/console/assets/x.js"></script>
<script src="data:text/javascript,complain('ran data')"></script>
<style>@import url(https://evil.example/import.css);</style>
<style>
:root { color-scheme: light dark }
p { color: rgb(1, 2, 3); background: url(https://evil.example/background.png) }
@media (prefers-color-scheme: dark) { p { color: rgb(4, 5, 6) } }
</style></head>
<body onload="complain('ran onload')">
<p style="font-size: 41px">Bonjour {{service}}</p>
<img src="x" onerror="complain('ran onerror')">
<img src="https://evil.example/pixel.png" alt="">
<svg onload="complain('ran svg')"><script>complain('ran svg script')</script></svg>
<iframe src="javascript:complain('ran frame')"></iframe>
<iframe srcdoc="<script>complain('ran srcdoc')</script>"></iframe>
<object data="https://evil.example/object"></object>
<form action="https://evil.example/form" target="_top"><button>Send</button></form>
<details open ontoggle="complain('ran toggle')"><summary>More</summary></details>
<input autofocus onfocus="complain('ran focus')">
<a href="javascript:parent.complain('ran link')">Script</a>
<a href="https://evil.example/link" target="_top">Away</a>
<a href="https://evil.example/blank" target="_blank">New</a>
</body></html>`;

const site = startSite((resources) => {
  const directory = resources.use(mkdtempDisposableSync(join(tmpdir(), 'templates-')));
  mkdirSync(join(directory.path, 'fr'));
  writeFileSync(
    join(directory.path, 'fr/email_taken.txt'),
    'Subject: <img src=x onerror=complain(1)>\n\nBonjour {{service}}',
  );
  writeFileSync(join(directory.path, 'fr/email_taken.html'), HOSTILE);
  return { env: { KITH_MAIL_TEMPLATES: directory.path } };
});

async function enter(visitor: Visitor, path: string): Promise<Page> {
  const page = await visitor.open(path);
  await signInOn(page, 'admin', ADMIN_PASSWORD);
  await page.getByRole('navigation').waitFor();
  return page;
}

test('every mail is shown in each language and scheme, as a phone and as a text, by the keyboard too', async (context) => {
  needChromium(context);
  await using visitor = await site.visit({ locale: 'de-DE' });
  const page = await visitor.open('outbox');
  await page.getByLabel('Benutzername').fill('admin');
  await page.getByLabel('Passwort', { exact: true }).fill(ADMIN_PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'E-Mail-Vorlagen' }).click();
  const mails = page.locator('main section');
  const firstMail = mails.first().frameLocator('iframe');
  await firstMail.getByText('Somebody, probably you').waitFor();
  expect(await mails.locator('code').allInnerTexts()).toEqual(MAIL_KINDS);
  expect(await faultsOf(page, 'mail templates')).toEqual([]);

  const choose = async (label: string, text: string, key: 'Tab' | 'Shift+Tab' = 'Tab') => {
    await tabTo(page.getByLabel(label, { exact: true }), key);
    await page.keyboard.type(text);
  };
  const colorOfText = () =>
    firstMail
      .locator('p')
      .first()
      .evaluate((text) => getComputedStyle(text).color);
  await choose('Sprache der E-Mail', 'Deutsch');
  await firstMail.getByText('Jemand, wahrscheinlich Sie').waitFor();
  expect(await colorOfText()).toBe('rgb(0, 0, 0)');
  await choose('Farben der E-Mail', 'Dunkel');
  await expect.poll(colorOfText).toBe('rgb(255, 255, 255)');
  await choose('Breite', 'Telefon');
  await expect.poll(() => mails.first().evaluate(({ clientWidth }) => clientWidth)).toBeLessThan(391);
  expect(await faultsOf(page, 'dark and narrow')).toEqual([]);
  expect(new URL(page.url()).search).toBe('?language=de&colors=dark&width=390');

  await choose('E-Mail', 'Code für', 'Shift+Tab');
  await mails.nth(1).waitFor({ state: 'detached' });
  await choose('Gezeigt', 'Text');
  await page.getByText('Ihr Code für ein neues Passwort').waitFor();
  await page.locator('pre', { hasText: '/account/reset-password#code=12345678' }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('a template that would run scripts, load something or lead away is drawn, and does none of it', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const sent: string[] = [];
  await visitor.context.route('https://evil.example/**', (route) => {
    sent.push(route.request().url());
    return route.abort();
  });
  visitor.context.on('page', (page) => sent.push(`opened ${page.url()}`));
  const page = await enter(visitor, 'settings/mail?kind=email_taken&language=fr');
  const { length: opened } = sent;
  await page.getByText('<img src=x onerror=complain(1)>').waitFor();
  const mail = page.frameLocator('iframe');
  const text = mail.getByText('Bonjour Kith');
  const styleOfText = () =>
    text.evaluate((element) => ['fontSize', 'color'].map((name) => getComputedStyle(element)[name as 'color']));
  await expect.poll(styleOfText).toEqual(['41px', 'rgb(1, 2, 3)']);
  await page.getByLabel('Mail colors').selectOption('Dark');
  await expect.poll(styleOfText).toEqual(['41px', 'rgb(4, 5, 6)']);

  for (const name of ['Script', 'Away', 'New']) await mail.getByRole('link', { name }).click();
  await mail.getByRole('link', { name: 'New' }).click({ button: 'middle' });
  await mail.getByRole('button', { name: 'Send' }).press('Enter');
  await mail.getByText('More').press('Enter');
  await mail.getByText('Bonjour').click();
  const within = await text.evaluate(async () => [
    self.origin,
    await fetch('/healthz').then(
      () => 'fetched',
      () => 'refused',
    ),
    ...[() => document.cookie, () => localStorage.length, () => parent.document.title].map((read) => {
      try {
        return `read ${read()}`;
      } catch (error) {
        return (error as Error).name;
      }
    }),
  ]);
  expect(within).toEqual(['null', 'refused', 'SecurityError', 'SecurityError', 'SecurityError']);
  expect(new URL(page.url()).pathname).toBe('/console/settings/mail');
  expect(sent.slice(opened)).toEqual([]);
  // What the frame refused is told from within it; `ran` would be too.
  expect(
    visitor.complaints.filter((text) => /img-src refused https:\/\/evil.example\/pixel.png/.test(text)),
  ).not.toEqual([]);
  expect(visitor.complaints.filter((text) => !/ refused /.test(text))).toEqual([]);
  expect(visitor.complaints.filter((text) => /ran /.test(text))).toEqual([]);
});
