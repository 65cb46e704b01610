import type { MailKind, MailValues } from './templates.ts';

/** The account pages that mails lead to, by kind: paths below KITH_ACCOUNT_URL. */
const PAGES: Partial<Record<MailKind, string>> = {
  password_reset: 'reset-password',
  password_changed: 'reset-password',
  sign_up: 'sign-up',
  sign_up_known: 'sign-in',
  invitation: 'accept-invitation',
  email_verification: 'verify-email',
  email_change: 'confirm-email',
  email_take_back: 'take-back',
};

/**
 * The link in a mail; undefined where it has none. A code or token is in the fragment, which browsers send neither to the
 * server nor to others as a referrer. There is no address in it: the page asks for that, so that who opens the link alone
 * cannot use what it holds (docs/decisions/account-pages.md).
 */
export function linkIn(
  accountUrl: string | undefined,
  kind: MailKind,
  values: MailValues[MailKind],
): string | undefined {
  const page = PAGES[kind];
  if (accountUrl === undefined || page === undefined) return undefined;
  const secret = 'code' in values ? `#code=${values.code}` : 'token' in values ? `#token=${values.token}` : '';
  return `${accountUrl}${page}${secret}`;
}
