import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { SETTINGS } from '../src/config/config.ts';
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

const SECRET_KEY = Buffer.alloc(32, 'hidden').toString('base64');

const site = startSite((resources) => {
  const directory = resources.use(mkdtempDisposableSync(join(tmpdir(), 'templates-')));
  mkdirSync(join(directory.path, 'fr'));
  writeFileSync(
    join(directory.path, 'fr/email_taken.txt'),
    'Subject: <img src=x onerror=complain(1)>\n\nBonjour {{service}}',
  );
  writeFileSync(join(directory.path, 'fr/email_taken.html'), HOSTILE);
  writeFileSync(join(directory.path, 'fr/key'), SECRET_KEY);
  return {
    env: {
      KITH_MAIL_TEMPLATES: directory.path,
      KITH_SECRET_KEY: '',
      KITH_SECRET_KEY_FILE: join(directory.path, 'fr/key'),
      KITH_ISSUER: 'http://ada:hidden@id.example.org/',
      KITH_AUDIENCE: '<img/src=x/onerror=complain(1)>',
      KITH_FRESH_SIGN_IN_SECONDS: '1800',
      KITH_MESSAGE_BYTES: '2097152',
      KITH_SIGN_UP: 'invitation',
      KITH_SIGN_UP_DOMAINS: 'example.org,example.com',
    },
  };
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

test('all settings are shown with their source, searched and filtered by the keyboard, and no secret is among them', async (context) => {
  needChromium(context);
  await using visitor = await site.visit();
  const page = await enter(visitor, 'settings');
  const names = page.locator('main h3');
  const rowOf = (name: string) =>
    page.getByRole('listitem').filter({ has: page.getByRole('heading', { name, exact: true }) });
  await expect.poll(() => names.allInnerTexts()).toEqual(Object.keys(SETTINGS));
  expect(await faultsOf(page, 'settings')).toEqual([]);
  const text = await page.locator('body').innerText();
  for (const secret of [SECRET_KEY, ADMIN_PASSWORD, 'hidden']) expect(text).not.toContain(secret);
  expect(await rowOf('KITH_SECRET_KEY').innerText()).toMatch(/\nset\s+File\s+in \S+\/fr\/key/);
  expect(await rowOf('KITH_SMTP_URL').innerText()).toMatch(/\nnot set\s+Default/);
  expect(await rowOf('KITH_FRESH_SIGN_IN_SECONDS').innerText()).toMatch(
    /from 30 seconds to 1 day\s+1800\s+30 minutes\s+Environment\s+Default: 900 15 minutes/,
  );
  expect(await rowOf('KITH_MESSAGE_BYTES').innerText()).toMatch(
    /2097152\s+2 MiB\s+Environment\s+Default: 1048576 1 MiB/,
  );
  expect(await rowOf('KITH_AUDIENCE').innerText()).toContain('<img/src=x/onerror=complain(1)>');

  const signUp = page.getByRole('region', { name: 'Who may sign up' });
  expect(await signUp.innerText()).toMatch(
    /who are invited may sign up.*domains are taken: example\.org, example\.com/s,
  );
  await page.locator('body').press('/');
  await page.keyboard.type('_seconds');
  await page.getByText(`5 of ${Object.keys(SETTINGS).length} settings`).waitFor();
  await tabTo(page.getByLabel('Changed from the default'));
  await page.keyboard.press('Space');
  await expect.poll(() => names.allInnerTexts()).toEqual(['KITH_FRESH_SIGN_IN_SECONDS', 'KITH_SHUTDOWN_SECONDS']);
  expect(new URL(page.url()).search).toBe('?q=_seconds&changed=1');
  await page.reload();
  await page.getByRole('heading', { name: 'KITH_SHUTDOWN_SECONDS' }).waitFor();
  await page.getByRole('searchbox').fill('no such setting');
  await page.getByText('No setting matches').waitFor();
  // The call of the page, in each form; what is shown runs.
  await tabTo(page.getByRole('button', { name: 'As code' }), 'Shift+Tab');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'As code' });
  await dialog.getByText('kith.admin.v1.AdminService/GetSettings').waitFor();
  await tabTo(dialog.getByRole('button', { name: 'Go', exact: true }));
  await page.keyboard.press('Enter');
  await dialog.getByText('adminv1.NewAdminServiceClient(conn).GetSettings(ctx, request)').waitFor();
  await tabTo(dialog.getByRole('button', { name: 'TypeScript' }), 'Shift+Tab');
  await page.keyboard.press('Enter');
  const code = await dialog.locator('pre', { hasText: 'createKith' }).innerText();
  expect(await faultsOf(page, 'as code')).toEqual([]);
  await page.keyboard.press('Escape');
  const { accessToken } = await site.kith.admin();
  const env = { ...process.env, TOKEN: accessToken };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], { env });
  expect(stdout).toContain("name: 'KITH_HOST'");
  await signUp.getByRole('link', { name: 'Invitations' }).click();
  await page.getByRole('heading', { name: 'Invitations' }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('on a narrow screen settings lead to the mails, and every setting is described in German', async (context) => {
  needChromium(context);
  const viewport = { width: 360, height: 740 };
  await using visitor = await site.visit({ locale: 'de-DE', colorScheme: 'dark', viewport });
  const page = await visitor.open();
  await page.getByLabel('Benutzername').fill('admin');
  await page.getByLabel('Passwort', { exact: true }).fill(ADMIN_PASSWORD);
  await page.keyboard.press('Enter');
  const bar = page.getByRole('navigation');
  await bar.getByRole('link', { name: 'Einstellungen' }).click();
  await page.getByRole('heading', { name: 'KITH_LOG_LEVEL' }).waitFor();
  expect(await page.locator('main [lang=en]').allInnerTexts()).toEqual([]);
  expect(await faultsOf(page, 'settings, German')).toEqual([]);
  const lines = await bar
    .getByRole('link')
    .evaluateAll((links) =>
      links.map((link) => [link.textContent, Math.round(link.lastElementChild!.clientHeight / 16)]),
    );
  // No word is broken; two of them may stand one above the other.
  expect(lines.filter(([text, count]) => text !== 'Mein Konto' && count !== 1)).toEqual([]);
  expect(lines).toHaveLength(6);
  expect(await bar.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)).toBe(0);
  await page.getByRole('main').getByRole('link', { name: 'E-Mails', exact: true }).click();
  await page.getByRole('heading', { name: 'E-Mails' }).waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Einstellungen' }).click();
  await page.getByRole('heading', { name: 'KITH_LOG_LEVEL' }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('who is no admin is shown no settings, nor a way to them', async (context) => {
  needChromium(context);
  const { user, password } = await site.kith.user(Role.EDITOR);
  await using visitor = await site.visit();
  const page = await visitor.open('settings');
  await signInOn(page, user.username, password);
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  expect(await page.getByRole('navigation').getByRole('link', { name: 'Settings' }).count()).toBe(0);
  expect(await page.getByText('KITH_').count()).toBe(0);
  await page.keyboard.press('Control+k');
  await page.keyboard.type('settings');
  await page.getByRole('dialog').getByRole('option').first().waitFor({ state: 'detached' });
});
