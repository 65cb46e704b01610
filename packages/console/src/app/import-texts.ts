import { language } from '../preferences.ts';

/** What is said about imports that are taken back, loaded with the page of imports. */
export const { IMPORT_TEXTS: importTexts } =
  language === 'de' ? await import('./texts-de-imports.ts') : await import('./texts-en-imports.ts');
