import { copyFile, glob, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type Config, parseConfig, SETTINGS } from '../src/config/config.ts';
import { fileSettingOf } from '../src/config/secret-files.ts';
import { findCommand, needCommand, run, skipLoudly } from './support/commands.ts';
import { bearer, type Kith, refusalOf, startKith } from './support/kith.ts';
import { probe } from './support/process.ts';
import { type Proxy, proxyKinds, startProxy } from './support/proxies.ts';
import { startWatch } from './support/watch.ts';
import { signedIn } from './support/sign-in.ts';

/** Callers of the proxy have another address than the proxy has, which Kith trusts. */
const CALLER = '127.0.0.2';
const nodeOptions = { rejectUnauthorized: false, localAddress: CALLER, family: 4 };

type Connect = (baseUrl: string, accessToken?: string) => Transport;
const clients: readonly [name: string, connect: Connect][] = [
  ['gRPC', (baseUrl, token) => createGrpcTransport({ baseUrl, nodeOptions, interceptors: bearer(token) })],
  ...(['1.1', '2'] as const).flatMap((httpVersion): [string, Connect][] => [
    [
      `gRPC-Web over HTTP/${httpVersion}`,
      (baseUrl, token) => createGrpcWebTransport({ baseUrl, httpVersion, nodeOptions, interceptors: bearer(token) }),
    ],
    [
      `Connect over HTTP/${httpVersion}`,
      (baseUrl, token) =>
        createConnectTransport({ baseUrl, httpVersion, nodeOptions, interceptors: bearer(token), useHttpGet: true }),
    ],
  ]),
];

describe.each(proxyKinds)('behind $command, with $file,', (kind) => {
  const path = findCommand(kind.command);
  let kith: Kith;
  let proxy: Proxy;
  beforeAll(async () => {
    if (path === undefined || process.platform !== 'linux') return;
    kith = await startKith({ env: { KITH_TRUSTED_PROXIES: '127.0.0.1' } });
    proxy = await startProxy(kind, path, kith.port);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await kith?.[Symbol.asyncDispose]();
  });

  function needProxy(context: TestContext): void {
    needCommand(context, kind.command);
    if (process.platform !== 'linux') skipLoudly(context, `${CALLER} is an address of this machine on Linux alone`);
  }

  describe.each(clients)('over %s,', (_, connect) => {
    test('a sign-in comes from the caller, whatever the caller writes in X-Forwarded-For', async (context) => {
      needProxy(context);
      const { user, password } = await kith.user();
      for (const headers of [{}, { 'x-forwarded-for': '203.0.113.9' }]) {
        const auth = createClient(AuthService, connect(proxy.address));
        const { accessToken } = await signedIn(auth.login({ identifier: user.username, password }, { headers }));
        const sessions = createClient(SessionService, connect(proxy.address, accessToken));
        const listed = await sessions.listSessions({ userId: user.id });
        expect(listed.sessions.find(({ current }) => current)).toMatchObject({ address: CALLER });
      }
    });

    test('refusals of Kith arrive as they are, also of messages and headers at its limits', async (context) => {
      needProxy(context);
      const { accessToken } = await kith.user(Role.EDITOR);
      const strange = createClient(UserService, connect(proxy.address));
      const refused = { code: 'Unauthenticated', reason: 'ACCESS_TOKEN_MISSING' };
      const headers = { 'x-filler': 'x'.repeat(7_000), 'x-more': 'x'.repeat(7_000) };
      expect(await refusalOf(strange.getUser({ userId: crypto.randomUUID() }, { headers }))).toMatchObject(refused);
      const contacts = createClient(ContactService, connect(proxy.address, accessToken));
      const large = { givenName: 'x'.repeat(kith.config.messageBytesMax + 1) };
      // Again and again: a proxy may close the connection after a refusal, and the next call be lost on it.
      for (let i = 0; i < 8; i++) {
        expect(await refusalOf(contacts.createContact(large))).toMatchObject({ reason: 'REQUEST_TOO_LARGE' });
        expect((await contacts.createContact({ givenName: 'Ada' })).contact).toMatchObject({ givenName: 'Ada' });
      }
    });

    test('a watch brings each activity while it stays open, and ends on Kith when it is left', async (context) => {
      needProxy(context);
      const { accessToken, user } = await kith.user(Role.EDITOR);
      const watch = await startWatch(connect(proxy.address, accessToken), { userId: user.id });
      expect(kith.subscriptions()).toBeGreaterThan(0);
      const contacts = kith.client(ContactService, accessToken);
      for (const givenName of ['Ada', 'Grace', 'Mary']) {
        const { contact } = await contacts.createContact({ givenName });
        const { attributes } = await watch.activity();
        expect(Object.values(attributes)).toContain(contact?.id);
      }
      await watch[Symbol.asyncDispose]();
      await expect.poll(kith.subscriptions).toBe(0);
    });

    test('Kith learns of deadlines, and ends calls at them', async (context) => {
      needProxy(context);
      const { accessToken, user } = await kith.user();
      // Not by `timeoutMs`, with which the client ends the call by itself.
      const headers = { 'connect-timeout-ms': '300', 'grpc-timeout': '300m' };
      const watches = createClient(ActivityService, connect(proxy.address, accessToken));
      const read = async (): Promise<void> => {
        for await (const _ of watches.watchUserActivity({ userId: user.id }, { headers })); // until it ends
      };
      expect(await refusalOf(read())).toMatchObject({ code: 'DeadlineExceeded' });
    });
  });

  test('probes and the key set are served', async (context) => {
    needProxy(context);
    for (const route of ['/healthz', '/readyz', '/.well-known/jwks.json', '/contract.binpb', '/openapi.json']) {
      expect(await probe(`${proxy.address}${route}`)).toMatchObject({ status: 200 });
    }
  });
});

