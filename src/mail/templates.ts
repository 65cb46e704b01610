import { readFileSync } from 'node:fs';
import type { MailLanguage } from '../config/config.ts';

/** What mails are about. Each has a template in each language. */
export const MAIL_KINDS = [
  'password_reset',
  'password_changed',
  'sign_up',
  'sign_up_known',
  'invitation',
  'email_verification',
  'email_change',
  'email_taken',
  'email_changed',
  'email_take_back',
] as const;
export type MailKind = (typeof MAIL_KINDS)[number];

/** What the templates of a kind have in them, written `{{name}}`. */
export interface MailValues {
  readonly password_reset: { readonly code: string };
  readonly password_changed: { readonly timeMs: number };
  readonly sign_up: { readonly code: string };
  /** To the address of a user, when somebody tries to sign up with it. */
  readonly sign_up_known: object;
  /** `timeMs`: until when it is good. */
  readonly invitation: { readonly timeMs: number };
  readonly email_verification: { readonly code: string };
  readonly email_change: { readonly code: string };
  readonly email_taken: object;
  readonly email_changed: { readonly timeMs: number };
  readonly email_take_back: { readonly token: string; readonly timeMs: number };
}

/** What a person reads. */
export interface MailContent {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/**
 * The words of the mails: a file for each kind and language, `LANGUAGE/KIND.txt`. Its first line is `Subject: ...`, the
 * rest are paragraphs with an empty line between them. There is no text in a mail that a user has chosen, such as a
 * name: whoever may choose it would write to others in Kith's name.
 */
export class MailTemplates {
  readonly #language: MailLanguage;
  readonly #service: string;
  readonly #sources: ReadonlyMap<MailKind, string>;

  /** `service` is what the service is called in mails. Throws Node's error for a file that cannot be read. */
  constructor({ language, service }: { readonly language: MailLanguage; readonly service: string }) {
    this.#language = language;
    this.#service = service;
    this.#sources = new Map(
      MAIL_KINDS.map((kind) => [
        kind,
        readFileSync(new URL(`templates/${language}/${kind}.txt`, import.meta.url), 'utf8'),
      ]),
    );
  }

  render<K extends MailKind>(kind: K, values: MailValues[K]): MailContent {
    const shown: Record<string, string> = {
      service: this.#service,
      ...('code' in values ? { code: values.code.replace(/^(.{4})(.{4})$/, '$1 $2') } : {}),
      ...('token' in values ? { token: values.token } : {}),
      ...('timeMs' in values ? { time: this.#time(values.timeMs) } : {}),
    };
    const source = (this.#sources.get(kind) ?? '').trim();
    const [subject = '', ...rest] = source.split('\n');
    const paragraphs = rest
      .join('\n')
      .split(/\n{2,}/)
      .map((paragraph) => paragraph.trim())
      .filter(Boolean);
    return {
      subject: fill(subject.replace(/^Subject: */, ''), shown),
      text: `${paragraphs.map((paragraph) => fill(paragraph, shown)).join('\n\n')}\n`,
      html: this.#html(paragraphs, shown),
    };
  }

  /** With the difference to UTC: who reads it may be anywhere. */
  #time(ms: number): string {
    return new Intl.DateTimeFormat(this.#language, { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' }).format(
      ms,
    );
  }

  /** Without images, links and styles of others: it says the same as the text, and nothing is loaded by reading it. */
  #html(paragraphs: readonly string[], shown: Readonly<Record<string, string>>): string {
    const escaped = Object.fromEntries(Object.entries(shown).map(([name, value]) => [name, escapeHtml(value)]));
    const body = paragraphs.map((paragraph) => {
      const style =
        paragraph === '{{code}}'
          ? ' style="font-size: 1.8em; letter-spacing: 0.1em; font-family: monospace"'
          : paragraph === '{{token}}'
            ? ' style="font-family: monospace; overflow-wrap: anywhere"'
            : '';
      return `<p${style}>${fill(escapeHtml(paragraph), escaped)}</p>`;
    });
    return [
      '<!doctype html>',
      `<html lang="${this.#language}"><head><meta charset="utf-8">`,
      '<meta name="color-scheme" content="light dark"></head>',
      '<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto; padding: 0 1em">',
      ...body,
      '</body></html>',
      '',
    ].join('\n');
  }
}

function fill(text: string, shown: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => shown[name] ?? '');
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
