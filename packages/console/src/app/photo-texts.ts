import { language } from '../preferences.ts';

/** What is said about photos, loaded with the dialog that changes them. */
export const { PHOTO_TEXTS: photoTexts } =
  language === 'de' ? await import('./texts-de-photos.ts') : await import('./texts-en-photos.ts');
