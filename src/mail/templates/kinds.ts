/** What mails have in them, written `{{name}}` in templates. */
interface Values {
  /** Eight digits. */
  readonly code: string;
  /** 256 random bits. */
  readonly token: string;
  /** When it happened; of an invitation, until when it is good. Milliseconds since 1970, `{{time}}` in templates. */
  readonly timeMs: number;
  /** The IP address of a sign-in. */
  readonly address: string;
}

/** What mails are about, and what each has in it. Each has a template in each language that Kith comes with. */
const VALUES = {
  login_code: ['code'],
  password_reset: ['code'],
  password_changed: ['timeMs'],
  sign_up: ['code'],
  /** To the address of a user, when somebody tries to sign up with it. */
  sign_up_known: [],
  invitation: ['timeMs'],
  email_verification: ['code'],
  email_change: ['code'],
  email_taken: [],
  email_changed: ['timeMs'],
  email_take_back: ['token', 'timeMs'],
  new_sign_in: ['timeMs', 'address'],
  second_factor_enabled: ['timeMs'],
  second_factor_disabled: ['timeMs'],
  /** By an administrator. */
  second_factor_reset: ['timeMs'],
  recovery_codes_replaced: ['timeMs'],
  api_key_created: ['timeMs'],
} as const satisfies Record<string, readonly (keyof Values)[]>;

export type MailKind = keyof typeof VALUES;

export type MailValues = { readonly [K in MailKind]: Pick<Values, (typeof VALUES)[K][number]> };

export const MAIL_KINDS = Object.keys(VALUES) as readonly MailKind[];

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

/** The names that templates of a kind may have in `{{}}`. */
export function placeholdersOf(kind: MailKind): readonly string[] {
  const values = VALUES[kind].map((name) => (name === 'timeMs' ? 'time' : name));
  return ['service', ...values, ...(PAGES[kind] === undefined ? [] : ['link'])];
}

/** Names of which a template needs one, or a mail of the kind is of no use; none where each is. */
export function requiredOf(kind: MailKind): readonly string[] {
  const secrets: readonly string[] = VALUES[kind].filter((name) => name === 'code' || name === 'token');
  return secrets.length === 0 || PAGES[kind] === undefined ? secrets : [...secrets, 'link'];
}

/** Values of a kind as a preview has them. */
export function exampleValues<K extends MailKind>(kind: K, nowMs: number): MailValues[K] {
  const all: Values = { code: '12345678', token: 'example'.padEnd(64, '0'), timeMs: nowMs, address: '192.0.2.1' };
  return Object.fromEntries(VALUES[kind].map((name) => [name, all[name]])) as unknown as MailValues[K];
}
