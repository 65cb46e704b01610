import { language } from '../preferences.ts';

/** What is said about earlier versions of contacts, loaded with the dialog that shows them. */
export const { VERSION_TEXTS: versionTexts } =
  language === 'de' ? await import('./texts-de-versions.ts') : await import('./texts-en-versions.ts');
