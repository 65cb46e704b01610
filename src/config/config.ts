import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { createBlockCheck } from '../kernel/address.ts';
import type { DatabaseLimits } from '../storage/dialect.ts';
import { checkDatabaseUrl, DATABASE_URL_FORMS, DatabaseUrlError, shownRefusedUrl } from '../storage/url.ts';
import { canonicalLocale } from '../kernel/locale.ts';
import { BUILT_IN_LANGUAGES } from '../mail/templates/built-in.ts';
import type { TemplateFiles } from '../mail/templates/template.ts';
import { readTemplateFiles, TemplateFilesError } from '../mail/templates/template-files.ts';
import { parseHost, withoutZone } from './host.ts';
import { SECRET_BYTES } from '../kernel/keyring.ts';
import { isCommonPassword } from '../identity/passwords/common-passwords.ts';
import { fileSettingOf, SecretFileError, writtenIn } from './secret-files.ts';
import { isServiceLink } from './service-links.ts';
import { isPercentEncoded, withoutPassword } from '../kernel/text.ts';

/** What the process is started with. See SETTINGS for what each means. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Processes that share the port. */
  readonly workers: number;
  readonly databaseUrl: string;
  readonly databaseLimits: DatabaseLimits;
  readonly adminPassword: string | undefined;
  /** The file that the password was read from, if it was. */
  readonly adminPasswordFile: string | undefined;
  /** 32 bytes, or undefined for the key file beside the database. */
  readonly secretKey: Uint8Array | undefined;
  readonly tls: Tls | undefined;
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenTtlMs: number;
  readonly sessionIdleMs: number;
  readonly sessionMaxMs: number;
  readonly sessionsPerUserMax: number;
  /** How old a sign-in may be for calls that take a fresh one. */
  readonly freshSignInMs: number;
  readonly signingKeyMs: number;
  /** How many sign-ins may fail from one address at once. */
  readonly signInFailuresPerAddress: number;
  /** CIDR blocks of the proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** What mails are sent over and how they are written. */
  readonly mail: {
    /** Without it and a webhook, mails wait in the outbox. */
    readonly smtpUrl: string | undefined;
    readonly webhook: WebhookConfig | undefined;
    readonly from: string;
    /** A language tag (BCP 47). */
    readonly language: string;
    readonly service: string;
  };
  /** Templates of mails in place of those that Kith comes with, or in other languages. */
  readonly mailTemplates: TemplateFiles;
  readonly signUp: SignUpConfig;
  /** Whether users may sign in with codes that are mailed to them. */
  readonly loginCodes: boolean;
  readonly purgeAfterMs: number;
  readonly activityRetentionMs: number;
  /** What a user's contacts may be, in number and in bytes, and how many labels a user may have. */
  readonly contacts: {
    readonly perUserMax: number;
    readonly bytesPerUserMax: number;
    readonly labelsPerUserMax: number;
  };
  readonly corsOrigins: readonly string[];
  readonly reflection: boolean;
  /** The path of the console, with a slash at both ends; undefined for none. */
  readonly consolePath: string | undefined;
  /** The pages on which people sign in, sign up and take care of their account. */
  readonly account: {
    /** With a slash at both ends; undefined for none. */
    readonly path: string | undefined;
    /** Where links in mails lead, with a slash at the end; undefined for no links. */
    readonly url: string | undefined;
    /** A path on this host, or a URL. */
    readonly logoUrl: string | undefined;
    /** `#rrggbb`, in lower case. */
    readonly color: string | undefined;
    /** Where people go on once they have signed in: a path on this host, or a URL. */
    readonly homeUrl: string | undefined;
  };
  /** Whether calls are served on the fast path, where it can. */
  readonly fastPath: boolean;
  readonly messageBytesMax: number;
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** Streams of one user with all API keys, and of all users, in each process. */
  readonly watchesPerCallerMax: number;
  readonly watchesMax: number;
  readonly requestTimeoutMs: number;
  readonly metricsHost: string;
  /** Of the first process, or the only one; undefined for no metrics. */
  readonly metricsPort: number | undefined;
  readonly shutdownDelayMs: number;
  readonly shutdownTimeoutMs: number;
  readonly logLevel: LogLevel;
  /** One in this many successful calls is logged. */
  readonly logOneIn: number;
  /** All settings, as operators may see them. */
  readonly settings: readonly ShownSetting[];
}

/** What a server takes over while it runs; everything else takes a start. */
export type Reloadable = Pick<Config, 'tls' | 'logLevel' | 'mailTemplates' | 'settings'>;

/** PEM. */
export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Who may become a user without an administrator. */
const SIGN_UP_POLICIES = ['closed', 'invitation', 'open'] as const;

export interface SignUpConfig {
  /** Nobody, who is invited, or everybody. */
  readonly policy: (typeof SIGN_UP_POLICIES)[number];
  /** The domains of email addresses that may, in lower case; none for every one. */
  readonly domains: readonly string[];
}

/** The service that is sent mails in place of a mail server. */
export interface WebhookConfig {
  readonly url: string;
  /** The keys that requests are signed with. */
  readonly secrets: readonly Uint8Array[];
}

