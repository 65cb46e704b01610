import { expect, test } from 'vitest';
import { MAIL_LANGUAGES } from '../config/config.ts';
import { MAIL_KINDS, MailTemplates } from './templates.ts';

const EVERYTHING = { code: '12345678', token: 'k'.repeat(64), timeMs: 0 };

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
