import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../packages/client/src/services.ts';
import { run } from './support/commands.ts';
import { startKith } from './support/kith.ts';
import { type Consumer, installPacked, needPackage } from './support/packed.ts';

const README = await readFile('packages/client/README.md', 'utf8');
const DEPENDENCIES = ['@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-web'];

let packed: Consumer | undefined;
beforeAll(async () => {
  packed = await installPacked('client', DEPENDENCIES, ['@connectrpc/connect-node', '@types/node']);
});
afterAll(() => packed?.[Symbol.asyncDispose]());

test('the package holds JavaScript, declarations and nothing of the server', (context) => {
  const { manifest, files } = needPackage(context, packed);
  expect(Object.keys(manifest['dependencies'] as object)).toEqual(DEPENDENCIES);
  const resources = Object.keys(SERVICES).map(
    (name) => `./${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
  );
  const others = [
    '.',
    './calls',
    './contacts-store',
    './contract',
    './error-texts',
    './error-texts/de',
    './error-texts/en',
    './errors',
    './node',
    './package.json',
    './roles',
    './session',
    './testing',
  ];
  expect(Object.keys(manifest['exports'] as object).toSorted()).toEqual([...resources, ...others].toSorted());
  for (const field of ['scripts', 'bin', 'optionalDependencies']) expect(manifest).not.toHaveProperty(field);
  expect(manifest['private']).toBe(true); // the scope is not the project's in the registry
  const unexpected = files.filter(
    (file) => !/^lib\/((contract|error-texts)\/|gen\/[a-z0-9/]+\/)?[a-z_-]+\.(js|js\.map|d\.ts)$/.test(file),
  );
  expect(unexpected.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);
  expect(README).not.toMatch(/\]\(\.\.?\//);
});

test('the readme names every namespace', () => {
  const [, names = ''] = /`kith` has a namespace for each service: (.+?)\. /.exec(README) ?? [];
  expect(names).toBe(
    Object.keys(SERVICES)
      .toSorted()
      .map((name) => `\`${name}\``)
      .join(', '),
  );
});

