import { execFile } from 'node:child_process';
import { copyFile, glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** A file and a module it imports; `type` when it imports types alone. */
type Import = [file: string, module: string, kind?: 'type'];

const REFUSED: Import[] = [
  ['src/pages.ts', './users/users.ts'],
  ['src/pages.ts', './server.ts'],
  ['src/pages.ts', './main.ts'],
  ['src/pages.ts', '../gen/kith/user/v1/user_pb.ts'],
  ['src/pages.ts', '@connectrpc/connect'],
  ['src/pages.ts', '@bufbuild/protobuf'],
  ['src/pages.ts', 'kysely'],
  ['src/pages.ts', 'node:sqlite'],
  ['src/pages.ts', 'pg'],
  ['src/main.ts', './users/users.ts'],
  ['src/main.ts', '@connectrpc/connect-node'],
  ['src/main.ts', 'kysely'],
  ['src/main.ts', 'node:sqlite'],
  ['src/purge.ts', './server.ts'],
  ['src/purge.ts', '@connectrpc/connect'],
  ['src/purge.ts', 'kysely'],
  ['src/purge.ts', 'node:sqlite'],
  ['src/server.ts', './main.ts'],
  ['src/server.ts', 'kysely'],
  ['src/server.ts', 'node:sqlite'],
  ['src/rpc/access.ts', '../tokens/access-token.ts'],
  ['src/rpc/access.ts', '../contacts/contacts.ts', 'type'],
  ['src/rpc/access.ts', '../server.ts'],
  ['src/rpc/access.ts', 'kysely'],
  ['src/rpc/access.ts', 'node:sqlite'],
  ['src/lane/lane.ts', '../rpc/errors.ts'],
  ['src/lane/lane.ts', '../http/one-port.ts', 'type'],
  ['src/lane/lane.ts', '../../gen/kith/user/v1/user_pb.ts'],
  ['src/lane/lane.ts', 'fastify'],
  ['src/lane/lane.ts', 'kysely'],
  ['src/lane/lane.ts', 'node:sqlite'],
  ['src/scan/binary.ts', '../failure.ts'],
  ['src/scan/binary.ts', '../../gen/kith/user/v1/user_pb.ts'],
  ['src/scan/binary.ts', '@connectrpc/connect'],
  ['src/scan/binary.ts', 'node:sqlite'],
  ['src/http/one-port.ts', '../users/users.ts'],
  ['src/http/one-port.ts', '../server.ts'],
  ['src/http/one-port.ts', '@connectrpc/connect'],
  ['src/db/once.ts', '../users/store.ts'],
  ['src/db/once.ts', '../activity/activity.ts', 'type'],
  ['src/db/once.ts', '../server.ts'],
  ['src/db/migrations/0001-initial.ts', '../../contacts/store.ts'],
  ['src/db/migrations/0001-initial.ts', '../../../gen/kith/user/v1/user_pb.ts'],
  ['src/auth/auth.ts', '../server.ts'],
  ['src/auth/auth.ts', '../main.ts'],
  ['src/auth/auth.ts', '../users/store.ts'],
  ['src/auth/auth.ts', '../users/store.ts', 'type'],
  ['src/auth/auth.ts', '../users/service.ts'],
  ['src/auth/auth.ts', './service.ts'],
  ['src/auth/auth.ts', './messages.ts'],
  ['src/auth/auth.ts', '../rpc/caller.ts'],
  ['src/auth/auth.ts', '../../gen/kith/auth/v1/auth_service_pb.ts', 'type'],
  ['src/auth/auth.ts', '@connectrpc/connect'],
  ['src/auth/auth.ts', 'kysely'],
  ['src/auth/auth.ts', 'node:sqlite'],
  ['src/auth/service.ts', '../users/service.ts'],
  ['src/auth/service.ts', '../users/store.ts'],
  ['src/auth/service.ts', './store.ts'],
  ['src/auth/service.ts', '../server.ts'],
  ['src/auth/service.ts', 'kysely'],
  ['src/auth/service.ts', 'node:sqlite'],
  ['src/users/messages.ts', './store.ts'],
  ['src/users/messages.ts', 'kysely/migration'],
  ['src/users/store.ts', '../contacts/store.ts'],
  ['src/users/store.ts', '../server.ts'],
  ['src/users/store.ts', './service.ts'],
  ['src/users/store.ts', '@bufbuild/protobuf'],
  ['src/users/store.ts', '../rpc/enums.ts'],
  ['src/users/store.ts', 'node:sqlite'],
  ['src/pages.ts', './verify/verify.ts'],
  ['src/main.ts', './verify/verify.ts'],
  ['src/purge.ts', './verify/roles.ts', 'type'],
  ['src/server.ts', './verify/verify.ts'],
  ['src/rpc/access.ts', '../verify/roles.ts'],
  ['src/db/once.ts', '../verify/clock.ts'],
  ['src/auth/auth.ts', '../verify/verify.ts'],
  ['src/auth/service.ts', '../verify/verify.ts'],
  ['src/users/store.ts', '../verify/verify.ts'],
  ['src/verify/verify.ts', '../access.ts', 'type'],
  ['src/verify/verify.ts', '../tokens/access-token.ts'],
  ['src/verify/verify.ts', '../../gen/kith/auth/v1/revocation_service_pb.ts'],
  ['src/verify/verify.ts', '@connectrpc/connect'],
  ['src/verify/verify.ts', 'lru-cache'],
  ['src/verify/verify.ts', 'node:crypto'],
  ['src/users/users.test.ts', '../contacts/store.ts'],
  ['src/users/users.test.ts', 'node:sqlite'],
];

const ACCEPTED: Import[] = [
  ['src/pages.ts', './failure.ts'],
  ['src/pages.ts', 'kysely', 'type'],
  ['src/main.ts', './server.ts'],
  ['src/purge.ts', './users/users.ts'],
  ['src/server.ts', './users/service.ts'],
  ['src/auth/service.ts', '../users/messages.ts'],
  ['src/server.ts', '../gen/kith/user/v1/user_service_pb.ts'],
  ['src/server.ts', '@connectrpc/connect'],
  ['src/rpc/access.ts', '../failure.ts'],
  ['src/rpc/access.ts', '../../gen/kith/access/v1/access_pb.ts'],
  ['src/rpc/access.ts', '@connectrpc/connect'],
  ['src/rpc/access.ts', '../lane/lane.ts'],
  ['src/lane/lane.ts', './wire.ts'],
  ['src/lane/lane.ts', '@connectrpc/connect'],
  ['src/lane/lane.ts', '@bufbuild/protobuf'],
  ['src/lane/lane.ts', 'node:http2'],
  ['src/lane/lane.test.ts', '../http/one-port.ts'],
  ['src/scan/binary.ts', './plan.ts'],
  ['src/scan/binary.ts', '@bufbuild/protobuf'],
  ['src/rpc/request-check.ts', '../scan/binary.ts'],
  ['src/db/once.ts', '../failure.ts'],
  ['src/db/once.ts', 'kysely'],
  ['src/db/once.ts', 'node:sqlite'],
  ['src/auth/auth.ts', '../users/users.ts'],
  ['src/auth/auth.ts', '../db/database.ts'],
  ['src/auth/auth.ts', './store.ts'],
  ['src/auth/auth.ts', 'kysely', 'type'],
  ['src/auth/service.ts', './messages.ts'],
  ['src/auth/service.ts', '../rpc/caller.ts'],
  ['src/auth/service.ts', '../../gen/kith/auth/v1/auth_service_pb.ts'],
  ['src/users/messages.ts', '@bufbuild/protobuf'],
  ['src/users/store.ts', 'kysely'],
  ['src/verify/verify.ts', './keys.ts'],
  ['src/verify/verify.ts', 'jose'],
  ['src/verify/verify.test.ts', 'node:http'],
  ['src/verify/verify.test.ts', '../../gen/kith/auth/v1/revocation_service_pb.ts'],
  ['src/users/users.test.ts', './store.ts'],
  ['src/users/users.test.ts', '@connectrpc/connect'],
  ['src/users/users.test.ts', 'kysely'],
  ['src/db/once.test.ts', 'node:sqlite'],
  ['test/users.test.ts', '../gen/kith/user/v1/user_service_pb.ts'],
  ['bench/unary.ts', '@connectrpc/connect-node'],
];

const MISTAKES: Record<string, [rule: string, source: string]> = {
  'src/cycle.ts': ['import(no-cycle)', "import { b } from './cycle-back.ts';\nexport const a = () => b();\n"],
  'src/cycle-back.ts': ['import(no-cycle)', "import { a } from './cycle.ts';\nexport const b = (): unknown => a();\n"],
  'src/floating.ts': ['typescript(no-floating-promises)', 'Promise.resolve();\n'],
  'src/misused.ts': ['typescript(no-misused-promises)', 'if (Promise.resolve(true)) console.log();\n'],
};

interface Diagnostic {
  filename: string;
  code: string;
  labels: { span: { line: number } }[];
}

describe('the linter, on a project of the same layout', () => {
  let root: string;
  let diagnostics: Diagnostic[];
  // One statement a line, so that a diagnostic's line tells which import it is about.
  const lines = Map.groupBy([...REFUSED, ...ACCEPTED], ([file]) => file);

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'architecture-'));
    await copyFile('.oxlintrc.json', join(root, '.oxlintrc.json'));
    await copyFile('tsconfig.json', join(root, 'tsconfig.json'));
    await symlink(resolve('node_modules'), join(root, 'node_modules'));
    for (const [file, imports] of lines) await write(join(root, file), imports.map(statement).join('\n'));
    for (const [file, [, source]] of Object.entries(MISTAKES)) await write(join(root, file), source);
    diagnostics = await lint(root);
  });

  afterAll(() => rm(root, { recursive: true }));

  const isRefused = (wanted: Import) =>
    diagnostics.some(
      ({ filename, code, labels }) =>
        filename === wanted[0] &&
        code === 'eslint(no-restricted-imports)' &&
        lines.get(filename)?.[(labels[0]?.span.line ?? 0) - 1] === wanted,
    );

  test.each(REFUSED.map((entry) => ({ entry, name: name(entry) })))('refuses $name', ({ entry }) => {
    expect(isRefused(entry)).toBe(true);
  });

  test.each(ACCEPTED.map((entry) => ({ entry, name: name(entry) })))('accepts $name', ({ entry }) => {
    expect(isRefused(entry)).toBe(false);
  });

  test.each(Object.entries(MISTAKES))('refuses the mistake in %s', (file, [rule]) => {
    expect(diagnostics).toContainEqual(expect.objectContaining({ filename: file, code: rule }));
  });
});

test('only src/db and the configuration name a database engine', async () => {
  const naming = [];
  for await (const file of glob('src/**/*.ts', { exclude: ['**/node_modules', 'src/db', 'src/config{,.test}.ts'] })) {
    if (/sqlite|postgres/i.test(await readFile(file, 'utf8'))) naming.push(file);
  }
  expect(naming).toEqual([]);
});

function statement([, module, kind]: Import, line: number): string {
  return `import ${kind ?? ''} { name${line} } from '${module}';`;
}

function name([file, module, kind]: Import): string {
  return `${kind === 'type' ? 'the types of ' : ''}${module} in ${file}`;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** What the linter says, whose exit code is 1 when it finds something. */
function lint(cwd: string): Promise<Diagnostic[]> {
  const oxlint = resolve('node_modules/oxlint/bin/oxlint');
  return new Promise((done, fail) => {
    // The folders by name: without, it would follow the link to node_modules.
    const args = [oxlint, '--type-aware', '--format=json', 'src', 'test', 'bench'];
    execFile(process.execPath, args, { cwd }, (error, stdout, stderr) => {
      if (error !== null && error.code !== 1) fail(new Error(stderr, { cause: error }));
      else done(JSON.parse(stdout).diagnostics);
    });
  });
}
