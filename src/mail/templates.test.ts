import { expect, test } from 'vitest';
import { MAIL_LANGUAGES } from '../config/config.ts';
import { MAIL_KINDS, MailTemplates } from './templates.ts';

const EVERYTHING = { code: '12345678', token: 'k'.repeat(64), timeMs: 0, address: '192.0.2.1' };

test.each(MAIL_LANGUAGES.flatMap((language) => MAIL_KINDS.map((kind) => [kind, language] as const)))(
  '%s says in %s the same as text and as HTML, with every value filled in and nothing to load or to click',
  (kind, language) => {
    const { subject, text, html } = new MailTemplates({ language, service: 'A <b> & Co' }).render(kind, EVERYTHING);
    expect(subject).toMatch(/^\S[^\n{]{5,70}\S$/);
    for (const part of [text, html]) expect(part).not.toMatch(/\{\{|undefined|https?:|src=|href=/);
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
    const templates = new MailTemplates({ language: 'en', service: 'Kith' });
    const { text, html } = templates.render('password_changed', { timeMs: 0 }, { locale, timeZone });
    expect(html).toMatch(language);
    expect(text).toMatch(time);
  },
);
