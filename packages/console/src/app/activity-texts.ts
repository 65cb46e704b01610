import { language } from '../preferences.ts';

/** What is said on the overview and about activity, loaded with the pages that say it. */
export const { ACTIVITY_TEXTS: activityTexts } =
  language === 'de' ? await import('./texts-de-activity.ts') : await import('./texts-en-activity.ts');
