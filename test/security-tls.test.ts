import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { type ConnectionOptions, connect } from 'node:tls';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { openDatabase } from '../src/storage/database.ts';
import { DatabaseError } from '../src/storage/dialect.ts';
import { type Kith, startKith } from './support/kith.ts';
import { type PostgresServer, startPostgres } from './support/postgres-server.ts';
import { startWatch } from './support/watch.ts';
import { freePort } from './support/free-port.ts';

const CERTIFICATE = resolve('test/fixtures/tls/localhost-cert.pem');
const KEY = resolve('test/fixtures/tls/localhost-key.pem');

describe('TLS to callers', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_TLS_CERT: CERTIFICATE, KITH_TLS_KEY: KEY } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  /** Shakes hands; the version and cipher suite that were agreed on. */
  async function agreedOn(options: ConnectionOptions): Promise<string> {
    const socket = connect({ port: kith.port, host: 'localhost', ca: readFileSync(CERTIFICATE), ...options });
    try {
      await once(socket, 'secureConnect');
      return `${socket.getProtocol()} ${socket.getCipher().standardName}`;
    } finally {
      socket.destroy();
    }
  }

  test.each<[who: string, agreed: string, options: ConnectionOptions]>([
    ['can all of them', 'TLSv1.3 TLS_AES_256_GCM_SHA384', {}],
    [
      'prefers another suite',
      'TLSv1.3 TLS_AES_256_GCM_SHA384',
      { ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384' },
    ],
    ['knows TLS 1.2 only', 'TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', { maxVersion: 'TLSv1.2' }],
  ])('a caller who %s gets %s', async (_, agreed, options) => {
    expect(await agreedOn(options)).toBe(agreed);
  });

  test.each<[what: string, options: ConnectionOptions]>([
    ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }],
    ['TLS 1.0', { minVersion: 'TLSv1', maxVersion: 'TLSv1' }],
    ['a suite without authenticated encryption', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }],
    ['a suite on SHA-1', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-SHA' }],
    ['a suite without forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES256-GCM-SHA384' }],
    ['a suite without a certificate', { maxVersion: 'TLSv1.2', ciphers: 'aNULL' }],
  ])('a caller who insists on %s is turned away', async (_, options) => {
    // @SECLEVEL=0: or the client's own library would not offer it.
    const ciphers = `${options.ciphers ?? 'ALL'}:@SECLEVEL=0`;
    await expect(agreedOn({ ...options, ciphers })).rejects.toThrow(/alert/);
  });

  test('a caller who comes after them is served', async () => {
    const { accessToken } = await kith.admin();
    expect((await kith.client(AuthService, accessToken).userMe({})).user?.username).toBe('admin');
  });
});

describe('TLS to PostgreSQL', () => {
  let postgres: PostgresServer;
  let directory: string;
  let port: number;
  beforeAll(async () => {
    port = await freePort();
    postgres = await startPostgres({ listen_addresses: '127.0.0.1,127.0.0.2', port: String(port) });
    directory = await mkdtemp(join(tmpdir(), 'kith-tls-'));
  });
  afterAll(async () => {
    await postgres[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  const url = (host: string, parameters: Record<string, string>) =>
    `postgres://postgres@${host}:${port}/postgres?${new URLSearchParams(parameters)}`;
  const VERIFIED = { sslmode: 'verify-full', sslrootcert: CERTIFICATE };

  async function onServer(...statements: string[]): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: url('127.0.0.1', {}) });
    await client.connect();
    try {
      let rows: Record<string, unknown>[] = [];
      for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement));
      return rows;
    } finally {
      await client.end();
    }
  }

  test('verify-full does not go on without TLS where the server has none', async () => {
    await expect(openDatabase(url('127.0.0.1', VERIFIED))).rejects.toThrow(/does not support SSL/);
  });

  describe('that has it', () => {
    beforeAll(async () => {
      const { uid, gid } = await stat(postgres.socket);
      const files = { ssl_cert_file: CERTIFICATE, ssl_key_file: KEY };
      const settings: string[] = [];
      for (const [setting, file] of Object.entries(files)) {
        const copy = join(directory, basename(file));
        await copyFile(file, copy);
        await chmod(copy, 0o600);
        settings.push(`alter system set ${setting} = '${copy}'`);
        await chown(copy, uid, gid);
      }
      await chown(directory, uid, gid);
      await onServer(...settings, 'alter system set ssl = on', 'select pg_reload_conf()');
      const isOn = async () => (await onServer('show ssl'))[0]?.['ssl'] === 'on';
      await vi.waitUntil(isOn, { timeout: 50_000, interval: 20 });
    });

    test('verify-full encrypts every connection, that of notifications too', async () => {
      await using kith = await startKith({ env: { KITH_DATABASE_URL: url('127.0.0.1', VERIFIED) } });
      const { accessToken } = await kith.admin();
      await using watch = await startWatch(kith.client(ActivityService, accessToken));
      expect(watch.cursor).not.toBe('');
      const connections = () =>
        onServer(
          `select distinct application_name as name, ssl, version from pg_stat_ssl natural join pg_stat_activity
            where application_name like 'kith%' order by name`,
        );
      const encrypted = { ssl: true, version: 'TLSv1.3' };
      await expect.poll(connections).toEqual([
        { name: 'kith', ...encrypted },
        { name: 'kith listener', ...encrypted },
        { name: 'kith revocation listener', ...encrypted },
      ]);
    });

    test('verify-full refuses a certificate that nobody vouches for', async () => {
      const { sslmode } = VERIFIED;
      await expect(openDatabase(url('127.0.0.1', { sslmode }))).rejects.toThrow(/self-signed certificate/);
    });

    test.each<[what: string, host: string, parameters: Record<string, string>]>([
      ['a certificate that nobody vouches for', '127.0.0.1', { sslmode: 'require' }],
      ['the certificate of another host', '127.0.0.2', VERIFIED],
      ['an authority that is not there', '127.0.0.1', { ...VERIFIED, sslrootcert: '/no/such' }],
      ['an authority that is none', '127.0.0.1', { ...VERIFIED, sslrootcert: KEY }],
      ['a key that is not there', '127.0.0.1', { ...VERIFIED, sslkey: '/no/such', sslcert: CERTIFICATE }],
    ])('%s is for a person to mend, and not to be tried again', async (_, host, parameters) => {
      const error: unknown = await openDatabase(url(host, parameters)).catch((error: unknown) => error);
      expect(error).toMatchObject({ name: 'DatabaseError' });
      expect(error).toBeInstanceOf(DatabaseError);
    });

    test('verify-full refuses the certificate of another host', async () => {
      await expect(openDatabase(url('127.0.0.2', VERIFIED))).rejects.toThrow(/altnames/);
    });
  });
});
