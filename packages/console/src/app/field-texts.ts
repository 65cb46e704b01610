import { language } from '../preferences.ts';

/** What the fields of a contact are called, loaded with the pages that show them. */
export const { FIELD_TEXTS: fieldTexts } =
  language === 'de' ? await import('./texts-de-fields.ts') : await import('./texts-en-fields.ts');
