import { readFileSync } from 'node:fs';
import { MAIL_KINDS } from './kinds.ts';
import type { TemplateFiles } from './template.ts';

/** The languages that Kith comes with. */
export const BUILT_IN_LANGUAGES = ['en', 'de'] as const;

let files: TemplateFiles | undefined;

/** The templates that Kith comes with. Read when they are first asked for: settings are read by more than servers. */
export function builtInFiles(): TemplateFiles {
  return (files ??= Object.fromEntries(
    BUILT_IN_LANGUAGES.flatMap((language) =>
      MAIL_KINDS.map((kind) => [
        `${language}/${kind}.txt`,
        readFileSync(new URL(`${language}/${kind}.txt`, import.meta.url), 'utf8'),
      ]),
    ),
  ));
}
