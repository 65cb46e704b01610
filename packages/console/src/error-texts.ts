import { language } from './preferences.ts';

/** What is said of errors, in the language of the reader: the other one is not loaded. */
export const { ERROR_TEXTS: errorTexts } =
  language === 'de' ? await import('@kith/client/error-texts/de') : await import('@kith/client/error-texts/en');