/** Settings that cannot be used; the message names each variable, its value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** One setting: an environment variable. */
interface Setting<T> {
  readonly help: string;
  /** As it would be written; undefined for none. */
  readonly fallback?: string;
  /** What may be written, for errors and help. */
  readonly allowed: string;
  /** Never shown in errors. */
  readonly secret?: boolean;
  /** Whether the value is a secret or has one in it: it can be read from a file that NAME_FILE names. */
  readonly fromFile?: boolean;
  /** The value as errors may show it; by default as it is. */
  readonly shown?: (text: string) => string;
  /** The value, or undefined when the text is not allowed; throws DatabaseUrlError to say why it is not. */
  readonly parse: (text: string) => T | undefined;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** How long a secret of a webhook is (Standard Webhooks 1.0, signature scheme). */
const WEBHOOK_SECRET_BYTES = { min: 24, max: 64 };

/** Every setting, in the order of the help. */
export const SETTINGS = {
  KITH_HOST: {
    help: 'The address to listen on; 0.0.0.0 or :: listens on all.',
    fallback: '127.0.0.1',
    allowed: 'an IP address or host name, without scheme and port',
    parse: parseHost,
  },
  KITH_PORT: wholeNumber('The port to listen on, for every protocol; 0 chooses a free one.', '8080', 0, 65_535),
  KITH_WORKERS: wholeNumber('The number of processes that share the port. More than one needs PostgreSQL.', '1', 1, 64),
  KITH_DATABASE_URL: {
    help: 'The database that stores the data.',
    fallback: 'sqlite:./data/kith.db',
    allowed: DATABASE_URL_FORMS,
    fromFile: true,
    shown: shownRefusedUrl,
    parse: checkDatabaseUrl,
  },
  KITH_DATABASE_CONNECTIONS: wholeNumber('PostgreSQL: the number of connections of each process.', '10', 2, 1000),
  KITH_DATABASE_WAIT_MS: wholeNumber(
    'PostgreSQL: how long a call waits for a connection before it is refused.',
    '2000',
    10,
    60_000,
  ),
  KITH_DATABASE_STATEMENT_MS: wholeNumber(
    'PostgreSQL: how long one statement may run before it is canceled.',
    '10000',
    100,
    600_000,
  ),
  KITH_DATABASE_IDLE_MS: wholeNumber(
    'PostgreSQL: how long a transaction may be idle before it is rolled back.',
    '10000',
    100,
    600_000,
  ),
  KITH_ADMIN_PASSWORD: {
    help: 'The password of the administrator that the first start creates. Absent: generated, and printed once.',
    allowed: '8 to 128 characters, not admin@localhost and no common password',
    secret: true,
    fromFile: true,
    parse: (value) =>
      /^(?!admin@localhost$)\P{Cc}{8,128}$/iu.test(value) && !isCommonPassword(value) ? value : undefined,
  },
  KITH_SECRET_KEY: {
    help: 'Encrypts the signing keys and authenticates refresh tokens. Absent: a key in a file beside the database, created by the first start.',
    allowed: `${SECRET_BYTES} random bytes in base64, e.g. from: openssl rand -base64 ${SECRET_BYTES}`,
    secret: true,
    fromFile: true,
    parse: parseSecretKey,
  },
  KITH_TLS_CERT: pem('The certificate chain, to serve TLS. Needs KITH_TLS_KEY.', 'a certificate chain', (cert) =>
    createSecureContext({ cert }),
  ),
  KITH_TLS_KEY: pem('The private key. Needs KITH_TLS_CERT.', 'a private key without a passphrase', createPrivateKey),
  KITH_ISSUER: {
    help: 'The iss claim of access tokens: the URL by which callers know this service. Absent: made of host and port.',
    // Tokens above 4,096 characters are refused: see readAccessToken.
    allowed: 'an http or https URL of at most 1,000 characters',
    parse: (value) =>
      value.length <= 1000 && /^https?:\/\/[^\s/]+\S*$/.test(value) && URL.canParse(value) ? value : undefined,
  },
  KITH_AUDIENCE: {
    help: 'The aud claim of access tokens.',
    fallback: 'kith',
    allowed: 'a name of at most 200 characters, without blanks',
    parse: (value) => (/^\S{1,200}$/.test(value) ? value : undefined),
  },
  KITH_ACCESS_TOKEN_SECONDS: wholeNumber('How long an access token is valid.', '300', 10, 3600),
  KITH_SESSION_IDLE_DAYS: wholeNumber('How long a session lasts if it is not refreshed.', '30', 1, 3650),
  KITH_SESSION_MAX_DAYS: wholeNumber('How long a session lasts at most, refreshed or not.', '90', 1, 3650),
  KITH_SESSIONS_PER_USER: wholeNumber(
    'How many sessions a user may have. If a sign-in exceeds it, the oldest session ends.',
    '50',
    1,
    1000,
  ),
  KITH_FRESH_SIGN_IN_SECONDS: wholeNumber(
    'How old a sign-in may be to change a password or second factor, or to create an API key.',
    '900',
    30,
    86_400,
  ),
  KITH_SIGNING_KEY_DAYS: wholeNumber('How long a key signs access tokens before the next one does.', '30', 1, 365),
  KITH_SIGN_IN_FAILURES_PER_ADDRESS: wholeNumber(
    'How many sign-ins may fail from one address (IPv6: /64) in a burst. After that, one may fail every 10 s.',
    '30',
    5,
    1_000_000,
  ),
  KITH_TRUSTED_PROXIES: {
    help: 'The reverse proxies whose X-Forwarded-For header is trusted, from right to left. Absent: none.',
    fallback: '',
    allowed: 'IP addresses or CIDR blocks separated by commas, e.g. 10.0.0.0/8',
    parse: parseBlocks,
  },
  KITH_SMTP_URL: {
    help: 'The mail server that sends mails to users, such as codes to set a new password. Without it and KITH_MAIL_WEBHOOK_URL, mails wait in the outbox.',
    allowed: 'smtp://HOST:PORT or smtps://HOST:PORT, with USER:PASSWORD@ before the host if the server needs them',
    secret: true,
    fromFile: true,
    parse: parseSmtpUrl,
  },
  KITH_MAIL_WEBHOOK_URL: {
    help: 'A service of yours that is sent the mails in place of a mail server, by POST, and mails them itself. Needs KITH_MAIL_WEBHOOK_SECRET.',
    allowed: 'an http or https URL without a user or fragment, e.g. https://mailer.example.org/kith',
    secret: true,
    fromFile: true,
    parse: parseWebhookUrl,
  },
  KITH_MAIL_WEBHOOK_SECRET: {
    help: 'Signs what is sent there, as Standard Webhooks says. Two while one takes the place of the other: each request has the signatures of both.',
    allowed: `whsec_ and ${WEBHOOK_SECRET_BYTES.min} to ${WEBHOOK_SECRET_BYTES.max} random bytes in base64, e.g. from: echo whsec_$(openssl rand -base64 32), or two of these with a blank between`,
    secret: true,
    fromFile: true,
    parse: parseWebhookSecrets,
  },
  KITH_MAIL_FROM: {
    help: 'The sender of mails. Absent: no-reply at the host of KITH_ISSUER.',
    allowed: 'an email address, or a name and an address: Example <accounts@example.org>',
    parse: (value) => (/^([^<>"@]{1,100} <[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$/u.test(value) ? value : undefined),
  },
  KITH_MAIL_LANGUAGE: {
    help: 'The language of mails to users who have no locale, or one in which there are no templates.',
    fallback: 'en',
    allowed: `${BUILT_IN_LANGUAGES.join(', ')}, or a language in KITH_MAIL_TEMPLATES`,
    parse: (value) => (canonicalLocale(value) === value ? value : undefined),
  },
  KITH_MAIL_TEMPLATES: {
    help: 'A directory with texts of mails in place of those that Kith comes with, or in other languages. Absent: none.',
    allowed: 'the path of a directory with files such as de/password_reset.txt, as docs/mail.md describes them',
    parse: (value) => value,
  },
  KITH_SERVICE_NAME: {
    help: 'What users know the service as; mails and the account pages say it.',
    fallback: 'Kith',
    allowed: 'a name of at most 100 characters',
    parse: (value) => (value.length <= 100 ? value : undefined),
  },
  KITH_SIGN_UP: {
    help: 'Who becomes a user without an administrator, with a code that is mailed: nobody, who was invited, or everybody.',
    fallback: 'closed',
    allowed: SIGN_UP_POLICIES.join(', '),
    parse: (value) => SIGN_UP_POLICIES.find((policy) => policy === value),
  },
  KITH_SIGN_UP_DOMAINS: {
    help: 'The domains of email addresses that may sign up or be invited. Absent: every one.',
    allowed: 'domains, separated by commas: example.org,example.com',
    parse: parseDomains,
  },
  KITH_LOGIN_CODES: {
    help: 'Let users sign in with a code that is mailed to their verified address, in place of the password.',
    fallback: 'false',
    allowed: 'true or false',
    parse: parseFlag,
  },
  KITH_PURGE_AFTER_DAYS: wholeNumber('How long a deletion can be undone.', '30', 1, 3650),
  KITH_ACTIVITY_DAYS: wholeNumber('How long activity is kept.', '90', 1, 3650),
  KITH_CONTACTS_PER_USER: wholeNumber(
    'How many contacts a user may have, deleted ones included.',
    '25000',
    1,
    1_000_000,
  ),
  KITH_CONTACT_BYTES_PER_USER: wholeNumber(
    'How many bytes the contacts of a user may take in the database, search terms and photos included.',
    '134217728',
    1_048_576,
    1_099_511_627_776,
  ),
  KITH_LABELS_PER_USER: wholeNumber(
    'How many labels for contacts a user may have, deleted ones included.',
    '500',
    1,
    10_000,
  ),
  KITH_CORS_ORIGINS: {
    help: 'The origins whose pages may call from a browser. Absent: none.',
    fallback: '',
    allowed: 'origins separated by commas, e.g. https://app.example.org',
    parse: parseOrigins,
  },
  KITH_REFLECTION: {
    help: 'Serve the contract to tools: gRPC server reflection, one file at `/contract.binpb`, OpenAPI at `/openapi.json`, what to do about each error at `/errors`.',
    fallback: 'true',
    allowed: 'true or false',
    parse: parseFlag,
  },
  KITH_CONSOLE: {
    help: 'The path of the console, the pages for people; off serves none.',
    fallback: '/console/',
    allowed: 'off, or a path of lower-case letters, digits and hyphens, e.g. /console/',
    parse: parsePagesPath,
  },
  KITH_ACCOUNT: {
    help: 'The path of the account pages, where people sign in, sign up, set a password and confirm an address; off serves none.',
    fallback: '/account/',
    allowed: 'off, or a path of lower-case letters, digits and hyphens, e.g. /account/',
    parse: parsePagesPath,
  },
  KITH_ACCOUNT_URL: {
    help: 'Where links in mails lead: the URL of the account pages, or of pages of your own in their place. Absent: KITH_ACCOUNT at the host of KITH_ISSUER.',
    allowed: 'an http or https URL without a user, query or fragment, e.g. https://example.org/account/',
    parse: parseAccountUrl,
  },
  KITH_ACCOUNT_HOME_URL: {
    help: 'Where the account pages lead people who have signed in. Absent: the console.',
    allowed: 'a path such as /app/, or an http or https URL',
    parse: parseLink,
  },
  KITH_ACCOUNT_LOGO_URL: {
    help: 'The logo on the account pages. Absent: that of Kith.',
    allowed: 'a path such as /logo.svg, or an http or https URL, of letters, digits and the signs _ . ~ % / -',
    parse: (value) => (/^(https?:\/\/[a-z\d.:-]+)?\/[\w.~%/-]{0,500}$/i.test(value) ? parseLink(value) : undefined),
  },
  KITH_ACCOUNT_COLOR: {
    help: 'The color of buttons and links on the account pages.',
    allowed: 'a color as #rrggbb, e.g. #4338ca',
    parse: (value) => (/^#[\da-f]{6}$/i.test(value) ? value.toLowerCase() : undefined),
  },
  KITH_FAST_PATH: {
    help: 'Serve calls on the fast path if possible. If false, Connect serves every call, several times slower.',
    fallback: 'true',
    allowed: 'true or false',
    parse: parseFlag,
  },
  KITH_MESSAGE_BYTES: wholeNumber(
    'The largest request message, unpacked. Methods that need less read less: those that anybody may call 64 KiB, questions of reflection 4 KiB.',
    '1048576',
    65_536,
    67_108_864,
  ),
  KITH_CONNECTIONS: wholeNumber('How many connections may be open.', '10000', 10, 1_000_000),
  KITH_CONNECTIONS_PER_ADDRESS: wholeNumber(
    'How many connections may be open from one address (IPv6: /64) that is not a trusted proxy.',
    '5000',
    1,
    1_000_000,
  ),
  KITH_WATCHES_PER_CALLER: wholeNumber(
    'How many watches, and streams that record, a user may have open in each process, API keys included.',
    '100',
    1,
    100_000,
  ),
  KITH_WATCHES: wholeNumber(
    'How many watches, and streams that record, of all users may be open in each process.',
    '2000',
    1,
    1_000_000,
  ),
  KITH_REQUEST_SECONDS: wholeNumber('How long a request may take to arrive.', '60', 1, 3600),
  KITH_SHUTDOWN_DELAY_SECONDS: wholeNumber(
    'How long the server, not ready, goes on serving after SIGTERM, so that load balancers notice.',
    '0',
    0,
    300,
  ),
  KITH_SHUTDOWN_SECONDS: wholeNumber('How long running calls may take after that delay.', '10', 0, 300),
  KITH_METRICS_HOST: {
    help: 'The address to serve metrics on. Anybody who can connect can read them.',
    fallback: '127.0.0.1',
    allowed: 'an IP address or host name, without scheme and port',
    parse: parseHost,
  },
  KITH_METRICS_PORT: wholeNumber(
    'The port to serve metrics for Prometheus on, at /metrics; 0 serves none. With several workers, each takes the next port.',
    '0',
    0,
    65_535,
  ),
  KITH_LOG_LEVEL: {
    help: 'The lowest level that is logged.',
    fallback: 'info',
    allowed: LOG_LEVELS.join(', '),
    parse: (value) => LOG_LEVELS.find((level) => level === value),
  },
  KITH_LOG_ONE_IN: wholeNumber('Log one in N successful calls. Failures are always logged.', '1', 1, 1_000_000),
} satisfies Record<string, Setting<unknown>>;

export type Env = Readonly<Record<string, string | undefined>>;
type Name = keyof typeof SETTINGS;

/** The sections of the list of settings, in its order, each with the setting that it begins with. */
const SECTIONS = {
  server: 'KITH_HOST',
  database: 'KITH_DATABASE_URL',
  secrets: 'KITH_ADMIN_PASSWORD',
  signIn: 'KITH_ISSUER',
  mail: 'KITH_SMTP_URL',
  signUp: 'KITH_SIGN_UP',
  data: 'KITH_PURGE_AFTER_DAYS',
  pages: 'KITH_CORS_ORIGINS',
  limits: 'KITH_FAST_PATH',
  stopping: 'KITH_SHUTDOWN_DELAY_SECONDS',
  logs: 'KITH_METRICS_HOST',
} as const satisfies Record<string, Name>;
export type SettingSection = keyof typeof SECTIONS;

/** The headings of the sections. */
export const SECTION_TITLES = {
  server: 'Address and processes',
  database: 'Database',
  secrets: 'Secrets and TLS',
  signIn: 'Sign-in, sessions and tokens',
  mail: 'Mails',
  signUp: 'Sign-up',
  data: 'What is kept',
  pages: 'Browsers, tools and pages',
  limits: 'Calls and connections',
  stopping: 'Stopping',
  logs: 'Metrics and logs',
} satisfies Record<SettingSection, string>;

interface SectionedSetting {
  readonly name: Name;
  readonly section: SettingSection;
  readonly setting: Setting<unknown>;
}

/** Every setting with its section, in the order of the help. */
export function* sectionedSettings(): Generator<SectionedSetting> {
  let section: SettingSection = 'server';
  for (const [name, setting] of Object.entries(SETTINGS) as [Name, Setting<unknown>][]) {
    section = (Object.keys(SECTIONS) as SettingSection[]).find((each) => SECTIONS[each] === name) ?? section;
    yield { name, section, setting };
  }
}
type Value<N extends Name> = (typeof SETTINGS)[N] extends Setting<infer T> ? T : never;

/** A setting that was written, and where. */
interface Written {
  readonly text: string;
  /** The path of the file that it was read from. */
  readonly file: string | undefined;
  /** Whether it is the default, which nobody wrote. */
  readonly isFallback: boolean;
}

/** What no value holds: a line break that came along, or a text in another encoding, is a mistake. */
const CONTROL_CHARACTERS = /[\p{Cc}\u2028\u2029\uFFFD]/u;

/**
 * Reads the settings from environment variables. An empty variable counts as absent;
 * blanks and line breaks around a value do not count. Secrets may be in files instead,
 * which are read. Variables that Kubernetes and Docker make are passed over. Throws
 * ConfigError for values that are not allowed and for other unknown names that begin
 * with KITH_.
 *
 * @param given the variables of the environment alone, where `env` has those of a file .env too
 */
export function parseConfig(env: Env, given: Env = env): Config {
  const problems = unknownNames(env);
  const found = new Map<Name, Written | undefined>();
  const find = (name: Name, setting: Setting<unknown>): Written | undefined => {
    const inFile = setting.fromFile ? env[fileSettingOf(name)] : undefined;
    if (env[name] && inFile) {
      problems.push(`${name}: is set, and so is ${fileSettingOf(name)}: set one of them`);
      return undefined;
    }
    if (inFile) return { text: writtenIn(name, inFile), file: inFile.trim(), isFallback: false };
    const text = isServiceLink(name, env[name] ?? '') ? '' : env[name];
    if (text) return { text, file: undefined, isFallback: false };
    return setting.fallback === undefined ? undefined : { text: setting.fallback, file: undefined, isFallback: true };
  };
  const read = <N extends Name>(name: N): Value<N> | undefined => {
    const setting: Setting<unknown> = SETTINGS[name];
    let written: Written | undefined;
    let why = `it must be ${setting.allowed}`;
    try {
      written = find(name, setting);
      found.set(name, written);
      if (written === undefined) return undefined;
      const text = written.text.trim();
      if (CONTROL_CHARACTERS.test(text)) why += ', without control characters';
      else {
        const value = setting.parse(text);
        if (value !== undefined) return value as Value<N>;
      }
    } catch (error) {
      if (error instanceof SecretFileError) {
        problems.push(error.message);
        return undefined;
      }
      if (!(error instanceof DatabaseUrlError)) throw error;
      why = error.message;
    }
    problems.push(`${name}: ${shownIn(name, setting, written)} is not allowed; ${why}`);
    return undefined;
  };
  const port = read('KITH_PORT') ?? 0;
  const host = read('KITH_HOST') ?? '';
  const tls = pairTls(env, read('KITH_TLS_CERT'), read('KITH_TLS_KEY'), problems);
  const issuer = read('KITH_ISSUER') ?? addressOf({ host: withoutZone(host), port, tls });
  const consolePath = read('KITH_CONSOLE') || undefined;
  const accountPath = read('KITH_ACCOUNT') || undefined;
  const accountUrl =
    read('KITH_ACCOUNT_URL') ??
    (accountPath === undefined || !URL.canParse(issuer) ? undefined : new URL(accountPath, issuer).href);
  const mailTemplates = templatesIn(read('KITH_MAIL_TEMPLATES'), accountUrl !== undefined, problems);
  const config: Config = {
    host,
    port,
    workers: read('KITH_WORKERS') ?? 1,
    databaseUrl: read('KITH_DATABASE_URL') ?? '',
    databaseLimits: {
      connectionsMax: read('KITH_DATABASE_CONNECTIONS') ?? 0,
      connectTimeoutMs: read('KITH_DATABASE_WAIT_MS') ?? 0,
      statementTimeoutMs: read('KITH_DATABASE_STATEMENT_MS') ?? 0,
      idleTransactionTimeoutMs: read('KITH_DATABASE_IDLE_MS') ?? 0,
    },
    adminPassword: read('KITH_ADMIN_PASSWORD'),
    adminPasswordFile: env[fileSettingOf('KITH_ADMIN_PASSWORD')]?.trim() || undefined,
    secretKey: read('KITH_SECRET_KEY'),
    tls,
    issuer,
    audience: read('KITH_AUDIENCE') ?? '',
    accessTokenTtlMs: (read('KITH_ACCESS_TOKEN_SECONDS') ?? 0) * 1000,
    sessionIdleMs: (read('KITH_SESSION_IDLE_DAYS') ?? 0) * DAY_MS,
    sessionMaxMs: (read('KITH_SESSION_MAX_DAYS') ?? 0) * DAY_MS,
    sessionsPerUserMax: read('KITH_SESSIONS_PER_USER') ?? 0,
    freshSignInMs: (read('KITH_FRESH_SIGN_IN_SECONDS') ?? 0) * 1000,
    signingKeyMs: (read('KITH_SIGNING_KEY_DAYS') ?? 0) * DAY_MS,
    signInFailuresPerAddress: read('KITH_SIGN_IN_FAILURES_PER_ADDRESS') ?? 0,
    trustedProxies: read('KITH_TRUSTED_PROXIES') ?? [],
    mail: {
      smtpUrl: read('KITH_SMTP_URL'),
      webhook: pairWebhook(env, read('KITH_MAIL_WEBHOOK_URL'), read('KITH_MAIL_WEBHOOK_SECRET'), problems),
      from: read('KITH_MAIL_FROM') ?? `no-reply@${hostOf(issuer)}`,
      language: read('KITH_MAIL_LANGUAGE') ?? 'en',
      service: read('KITH_SERVICE_NAME') ?? '',
    },
    mailTemplates: mailTemplates ?? {},
    loginCodes: read('KITH_LOGIN_CODES') ?? false,
    signUp: { policy: read('KITH_SIGN_UP') ?? 'closed', domains: read('KITH_SIGN_UP_DOMAINS') ?? [] },
    purgeAfterMs: (read('KITH_PURGE_AFTER_DAYS') ?? 0) * DAY_MS,
    activityRetentionMs: (read('KITH_ACTIVITY_DAYS') ?? 0) * DAY_MS,
    contacts: {
      perUserMax: read('KITH_CONTACTS_PER_USER') ?? 0,
      bytesPerUserMax: read('KITH_CONTACT_BYTES_PER_USER') ?? 0,
      labelsPerUserMax: read('KITH_LABELS_PER_USER') ?? 0,
    },
    corsOrigins: read('KITH_CORS_ORIGINS') ?? [],
    reflection: read('KITH_REFLECTION') ?? false,
    consolePath,
    account: {
      path: accountPath,
      url: accountUrl,
      logoUrl: read('KITH_ACCOUNT_LOGO_URL'),
      color: read('KITH_ACCOUNT_COLOR'),
      homeUrl: read('KITH_ACCOUNT_HOME_URL') ?? consolePath,
    },
    fastPath: read('KITH_FAST_PATH') ?? true,
    messageBytesMax: read('KITH_MESSAGE_BYTES') ?? 0,
    connectionsMax: read('KITH_CONNECTIONS') ?? 0,
    connectionsPerAddressMax: read('KITH_CONNECTIONS_PER_ADDRESS') ?? 0,
    watchesPerCallerMax: read('KITH_WATCHES_PER_CALLER') ?? 0,
    watchesMax: read('KITH_WATCHES') ?? 0,
    requestTimeoutMs: (read('KITH_REQUEST_SECONDS') ?? 0) * 1000,
    metricsHost: read('KITH_METRICS_HOST') ?? '',
    metricsPort: read('KITH_METRICS_PORT') || undefined,
    shutdownDelayMs: (read('KITH_SHUTDOWN_DELAY_SECONDS') ?? 0) * 1000,
    shutdownTimeoutMs: (read('KITH_SHUTDOWN_SECONDS') ?? 0) * 1000,
    logLevel: read('KITH_LOG_LEVEL') ?? 'info',
    logOneIn: read('KITH_LOG_ONE_IN') ?? 1,
    settings: shownSettings(found, env, given),
  };
  if (isWritten(env, 'KITH_MAIL_WEBHOOK_URL') && isWritten(env, 'KITH_SMTP_URL')) {
    problems.push('KITH_MAIL_WEBHOOK_URL: is set, and so is KITH_SMTP_URL: set one of them');
  }
  const languages = [...BUILT_IN_LANGUAGES, ...Object.keys(config.mailTemplates).map((path) => path.split('/')[0])];
  if (mailTemplates !== undefined && !languages.includes(config.mail.language)) {
    problems.push(
      `KITH_MAIL_LANGUAGE: ${JSON.stringify(config.mail.language)} is not allowed; it must be ${SETTINGS.KITH_MAIL_LANGUAGE.allowed}`,
    );
  }
  if (config.workers > 1 && config.databaseUrl.startsWith('sqlite:')) {
    problems.push(
      'KITH_WORKERS: one process serves a SQLite file; set it to 1, or KITH_DATABASE_URL to postgres://...',
    );
  }
  if (
    accountPath !== undefined &&
    (consolePath?.startsWith(accountPath) || accountPath.startsWith(consolePath ?? ' '))
  ) {
    problems.push(
      'KITH_ACCOUNT: must be a path beside that of KITH_CONSOLE, not the same and not below it or above it',
    );
  }
  if (config.metricsPort !== undefined && config.metricsPort + config.workers - 1 > 65_535) {
    problems.push('KITH_METRICS_PORT: is too high for as many workers as KITH_WORKERS says, which take one port each');
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return config;
}

/** A setting as operators may see it: nothing of a secret is in it. */
export interface ShownSetting {
  readonly name: string;
  readonly section: SettingSection;
  readonly help: string;
  readonly allowed: string;
  readonly isSecret: boolean;
  /** `dotEnv`: a file .env, `file`: the one that NAME_FILE names. */
  readonly source: 'default' | 'environment' | 'dotEnv' | 'file';
  /** Of the file that NAME_FILE names; empty for none. */
  readonly filePath: string;
  /** As it was written, without what may be a password; empty for none and for secrets. */
  readonly value: string;
  readonly defaultValue: string;
}

function shownSettings(found: ReadonlyMap<Name, Written | undefined>, env: Env, given: Env): ShownSetting[] {
  return [...sectionedSettings()].map(({ name, section, setting }) => {
    const { help, allowed, secret: isSecret = false, fallback: defaultValue = '' } = setting;
    const written = found.get(name);
    const value = isSecret ? '' : withoutCredentials(written?.text.trim() ?? '');
    const source =
      written === undefined || written.isFallback
        ? 'default'
        : written.file !== undefined
          ? 'file'
          : given[name] === env[name]
            ? 'environment'
            : 'dotEnv';
    return { name, section, help, allowed, isSecret, source, filePath: written?.file ?? '', value, defaultValue };
  });
}

/**
 * A value without what may be a password: of the URL of a PostgreSQL database what names the database, since there
 * are several places for passwords; of other URLs all but the user and the password.
 */
function withoutCredentials(value: string): string {
  if (!/^postgres(ql)?:/.test(value)) return withoutPassword(value.replace(/(:[/\\]{2,})[^/?#\\]*@/, '$1...@'));
  const [, scheme = '', host = '', path = ''] = /^(\w+:\/\/)(?:[^/?]*@)?([^/?]*)([^?]*)/.exec(value) ?? [];
  return scheme + host + path;
}

/**
 * The address to reach a server at, as a URL without a path. Every address listens on
 * localhost too. A zone is written as in RFC 6874, which curl reads and `URL` does not.
 */
export function addressOf({ host, port, tls }: Pick<Config, 'host' | 'port' | 'tls'>): string {
  const name = host === '0.0.0.0' || host === '::' || host === '127.0.0.1' ? 'localhost' : host;
  const written = name.includes(':') ? `[${name.replace('%', '%25')}]` : name;
  return `${tls ? 'https' : 'http'}://${written}:${port}`;
}

/** The settings as a text for people. */
export function describeSettings(): string {
  return [...Map.groupBy(sectionedSettings(), ({ section }) => section)]
    .map(([section, settings]) => [`${SECTION_TITLES[section]}:`, ...settings.map(describeSetting)].join('\n'))
    .join('\n\n');
}

function describeSetting({ name, setting: { help, fallback, allowed, fromFile } }: SectionedSetting): string {
  const or = fallback === undefined || fallback === '' ? '' : ` (${fallback})`;
  const file = fromFile ? `, or ${fileSettingOf(name)}, the path of a file that holds it` : '';
  return `  ${name}${or}${file}\n      ${help}\n      ${allowed}`;
}

/** Every name of a setting, those of files with secrets among them. */
function settingNames(): string[] {
  return (Object.entries(SETTINGS) as [Name, Setting<unknown>][]).flatMap(([name, { fromFile }]) =>
    fromFile ? [name, fileSettingOf(name)] : [name],
  );
}

/** The variables that Kubernetes or Docker made, which are passed over. */
export function serviceLinksOf(env: Env): string[] {
  return Object.keys(env).filter((name) => isServiceLink(name, env[name] ?? ''));
}

/** What the command line reads where it calls a server, so that a shell may have it while it starts one. */
const CLIENT_VARIABLES = ['KITH_URL', 'KITH_PROFILE', 'KITH_API_KEY', 'KITH_API_KEY_FILE'];

function unknownNames(env: Env): string[] {
  const known = new Set([...settingNames(), ...CLIENT_VARIABLES]);
  return Object.keys(env)
    .filter((name) => name.startsWith('KITH_') && !known.has(name) && !isServiceLink(name, env[name] ?? ''))
    .map((name) => `${name}: there is no such setting; npm start -- --help lists them`);
}

function shownIn(
  name: Name,
  { secret, shown = withoutPassword }: Setting<unknown>,
  written: Written | undefined,
): string {
  if (written?.file !== undefined) return `the content of ${JSON.stringify(written.file)} in ${fileSettingOf(name)}`;
  return secret || written === undefined ? 'the value' : JSON.stringify(shown(written.text));
}

function pairTls(env: Env, cert: Buffer | undefined, key: Buffer | undefined, problems: string[]): Tls | undefined {
  for (const [name, other] of [
    ['KITH_TLS_CERT', 'KITH_TLS_KEY'],
    ['KITH_TLS_KEY', 'KITH_TLS_CERT'],
  ] as const) {
    if (env[name]?.trim() && !env[other]?.trim())
      problems.push(`${other}: must be set as well as ${name}, to serve TLS`);
  }
  if (cert === undefined || key === undefined) return undefined;
  try {
    createSecureContext({ cert, key });
    return { cert, key };
  } catch {
    const shown = JSON.stringify(env['KITH_TLS_KEY']);
    problems.push(
      `KITH_TLS_KEY: ${shown} is not allowed; it must be the private key of the certificate in KITH_TLS_CERT`,
    );
    return undefined;
  }
}

/** Undefined for those that cannot be used. */
function templatesIn(directory: string | undefined, hasLinks: boolean, problems: string[]): TemplateFiles | undefined {
  if (directory === undefined) return {};
  try {
    return readTemplateFiles(directory, hasLinks);
  } catch (error) {
    if (!(error instanceof TemplateFilesError)) throw error;
    problems.push(...error.message.split('\n').map((line) => `KITH_MAIL_TEMPLATES: ${line}`));
    return undefined;
  }
}

/** Whether a setting is written, in whichever of its two forms. */
function isWritten(env: Env, name: Name): boolean {
  return Boolean(env[name]?.trim() || env[fileSettingOf(name)]?.trim());
}

function pairWebhook(
  env: Env,
  url: string | undefined,
  secrets: readonly Uint8Array[] | undefined,
  problems: string[],
): WebhookConfig | undefined {
  for (const [name, other] of [
    ['KITH_MAIL_WEBHOOK_URL', 'KITH_MAIL_WEBHOOK_SECRET'],
    ['KITH_MAIL_WEBHOOK_SECRET', 'KITH_MAIL_WEBHOOK_URL'],
  ] as const) {
    if (isWritten(env, name) && !isWritten(env, other)) problems.push(`${other}: must be set as well as ${name}`);
  }
  return url === undefined || secrets === undefined ? undefined : { url, secrets };
}

function wholeNumber(help: string, fallback: string, min: number, max: number): Setting<number> {
  return {
    help,
    fallback,
    allowed: `a whole number from ${min} to ${max}`,
    parse(value) {
      const number = Number(value);
      return /^\d+$/.test(value) && number >= min && number <= max ? number : undefined;
    },
  };
}

/** `check` throws for what is not `what`. */
function pem(help: string, what: string, check: (bytes: Buffer) => unknown): Setting<Buffer> {
  return {
    help,
    allowed: `the path of a file that can be read and holds ${what} in PEM`,
    parse(path) {
      try {
        const bytes = readFileSync(path);
        check(bytes);
        return bytes;
      } catch {
        return undefined;
      }
    },
  };
}

function parseFlag(value: string): boolean | undefined {
  return value === 'true' ? true : value === 'false' ? false : undefined;
}

function parseDomains(value: string): readonly string[] | undefined {
  const domains = value.split(',').map((domain) => domain.trim().toLowerCase());
  return domains.every((domain) => DOMAIN.test(domain)) ? [...new Set(domains)] : undefined;
}

const DOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** The host of a URL as it is in an email address; of one that is refused, any. */
function hostOf(url: string): string {
  const { hostname } = new URL(URL.canParse(url) ? url : 'http://localhost');
  return hostname.replace(/^\[.*\]$/, 'localhost');
}

/** Without a path or a query: nothing else of the conversation is set so. */
function parseSmtpUrl(value: string): string | undefined {
  if (!URL.canParse(value)) return undefined;
  const { protocol, hostname, pathname, search, hash, username, password } = new URL(value);
  const isComplete =
    (protocol === 'smtp:' || protocol === 'smtps:') && hostname !== '' && !pathname && !search && !hash;
  return isComplete && isPercentEncoded(username + password) && (username === '') === (password === '')
    ? value
    : undefined;
}

function parseWebhookUrl(value: string): string | undefined {
  if (parseLink(value) === undefined || value.startsWith('/')) return undefined;
  const { username, password } = new URL(value);
  return username === '' && password === '' && !value.includes('#') ? value : undefined;
}

/** One secret or two. What is no base64 is refused: it would be a shorter key than it looks. */
function parseWebhookSecrets(value: string): readonly Uint8Array[] | undefined {
  const { min, max } = WEBHOOK_SECRET_BYTES;
  const written = value.split(/ +/);
  const secrets = written.flatMap((text) => {
    const bytes = Buffer.from(/^whsec_([A-Za-z\d+/]+={0,2})$/.exec(text)?.[1] ?? '', 'base64');
    return bytes.length >= min && bytes.length <= max ? [bytes] : [];
  });
  return secrets.length === written.length && secrets.length <= 2 ? secrets : undefined;
}

/** Paths that are served for something else. Those of calls and documents have a dot in them. */
const TAKEN_PATHS = ['/healthz/', '/readyz/'];

/** The path with a slash at both ends; empty for none. */
function parsePagesPath(value: string): string | undefined {
  if (value === 'off') return '';
  const path = value.endsWith('/') ? value : `${value}/`;
  return /^(?:\/[a-z\d-]{1,40}){1,8}\/$/.test(path) && !TAKEN_PATHS.includes(path) ? path : undefined;
}

/** The URL with a slash at the end. */
function parseAccountUrl(value: string): string | undefined {
  if (parseLink(value) === undefined || value.startsWith('/')) return undefined;
  const { username, password, href } = new URL(value);
  if (username !== '' || password !== '' || /[?#]/.test(value)) return undefined;
  return href.endsWith('/') ? href : `${href}/`;
}

/** A path on this host, which two slashes do not begin, or an absolute URL of a page. */
function parseLink(value: string): string | undefined {
  const isLink = /^(\/(?![/\\])|https?:\/\/[^\s/])[^\s"<>\\]{0,1000}$/.test(value) || value === '/';
  return isLink && URL.canParse(value, 'http://localhost') ? value : undefined;
}

function parseSecretKey(value: string): Uint8Array | undefined {
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === SECRET_BYTES ? bytes : undefined;
}

/** Blocks of addresses, not all of them at once: anybody could name any address then. */
function parseBlocks(value: string): string[] | undefined {
  const blocks = value
    .split(',')
    .map((block) => block.trim())
    .filter(Boolean);
  try {
    createBlockCheck(blocks);
    return blocks;
  } catch {
    return undefined;
  }
}

/** Exact origins (RFC 6454): scheme, host and port, without a path. */
function parseOrigins(value: string): string[] | undefined {
  const origins = value
    .split(',')
    .map((origin) => origin.trim())
    .filter(Boolean);
  return origins.every((origin) => URL.canParse(origin) && new URL(origin).origin === origin) ? origins : undefined;
}
