import { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { connect, isIP, isIPv6 } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Config, ConfigError } from '../../config/config.ts';
import { CLOCKS_DIFFER_MS, systemClock } from '../../kernel/clock.ts';
import { type Endpoint, endpointOf } from '../../mail/endpoint.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { loadSecretKey, SecretKeyError } from '../../kernel/secret-key.ts';
import { withoutPassword } from '../../kernel/text.ts';
import { DatabaseError } from '../../storage/dialect.ts';
import { type DatabaseInspection, inspectDatabase } from '../../storage/inspect.ts';
import type { Env } from '../command.ts';
import { applySettings, readSettings } from '../settings.ts';
import { certificateFinding, fault, type Finding, ok, warning } from './finding.ts';

/** Looks at what `kith serve` would begin with, started here and now. Changes nothing. */
export async function* checkSettings(env: Env): AsyncGenerator<Finding> {
  let config: Config;
  try {
    const settings = readSettings(env);
    config = applySettings(settings);
    const count = Object.keys(settings).filter((name) => name.startsWith('KITH_')).length;
    yield ok('settings', count === 0 ? 'none is set: the defaults' : `${count} are set, and understood`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const line of error.message.split('\n')) yield fault('settings', line, 'kith --help lists the settings.');
    return;
  }
  const inspection = await inspected(config);
  if ('status' in inspection) yield inspection;
  else yield* checkDatabase(config, inspection.found);
  yield* checkTls(config);
  yield* checkExposure(config);
  yield await checkMail(config);
}

async function inspected(config: Config): Promise<Finding | { found: DatabaseInspection | undefined }> {
  try {
    return { found: await inspectDatabase(config.databaseUrl, config.databaseLimits) };
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return fault(
      'database',
      error.message,
      'See KITH_DATABASE_URL, and docs/operations.md for what is checked at a start.',
    );
  }
}

function* checkDatabase(config: Config, found: DatabaseInspection | undefined): Generator<Finding> {
  const where = withoutPassword(config.databaseUrl);
  if (found === undefined) {
    yield warning(
      'database',
      `${where} does not exist`,
      'The first start creates it. If there should be one, look at KITH_DATABASE_URL and the working directory.',
    );
    return;
  }
  const { server, pending, unknown, nowMs } = found;
  if (unknown.length > 0) {
    yield fault(
      'database',
      `${where} was written by a newer version (it has ${unknown.join(', ')})`,
      'Use that version.',
    );
    return;
  }
  yield pending.length > 0
    ? warning(
        'database',
        `${where} (${server}) lacks ${pending.length} migrations`,
        'The next start applies them. Make a backup before.',
      )
    : ok('database', `${where} (${server}) is up to date`);
  yield* checkSecretKey(config, found);
  if (nowMs === undefined) return;
  const differenceMs = Math.abs(nowMs - systemClock.now());
  yield differenceMs > CLOCKS_DIFFER_MS
    ? warning(
        'clock',
        `the clocks of this machine and the database differ by ${Math.round(differenceMs / 1000)} s`,
        'Synchronize both (NTP).',
      )
    : ok('clock', 'that of the database is within a minute of this one');
}

function* checkSecretKey(config: Config, { sealedKeys, keyFile: file }: DatabaseInspection): Generator<Finding> {
  try {
    if (config.secretKey === undefined && sealedKeys.length === 0) {
      yield ok('keys', 'there are none; the first start makes them');
      return;
    }
    const keyring = createKeyring(config.secretKey ?? loadSecretKey(file, false));
    const closed = sealedKeys.filter(({ sealed }) => keyring.open('signing-key', sealed) === undefined);
    yield closed.length > 0
      ? fault(
          'keys',
          `the secret does not open ${closed.length} of ${sealedKeys.length} signing keys`,
          'Set KITH_SECRET_KEY, or the key file, that belongs to this database.',
        )
      : ok('keys', `the secret opens all ${sealedKeys.length} signing keys`);
    if (config.secretKey === undefined && file !== undefined && isReadByOthers(file)) {
      yield warning('keys', `${file} can be read by other users of this machine`, `chmod 600 ${file}`);
    }
  } catch (error) {
    if (!(error instanceof SecretKeyError)) throw error;
    yield fault('keys', error.message, 'Restore it from the backup of the key.');
  }
}

function* checkTls({ tls }: Config): Generator<Finding> {
  if (tls === undefined) return;
  const certificate = new X509Certificate(tls.cert);
  yield certificateFinding(
    'TLS',
    certificate.validFromDate.getTime(),
    certificate.validToDate.getTime(),
    systemClock.now(),
  );
}

function* checkExposure({ host, tls, trustedProxies, issuer }: Config): Generator<Finding> {
  const isLocal = /^(127\.|::1$|localhost$)/.test(host);
  if (!isLocal && tls === undefined && trustedProxies.length === 0) {
    yield warning(
      'proxies',
      `${host} is listened on without TLS and without a proxy that is trusted`,
      'Set KITH_TLS_CERT and KITH_TLS_KEY, or let a proxy end TLS and name it in KITH_TRUSTED_PROXIES.',
    );
  } else {
    yield ok(
      'proxies',
      trustedProxies.length === 0
        ? 'none is trusted: callers are counted by the address that connects'
        : `${trustedProxies.length} blocks are trusted`,
    );
  }
  if (!isLocal && /\/\/(127\.|localhost|\[::1\]|0\.0\.0\.0|\[::\])/.test(issuer)) {
    yield warning(
      'issuer',
      `tokens name ${issuer} as who issued them, an address of this machine alone`,
      'Set KITH_ISSUER to the address that clients use.',
    );
  }
}

/** How long a connection to what takes mails may take, milliseconds. */
const CONNECT_MS = 5_000;

/** Whether what takes mails can be connected to. It is sent nothing. */
async function checkMail({ mail: { smtpUrl, webhook } }: Config): Promise<Finding> {
  const name = 'mail';
  const setting = webhook === undefined ? 'KITH_SMTP_URL' : 'KITH_MAIL_WEBHOOK_URL';
  const url = webhook?.url ?? smtpUrl;
  if (url === undefined) {
    return ok(name, 'no mail is sent: mails wait in the outbox, for KITH_SMTP_URL or KITH_MAIL_WEBHOOK_URL');
  }
  const endpoint = endpointOf(url);
  const { host, port, isTls, isLoopback } = endpoint;
  const at = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const problem = await whyNoConnection(endpoint);
  if (problem !== undefined) {
    return fault(
      name,
      `${setting} cannot be connected to, at ${at}: ${problem}`,
      'Mails are tried again for three days.',
    );
  }
  if (webhook !== undefined && !isTls && !isLoopback) {
    return warning(
      name,
      `the webhook at ${at} is sent codes and links without TLS`,
      'Set KITH_MAIL_WEBHOOK_URL to https://..., unless nobody else can read that network.',
    );
  }
  return ok(name, `${setting} can be connected to, at ${at}`);
}

function whyNoConnection({ host, port, isTls }: Endpoint): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = isTls
    ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }) })
    : connect({ host, port });
  socket
    .setTimeout(CONNECT_MS, () => socket.destroy(new Error(`no answer within ${CONNECT_MS / 1000} s`)))
    .once(isTls ? 'secureConnect' : 'connect', () => {
      resolve(undefined);
      socket.destroy();
    })
    .once('error', (error: Error & { code?: string }) => resolve(error.message || error.code));
  return promise;
}

function isReadByOthers(path: string): boolean {
  return process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0;
}
