import { canonicalLocale } from '../../kernel/locale.ts';
import { MAIL_KINDS, type MailKind, placeholdersOf, requiredOf } from './kinds.ts';

/** The words of a mail in one language, with `{{name}}` where a value goes. */
export interface Template {
  readonly subject: string;
  readonly paragraphs: readonly string[];
}

/** Files of templates by their paths, `LANGUAGE/KIND.txt` and `LANGUAGE/KIND.html`. */
export type TemplateFiles = Readonly<Record<string, string>>;

export interface TemplateFile {
  readonly language: string;
  readonly kind: MailKind;
  readonly format: 'txt' | 'html';
}

/** Whether a name is a language tag (BCP 47) in its usual case. Of words with more letters, each would be one. */
export function isLanguage(name: string): boolean {
  return /^[a-z]{2,3}(-|$)/.test(name) && canonicalLocale(name) === name;
}

/** The file of a template by its path; undefined if no kind has this name, or the folder is no language. */
export function fileOf(path: string): TemplateFile | undefined {
  const [, language = '', name = '', format = ''] = /^([^/]+)\/([^/]+)\.(txt|html)$/.exec(path) ?? [];
  const kind = MAIL_KINDS.find((each) => each === name);
  return kind === undefined || !isLanguage(language)
    ? undefined
    : { language, kind, format: format as TemplateFile['format'] };
}

/** The first line is `Subject: ...`, the rest are paragraphs with an empty line between them. */
export function parseTemplate(source: string): Template {
  const [subject = '', ...rest] = source.trim().split(/\r?\n/);
  const paragraphs = rest.join('\n').split(/\n{2,}/);
  return {
    subject: subject.replace(SUBJECT, '').trim(),
    paragraphs: paragraphs.map((paragraph) => paragraph.trim()).filter((paragraph) => paragraph !== ''),
  };
}

const SUBJECT = /^Subject:/;
const SUBJECT_LENGTH = 200;

/**
 * What is wrong with a template, each with its line: names in `{{}}` that mails of the kind do not have, braces that are
 * no name, a first line that is no subject, and if nothing in it can be used, that. `hasLinks`: whether mails have links.
 */
export function problemsOf({ kind, format }: TemplateFile, source: string, hasLinks: boolean): string[] {
  const problems: string[] = [];
  const names = placeholdersOf(kind);
  // A paragraph with {{link}} is left out where there are no links; of HTML nothing can be.
  const allowed = format === 'html' && !hasLinks ? names.filter((name) => name !== 'link') : names;
  for (const { 0: written, 1: name, index } of source.matchAll(/\{\{(?:(\w+)\}\})?/g)) {
    const line = source.slice(0, index).split('\n').length;
    if (name === undefined) problems.push(`line ${line}: ${written} begins no {{name}}`);
    else if (name === 'link' && names.includes(name) && !allowed.includes(name)) {
      problems.push(
        `line ${line}: {{link}}: there are no links in mails, since KITH_ACCOUNT is off and KITH_ACCOUNT_URL not set`,
      );
    } else if (!allowed.includes(name)) {
      const has = allowed.map((each) => `{{${each}}}`).join(', ');
      problems.push(`line ${line}: {{${name}}} is not known in mails of this kind; known are ${has}`);
    }
  }
  if (format === 'txt') {
    const { subject, paragraphs } = parseTemplate(source);
    if (!SUBJECT.test(source.trim()) || subject === '' || subject.length > SUBJECT_LENGTH) {
      problems.push(`line 1: must be "Subject:" and at most ${SUBJECT_LENGTH} characters`);
    }
    if (paragraphs.length === 0) problems.push('line 2: there is no text');
  }
  const required = requiredOf(kind).filter((name) => allowed.includes(name) && (hasLinks || name !== 'link'));
  if (required.length > 0 && !required.some((name) => source.includes(`{{${name}}}`))) {
    problems.push(`line 1: must have ${required.map((name) => `{{${name}}}`).join(' or ')}`);
  }
  return problems;
}
