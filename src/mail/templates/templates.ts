import { canonicalTimeZone } from '../../kernel/locale.ts';
import { escapeHtml } from '../../kernel/text.ts';
import { builtInFiles } from './built-in.ts';
import { linkIn, type MailKind, type MailValues } from './kinds.ts';
import { fileOf, parseTemplate, type Template, type TemplateFiles } from './template.ts';

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
  /** Of mails to those who have no locale, or one of a language that there is no template in. */
  readonly language: string;
  /** What the service is called. */
  readonly service: string;
  /** Where links lead, with a slash at the end; undefined for no links. */
  readonly accountUrl: string | undefined;
  /** The operator's own, in place of those that Kith comes with or in other languages. */
  readonly own?: TemplateFiles | undefined;
}

/** The templates of a language: of each kind the text, and the HTML if there is one that is not made of the text. */
type Catalog = Map<MailKind, { text?: Template; html?: string }>;

/**
 * The words of the mails: a file for each kind and language, `LANGUAGE/KIND.txt`. Its first line is `Subject: ...`, the
 * rest are paragraphs with an empty line between them; one with `{{link}}` is left out where there is no link. There is
 * no text in a mail that a user has chosen, such as a name: whoever may choose it would write to others in Kith's name.
 */
export class MailTemplates {
  readonly #language: string;
  readonly #service: string;
  readonly #accountUrl: string | undefined;
  #catalogs: ReadonlyMap<string, Catalog>;

  constructor({ language, service, accountUrl, own = {} }: MailTemplateOptions) {
    this.#accountUrl = accountUrl;
    this.#language = language;
    this.#service = service;
    this.#catalogs = catalogsOf(own);
  }

  /** Goes on with other templates of the operator's. */
  use(own: TemplateFiles): void {
    this.#catalogs = catalogsOf(own);
  }

  /** The languages that there are texts of a kind in, as language tags, sorted. */
  languagesOf(kind: MailKind): string[] {
    return [...this.#catalogs]
      .filter(([, catalog]) => catalog.get(kind)?.text !== undefined)
      .map(([language]) => language)
      .toSorted();
  }

  /** The mail in the recipient's language and time zone. */
  render<K extends MailKind>(
    kind: K,
    given: MailValues[K],
    { locale = '', timeZone = '' }: Omit<MailRecipient, 'email'> = {},
  ): RenderedMail {
    const { language, template, source } = this.#find(kind, locale);
    const values: MailValues[MailKind] = given;
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
    const paragraphs = template.paragraphs.filter((paragraph) => link !== undefined || !paragraph.includes('{{link}}'));
    return {
      subject: fill(template.subject, shown),
      text: `${paragraphs.map((paragraph) => fill(paragraph, shown)).join('\n\n')}\n`,
      html: source === undefined ? toHtml(paragraphs, shown, language) : fill(source, escaped(shown)),
      language,
      facts,
    };
  }

  /** In the language of the recipient, whatever the region, or that of the server, or English, which has every kind. */
  #find(kind: MailKind, locale: string): { language: string; template: Template; source: string | undefined } {
    const parts = locale.split('-');
    const wanted = parts.map((_, i) => parts.slice(0, parts.length - i).join('-'));
    for (const language of [...wanted, this.#language]) {
      const found = this.#catalogs.get(language)?.get(kind);
      if (found?.text !== undefined) return { language, template: found.text, source: found.html };
    }
    const { text, html } = this.#catalogs.get('en')!.get(kind)!;
    return { language: 'en', template: text!, source: html };
  }
}

function catalogsOf(own: TemplateFiles): Map<string, Catalog> {
  const catalogs = new Map<string, Catalog>();
  for (const [path, source] of Object.entries({ ...builtInFiles(), ...own })) {
    const file = fileOf(path);
    if (file === undefined) continue;
    const { language, kind, format } = file;
    const catalog: Catalog = catalogs.get(language) ?? new Map();
    catalogs.set(language, catalog);
    catalog.set(kind, {
      ...catalog.get(kind),
      ...(format === 'txt' ? { text: parseTemplate(source) } : { html: source }),
    });
  }
  return catalogs;
}

/** With the time zone: who reads it may be anywhere. */
function timeText(ms: number, language: string, timeZone: string): string {
  // A zone that was stored may be one that this runtime does not know.
  const known = canonicalTimeZone(timeZone) ?? 'UTC';
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long', timeZone: known }).format(ms);
}

/** Without images and styles of others: it says the same as the text, and nothing is loaded by reading it. */
function toHtml(paragraphs: readonly string[], shown: Readonly<Record<string, string>>, language: string): string {
  const values = escaped(shown);
  const { link } = values;
  const filled = link === undefined ? values : { ...values, link: `<a href="${link}">${link}</a>` };
  const body = paragraphs.map((paragraph) => {
    const style =
      paragraph === '{{code}}'
        ? ' style="font-size: 1.8em; letter-spacing: 0.1em; font-family: monospace"'
        : paragraph === '{{token}}'
          ? ' style="font-family: monospace; overflow-wrap: anywhere"'
          : '';
    return `<p${style}>${fill(escapeHtml(paragraph), filled)}</p>`;
  });
  return [
    '<!doctype html>',
    `<html lang="${language}"><head><meta charset="utf-8">`,
    '<meta name="color-scheme" content="light dark"></head>',
    '<body dir="auto" style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto; padding: 0 1em">',
    ...body,
    '</body></html>',
    '',
  ].join('\n');
}

function escaped(shown: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(shown).map(([name, value]) => [name, escapeHtml(value)]));
}

function fill(text: string, shown: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => shown[name] ?? '');
}
