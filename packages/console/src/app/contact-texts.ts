import { language } from '../preferences.ts';

/** What is said about contacts and labels, loaded with the pages that say it. */
export const { CONTACT_TEXTS: contactTexts } =
  language === 'de' ? await import('./texts-de-contacts.ts') : await import('./texts-en-contacts.ts');
