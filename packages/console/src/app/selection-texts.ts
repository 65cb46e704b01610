import { language } from '../preferences.ts';

/** What is said about what is selected, and about actions on many at once, loaded with the pages that say it. */
export const { SELECTION_TEXTS: selectionTexts } =
  language === 'de' ? await import('./texts-de-selection.ts') : await import('./texts-en-selection.ts');