describe('the files of deploy/', () => {
  test('are YAML where they say so', async () => {
    const paths = await Array.fromAsync(glob('deploy/**/*.{yaml,yml}'));
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) expect(await documentsOf(path)).not.toEqual([]);
  });

  test('name no setting that Kith does not have', async () => {
    const known = Object.entries(SETTINGS).flatMap(([name, setting]) =>
      'fromFile' in setting ? [name, fileSettingOf(name)] : [name],
    );
    const entries = await Array.fromAsync(glob('deploy/**', { withFileTypes: true }));
    for (const { parentPath, name } of entries.filter((entry) => entry.isFile())) {
      const text = await readFile(join(parentPath, name), 'utf8');
      // A comment may name several by what they begin with.
      const named = [...text.matchAll(/\bKITH_[A-Z_]*[A-Z]\b/g)].map(([setting]) => setting);
      expect({ name, unknown: named.filter((setting) => !known.includes(setting)) }).toEqual({ name, unknown: [] });
    }
  });

  test.each(['sqlite', 'postgresql'])('compose/%s.yaml starts Kith with settings that it takes', async (name) => {
    const [{ services }] = (await documentsOf(`deploy/compose/${name}.yaml`)) as [Compose];
    const { environment, stop_grace_period: grace, ...kith } = services.kith;
    const config = await configOf({ KITH_DATABASE_URL: SQLITE_OF_IMAGE, ...environment });
    expect(config.databaseUrl).toBe(name === 'sqlite' ? SQLITE_OF_IMAGE : SECRETS['database-url']);
    expect(Number.parseInt(grace, 10)).toBeGreaterThanOrEqual(stopSeconds(config));
    expect(kith).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
  });

  test('kubernetes/ starts Kith with settings that it takes, and probes what it serves', async () => {
    const [deployment] = (await documentsOf('deploy/kubernetes/deployment.yaml')) as [Deployment];
    const { spec: pod, metadata } = deployment.spec.template;
    const [container] = pod.containers as [Container];
    const config = await configOf({ KITH_DATABASE_URL: SQLITE_OF_IMAGE, ...environmentOf(container) });
    expect(config).toMatchObject({ databaseUrl: SECRETS['database-url'], adminPassword: SECRETS['admin-password'] });
    expect(config.shutdownDelayMs).toBeGreaterThan(
      container.readinessProbe.periodSeconds * container.readinessProbe.failureThreshold * 1000,
    );
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(stopSeconds(config));
    expect(pod).toMatchObject({
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    await using kith = await startKith();
    for (const { httpGet } of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
      expect(container.ports).toContainEqual({ name: httpGet.port, containerPort: config.port });
      expect(await probe(`${kith.address}${httpGet.path}`)).toMatchObject({ status: 200 });
    }
    // What belongs together names the same pods.
    const others = await Promise.all(
      ['service', 'disruption-budget', 'network-policy'].map((name) => documentsOf(`deploy/kubernetes/${name}.yaml`)),
    );
    const [service, budget, policy] = others.flat() as [Selecting<Labels>, Selecting<Matching>, Selecting<Matching>];
    for (const labels of [
      deployment.spec.selector.matchLabels,
      service.spec.selector,
      budget.spec.selector?.matchLabels,
      policy.spec.podSelector?.matchLabels,
    ]) {
      expect(labels).toEqual(metadata.labels);
    }
  });

  test('kubernetes/ is what kubectl takes', async (context) => {
    const built = await run(needCommand(context, 'kubectl'), ['kustomize', 'deploy/kubernetes']);
    expect(built).toMatchObject({ code: 0, stderr: '' });
    const kinds = parseAllDocuments(built.stdout).map((document) => (document.toJS() as { kind: string }).kind);
    expect(kinds.toSorted()).toEqual(['Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'Service']);
  });

  test.for([
    { name: 'with a SQLite file', onPostgres: false },
    { name: 'with PostgreSQL', onPostgres: true },
  ])('systemd takes the unit $name, and little is exposed', async ({ onPostgres }, context) => {
    const systemd = needCommand(context, 'systemd-analyze');
    await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-unit-'));
    const text = await readFile('deploy/systemd/kith.service', 'utf8');
    const unit = join(directory.path, 'kith.service');
    // The program is elsewhere here; everything else is as it stands.
    await writeFile(unit, text.replace('ExecStart=/opt/kith/node_modules/.bin/node', `ExecStart=${process.execPath}`));
    if (onPostgres) {
      await mkdir(`${unit}.d`);
      await copyFile('deploy/systemd/postgresql.conf', join(`${unit}.d`, 'postgresql.conf'));
    }
    const verified = await run(systemd, ['verify', '--man=no', '--recursive-errors=no', unit]);
    expect(verified).toEqual({ code: 0, stdout: '', stderr: '' });
    // 2.0 of 10: "OK" in the words of systemd.
    const security = await run(systemd, ['security', '--offline=true', '--threshold=20', '--no-pager', unit]);
    expect(security).toMatchObject({ code: 0 });
  });

  test('the unit of systemd gives Kith settings that it takes', async () => {
    const settings = async (path: string): Promise<Record<string, string>> =>
      Object.fromEntries(
        (await readFile(path, 'utf8'))
          .matchAll(/^Environment=(KITH_\w+)=(.*)$/gm)
          .map(([, name, value]) => [name, value]),
      );
    const text = await readFile('deploy/systemd/kith.service', 'utf8');
    const config = await configOf(await settings('deploy/systemd/kith.service'));
    expect(config.databaseUrl).toBe('sqlite:/var/lib/kith/kith.db');
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(text)?.[1])).toBeGreaterThanOrEqual(stopSeconds(config));
    const onPostgres = await configOf(await settings('deploy/systemd/postgresql.conf'));
    expect(onPostgres.databaseUrl).toBe(SECRETS['database-url']);
  });
});

const SQLITE_OF_IMAGE = 'sqlite:/data/kith.db';

/** What the files that the settings name hold, by the names of the files. */
const SECRETS: Readonly<Record<string, string>> = {
  'database-url': 'postgres://kith:secret@postgres/kith',
  'secret-key': Buffer.alloc(32, 'kith').toString('base64'),
  'admin-password': 'poetical science',
};

/** The settings that Kith reads from an environment, with files of secrets in the place of those that it names. */
async function configOf(environment: Readonly<Record<string, string>>): Promise<Config> {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-secrets-'));
  const env = { ...environment };
  for (const [name, value] of Object.entries(env).filter(([setting]) => setting.endsWith('_FILE'))) {
    const secret = SECRETS[basename(value)];
    if (secret === undefined) throw new Error(`nobody makes ${value}`);
    env[name] = join(directory.path, basename(value));
    await writeFile(env[name], `${secret}\n`);
  }
  return parseConfig(env);
}

function environmentOf({ env }: Container): Record<string, string> {
  return Object.fromEntries(env.map(({ name, value }) => [name, value]));
}

/** How long a stop may take at the most, with the five seconds after which workers are killed. */
function stopSeconds({ shutdownDelayMs, shutdownTimeoutMs }: Config): number {
  return (shutdownDelayMs + shutdownTimeoutMs) / 1000 + 5;
}

/** The YAML documents of a file. Fails for what YAML parsers warn of. */
async function documentsOf(path: string): Promise<unknown[]> {
  const documents = [...parseAllDocuments(await readFile(path, 'utf8'))];
  const complaints = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  expect({ path, complaints }).toEqual({ path, complaints: [] });
  return documents.map((document): unknown => document.toJS());
}

interface Compose {
  readonly services: {
    readonly kith: { readonly environment: Record<string, string>; readonly stop_grace_period: string };
  };
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}

interface Container {
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly ports: readonly unknown[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly securityContext: unknown;
}

type Labels = Readonly<Record<string, string>>;

interface Matching {
  readonly matchLabels: Labels;
}

interface Selecting<Selector> {
  readonly spec: { readonly selector?: Selector; readonly podSelector?: Selector };
}

interface Deployment {
  readonly spec: {
    readonly selector: Matching;
    readonly template: {
      readonly metadata: { readonly labels: Labels };
      readonly spec: {
        readonly containers: readonly Container[];
        readonly terminationGracePeriodSeconds: number;
      };
    };
  };
}
