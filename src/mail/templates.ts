import { readFileSync } from 'node:fs';
import { MAIL_LANGUAGES, type MailLanguage } from '../config/config.ts';
import { canonicalTimeZone } from '../kernel/locale.ts';
import { escapeHtml } from '../kernel/text.ts';
import { linkIn } from './links.ts';

/** What mails are about. Each has a template in each language. */
export const MAIL_KINDS = [
  'login_code',
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
  'new_sign_in',
  'second_factor_enabled',
  'second_factor_disabled',
  'second_factor_reset',
  'recovery_codes_replaced',
  'api_key_created',
] as const;
export type MailKind = (typeof MAIL_KINDS)[number];

/** What the templates of a kind have in them, written `{{name}}`. */
export interface MailValues {
  readonly login_code: { readonly code: string };
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
  /** `address`: the IP address of the sign-in. */
  readonly new_sign_in: { readonly timeMs: number; readonly address: string };
  readonly second_factor_enabled: { readonly timeMs: number };
  readonly second_factor_disabled: { readonly timeMs: number };
  /** By an administrator. */
  readonly second_factor_reset: { readonly timeMs: number };
  readonly recovery_codes_replaced: { readonly timeMs: number };
  readonly api_key_created: { readonly timeMs: number };
}

/** To whom a mail is. */
export interface MailRecipient {
  readonly email: string;
  /** A language tag (BCP 47), '' or absent for that of the server. */
  readonly locale?: string;
  /** The name of a time zone (IANA), '' or absent for UTC. */
  readonly timeZone?: string;
}

/** What a person reads. */
export interface MailContent {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** What a mail tells, for who writes it in their own words. */
export interface MailFacts {
  readonly service: string;
  /** The page that the mail leads to, with the code or token in its fragment. */
  readonly link?: string;
  /** Eight digits. */
  readonly code?: string;
  readonly token?: string;
  /** RFC 3339. */
  readonly time?: string;
  /** The IP address of a sign-in. */
  readonly address?: string;
}

/** A mail in the words of a template. */
export interface RenderedMail extends MailContent {
  /** Of the words. */
  readonly language: string;
  readonly facts: MailFacts;
}

export interface MailTemplateOptions {
  /** Of mails to those who have no locale, or one of another language. */
  readonly language: MailLanguage;
  /** What the service is called. */
  readonly service: string;
  /** Where links lead, with a slash at the end; undefined for no links. */
  readonly accountUrl: string | undefined;
}

/**
 * The words of the mails: a file for each kind and language, `LANGUAGE/KIND.txt`. Its first line is `Subject: ...`, the
 * rest are paragraphs with an empty line between them; one with `{{link}}` is left out where there is no link. There is
 * no text in a mail that a user has chosen, such as a name: whoever may choose it would write to others in Kith's name.
 */
export class MailTemplates {
  readonly #language: MailLanguage;
  readonly #service: string;
  readonly #accountUrl: string | undefined;
  readonly #sources: Readonly<Record<MailLanguage, ReadonlyMap<MailKind, string>>>;

  /** Throws Node's error for a file that cannot be read. */
  constructor({ language, service, accountUrl }: MailTemplateOptions) {
    this.#accountUrl = accountUrl;
    this.#language = language;
    this.#service = service;
    this.#sources = { en: readTemplates('en'), de: readTemplates('de') };
  }

  /** The mail in the recipient's language and time zone. */
  render<K extends MailKind>(
    kind: K,
    values: MailValues[K],
    { locale = '', timeZone = '' }: Omit<MailRecipient, 'email'> = {},
  ): RenderedMail {
    const language = MAIL_LANGUAGES.find((each) => each === locale.split('-')[0]) ?? this.#language;
    const link = linkIn(this.#accountUrl, kind, values);
    const facts: MailFacts = {
      service: this.#service,
      ...(link === undefined ? {} : { link }),
      ...('code' in values ? { code: values.code } : {}),
      ...('token' in values ? { token: values.token } : {}),
      ...('timeMs' in values ? { time: new Date(values.timeMs).toISOString() } : {}),
      ...('address' in values ? { address: values.address } : {}),
    };
    const shown: Record<string, string> = {
      ...facts,
      ...('code' in values ? { code: values.code.replace(/^(.{4})(.{4})$/, '$1 $2') } : {}),
      ...('timeMs' in values ? { time: timeText(values.timeMs, language, timeZone) } : {}),
    };
    const source = (this.#sources[language].get(kind) ?? '').trim();
    const [subject = '', ...rest] = source.split('\n');
    const paragraphs = rest
      .join('\n')
      .split(/\n{2,}/)
      .map((paragraph) => paragraph.trim())
      .filter((paragraph) => paragraph !== '' && (link !== undefined || !paragraph.includes('{{link}}')));
    return {
      subject: fill(subject.replace(/^Subject: */, ''), shown),
      text: `${paragraphs.map((paragraph) => fill(paragraph, shown)).join('\n\n')}\n`,
      html: toHtml(paragraphs, shown, language),
      language,
      facts,
    };
  }
}

function readTemplates(language: MailLanguage): ReadonlyMap<MailKind, string> {
  const read = (kind: MailKind) => readFileSync(new URL(`templates/${language}/${kind}.txt`, import.meta.url), 'utf8');
  return new Map(MAIL_KINDS.map((kind) => [kind, read(kind)]));
}

/** With the time zone: who reads it may be anywhere. */
function timeText(ms: number, language: MailLanguage, timeZone: string): string {
  // A zone that was stored may be one that this runtime does not know.
  const known = canonicalTimeZone(timeZone) ?? 'UTC';
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long', timeZone: known }).format(ms);
}

/** Without images and styles of others: it says the same as the text, and nothing is loaded by reading it. */
function toHtml(
  paragraphs: readonly string[],
  shown: Readonly<Record<string, string>>,
  language: MailLanguage,
): string {
  const escaped = Object.fromEntries(
    Object.entries(shown).map(([name, value]) => [
      name,
      name === 'link' ? `<a href="${escapeHtml(value)}">${escapeHtml(value)}</a>` : escapeHtml(value),
    ]),
  );
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
    `<html lang="${language}"><head><meta charset="utf-8">`,
    '<meta name="color-scheme" content="light dark"></head>',
    '<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto; padding: 0 1em">',
    ...body,
    '</body></html>',
    '',
  ].join('\n');
}

function fill(text: string, shown: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => shown[name] ?? '');
}
