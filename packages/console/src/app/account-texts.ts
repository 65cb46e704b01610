import { language } from '../preferences.ts';

/** What is said on the page of one's own account, loaded with it. */
export const { ACCOUNT_TEXTS: accountTexts } =
  language === 'de' ? await import('./texts-de-account.ts') : await import('./texts-en-account.ts');