test('what a browser loads imports Connect and protobuf-es alone, and no rule of the contract', async (context) => {
  const { installed } = needPackage(context, packed);
  const lib = join(installed, 'lib');
  const imported = new Set<string>();
  const withViolations: string[] = [];
  for (const file of (await readdir(lib, { recursive: true })).filter((name) => name.endsWith('.js'))) {
    if (/^(node|file-store|testing)\.js$/.test(file)) continue;
    const source = await readFile(join(lib, file), 'utf8');
    for (const [, module] of source.matchAll(/from\s*["']([^."'][^"']*)["']/g)) imported.add(module!);
    if (source.includes('buf/validate/validate_pb')) withViolations.push(file);
  }
  expect(withViolations).toEqual(['kith-error.js']);
  const allowed = /^@bufbuild\/protobuf(\/(codegenv2|wkt|reflect))?$|^@connectrpc\/connect(-web)?$/;
  expect([...imported].filter((module) => !allowed.test(module))).toEqual([]);
});

const USE = `
import { createKith, type Kith, KithError, type Listing, type Reason } from '@kith/client';
import { createKith as createNodeKith } from '@kith/client/node';
import { ErrorReason, SessionService } from '@kith/client/contract';
import { ErrorReason as SameReason } from '@kith/client/errors';
import { Role } from '@kith/client/roles';
import { type User, UserService } from '@kith/client/users';
export const same: typeof SameReason = ErrorReason;
export const sessions: string = SessionService.typeName;
const kith: Kith = createKith({ url: 'https://kith.example.org', credentials: { apiKey: 'x' } });
export const other: Kith = createNodeKith({ url: 'https://kith.example.org', protocol: 'grpc' });
// @ts-expect-error browsers have no gRPC
createKith({ url: 'https://kith.example.org', protocol: 'grpc' });
export async function use(): Promise<string> {
  const user: User = (await kith.users.get({ userId: 'x' })).user;
  const list: Listing<User, unknown> = kith.users.list({ query: 'x', roles: [Role.ADMIN] });
  for await (const { username } of list) console.log(username);
  await kith.users.update(user.id, ({ name }) => ({ name: name + '!' }));
  // @ts-expect-error the id is given already
  await kith.users.update(user.id, () => ({ userId: 'another' }));
  // @ts-expect-error there is no such field
  await kith.users.create({ user_name: 'x' });
  const { secret } = await kith.apiKeys.create({ name: 'x' });
  await kith.sessions.revokeAll({ userId: user.id, keepCurrent: true });
  const response = await kith.raw(UserService).getUser({ userId: 'x' });
  return secret + (response.user?.name ?? '');
}
export function wordsOf(reason: 'USERNAME_TAKEN' | 'EMAIL_TAKEN'): string {
  switch (reason) {
    case 'USERNAME_TAKEN': return 'name';
    case 'EMAIL_TAKEN': return 'email';
    default: { const none: never = reason; return none; }
  }
}
// @ts-expect-error there is no such reason
export const reason: Reason = 'USER_NOT_FOND';
export const code = (error: KithError): string => error.code;
`;

const BROWSER = `
import { createKith } from '@kith/client';
import { createCalls, watchOver } from '@kith/client/calls';
import { memoryStorage, openContactsStore } from '@kith/client/contacts-store';
import { Session } from '@kith/client/session';
import { UserService } from '@kith/client/contract';
const kith = createKith({ url: 'https://kith.example.org' });
const calls = createCalls(kith.transport);
export const store = openContactsStore({ client: calls, storage: memoryStorage(), userId: 'x' });
export const all = [kith.activity.recorder(), watchOver(calls, { shared: false }), calls.of(UserService, 'User'), Session];
`;

describe('the declarations compile under strict', () => {
  test.for<[string, string[]]>([
    ['as an ES module of Node', ['--module', 'nodenext']],
    ['with a bundler', ['--module', 'esnext', '--moduleResolution', 'bundler']],
  ])('%s', async ([, options], context) => {
    const { directory } = needPackage(context, packed);
    const file = join(directory, 'use.ts');
    await writeFile(file, USE);
    expect(await compile([file], options)).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

test('the declarations compile with what ES2022 and browsers have, checked themselves', async (context) => {
  const { directory } = needPackage(context, packed);
  const file = join(directory, 'browser.ts');
  await writeFile(file, BROWSER);
  const strict = ['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom'];
  const options = ['--types', '', '--module', 'esnext', '--moduleResolution', 'bundler'];
  const outcome = await run(process.execPath, [
    resolve('node_modules/typescript/bin/tsc'),
    ...strict,
    ...options,
    file,
  ]);
  expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
});

function compile(files: readonly string[], options: readonly string[]) {
  const strict = ['--ignoreConfig', '--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2024'];
  const types = ['--types', 'node', '--lib', 'esnext,dom', '--skipLibCheck'];
  return run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), ...strict, ...types, ...options, ...files]);
}

describe('the examples of the readme', () => {
  const examples = [...README.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!);
  const OUTPUTS = [
    /^Grace Wrote the first compiler\.\n$/,
    /^ada\n$/,
    /^emails\[0\]\.address .+\.\n$/,
    /^kith\.contact\.created\n$/,
    /^recorded\n$/,
    /^pending\nsynced 1\n$/,
    /^Grace\n$/,
  ];

  test('compile and print what they should', { timeout: 120_000 }, async (context) => {
    const { directory } = needPackage(context, packed);
    await using kith = await startKith();
    const [, password] = /password: '([^']+)'/.exec(README)!;
    const { accessToken } = await kith.admin();
    const { secret } = await kith
      .client(ApiKeyService, accessToken)
      .createApiKey({ name: 'of a service', permissions: [Permission.ACTIVITY_RECORD] });
    await kith
      .client(UserService, accessToken)
      .createUser({ username: 'ada', email: 'ada@example.org', name: 'Ada', password: password! });
    const files = examples.map((_, i) => join(directory, `example-${i + 1}.ts`));
    for (const [i, code] of examples.entries())
      await writeFile(files[i]!, code.replaceAll('http://localhost:8080', kith.address));
    expect(await compile(files, ['--module', 'nodenext'])).toEqual({ code: 0, stdout: '', stderr: '' });
    // One after the other: one of them prints the first activity that it sees, of the user whom all sign in as.
    const outcomes: Awaited<ReturnType<typeof run>>[] = [];
    for (const file of files) {
      outcomes.push(await run(process.execPath, [file], { KITH_API_KEY: secret, KITH_REPOSITORY: resolve('.') }));
    }
    expect(outcomes).toEqual(OUTPUTS.map((output) => ({ code: 0, stdout: expect.stringMatching(output), stderr: '' })));
  });
});
