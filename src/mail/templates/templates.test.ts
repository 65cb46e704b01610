import { expect, test } from 'vitest';
import { BUILT_IN_LANGUAGES } from './built-in.ts';
import { MAIL_KINDS } from './kinds.ts';
import { MailTemplates } from './templates.ts';

const EVERYTHING = { code: '12345678', token: 'k'.repeat(64), timeMs: 0, address: '192.0.2.1' };

const ACCOUNT_URL = 'https://example.org/a&b/';

test.each(BUILT_IN_LANGUAGES.flatMap((language) => MAIL_KINDS.map((kind) => [kind, language] as const)))(
  '%s says in %s the same as text and as HTML, with every value filled in, nothing to load, and no link but its page',
  (kind, language) => {
    const render = (accountUrl: string | undefined) =>
      new MailTemplates({ language, service: 'A <b> & Co', accountUrl }).render(kind, EVERYTHING);
    const without = render(undefined);
    for (const part of [without.text, without.html]) expect(part).not.toMatch(/\{\{|undefined|https?:|src=|href=/);
    const { subject, text, html } = render(ACCOUNT_URL);
    expect(subject).toMatch(/^\S[^\n{]{5,70}\S$/);
    for (const part of [text, html]) expect(part).not.toMatch(/\{\{|undefined|src=/);
    const links = Array.from(text.matchAll(/https?:\S+/g), ([link]) => link);
    expect(links.length).toBe(text === without.text ? 0 : 1);
    for (const link of links) expect(link).toMatch(/^https:\/\/example\.org\/a&b\/[a-z-]+(#(code|token)=\w+)?$/);
    const hrefs = Array.from(html.matchAll(/href="([^"]*)"/g), ([, href]) => href?.replaceAll('&amp;', '&'));
    expect(hrefs).toEqual(links);
    const read = html
      .replace(/[^]*<body[^>]*>/, '')
      .replaceAll(/<[^>]+>/g, '')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&amp;', '&');
    expect(read.split(/\s+/).join(' ').trim()).toBe(text.split(/\s+/).join(' ').trim());
    expect(text).toContain('A <b> & Co');
  },
);

test.each([
  ['de-AT', 'Europe/Vienna', /lang="de"/, /1\. Januar 1970 um 01:00:00 MEZ/],
  ['', '', /lang="en"/, /January 1, 1970 at 12:00:00.AM UTC/],
  ['fr', 'Nowhere/Gone', /lang="en"/, /January 1, 1970 at 12:00:00.AM UTC/],
])(
  'a recipient with the locale "%s" and the time zone "%s" is written to in theirs, or in those of the server',
  (locale, timeZone, language, time) => {
    const templates = new MailTemplates({ language: 'en', service: 'Kith', accountUrl: undefined });
    const { text, html } = templates.render('password_changed', { timeMs: 0 }, { locale, timeZone });
    expect(html).toMatch(language);
    expect(text).toMatch(time);
  },
);

test.each([
  ['password_reset', 'reset-password#code=12345678'],
  ['sign_up', 'sign-up#code=12345678'],
  ['email_verification', 'verify-email#code=12345678'],
  ['email_change', 'confirm-email#code=12345678'],
  ['email_take_back', `take-back#token=${'k'.repeat(64)}`],
  ['invitation', 'accept-invitation'],
  ['sign_up_known', 'sign-in'],
] as const)('the link in %s leads to its page, with what it is for in the fragment: %s', (kind, link) => {
  const { code, token, timeMs } = EVERYTHING;
  const values = { email_take_back: { token, timeMs }, invitation: { timeMs }, sign_up_known: {} };
  const given = kind in values ? values[kind as keyof typeof values] : { code };
  const templates = new MailTemplates({ language: 'en', service: 'Kith', accountUrl: ACCOUNT_URL });
  const { text } = templates.render(kind, given);
  expect(text.match(/https:\S+/)?.[0]).toBe(`${ACCOUNT_URL}${link}`);
});
