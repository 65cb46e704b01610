import { language } from '../preferences.ts';

/** What the console says, in the language of the reader: the other one is not loaded. */
export const { TEXTS: t } = language === 'de' ? await import('./texts-de.ts') : await import('./texts-en.ts');
