import { language } from '../preferences.ts';

/** What is said about users, their sessions and keys, invitations and mails, loaded with the pages that say it. */
export const { USER_TEXTS: userTexts } =
  language === 'de' ? await import('./texts-de-users.ts') : await import('./texts-en-users.ts');
