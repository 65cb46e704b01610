import { readFileSync } from 'node:fs';
import { MAIL_KINDS } from './kinds.ts';
import type { TemplateFiles } from './template.ts';

/** The languages that Kith comes with. */
export const BUILT_IN_LANGUAGES = ['en', 'de'] as const;

/** The templates that Kith comes with. */
export const builtIn: TemplateFiles = Object.fromEntries(
  BUILT_IN_LANGUAGES.flatMap((language) =>
    MAIL_KINDS.map((kind) => [
      `${language}/${kind}.txt`,
      readFileSync(new URL(`${language}/${kind}.txt`, import.meta.url), 'utf8'),
    ]),
  ),
);
