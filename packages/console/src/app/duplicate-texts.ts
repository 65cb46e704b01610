import { language } from '../preferences.ts';

/** What is said about duplicates and merges, loaded with the pages that show them. */
export const { DUPLICATE_TEXTS: d } =
  language === 'de' ? await import('./texts-de-duplicates.ts') : await import('./texts-en-duplicates.ts');
