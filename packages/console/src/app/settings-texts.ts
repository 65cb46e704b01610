import { language } from '../preferences.ts';

/** What is said on the pages of settings, loaded with them. */
export const { SETTINGS_TEXTS: settingsTexts } =
  language === 'de' ? await import('./texts-de-settings.ts') : await import('./texts-en-settings.ts');
