import { glob, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { type Import, importsOf, refuseImports } from '../scripts/check-imports.ts';

type Case = [file: string, module: string, kind?: 'type'];

const REFUSED: readonly Case[] = [
  ['src/kernel/failure.ts', '../../gen/kith/error/v1/error_pb.ts'],
  ['src/kernel/failure.ts', '../storage/pages.ts'],
  ['src/storage/idempotency.ts', '../activity/activity.ts', 'type'],
  ['src/storage/idempotency.ts', '../../gen/kith/user/v1/user_pb.ts'],
  ['src/rpc/access.ts', '../contacts/contacts.ts', 'type'],
  ['src/rpc/access.ts', 'kysely'],
  ['src/http/one-port.ts', '../server.ts'],
  ['src/http/one-port.ts', '@connectrpc/connect'],
  ['src/scan/binary.ts', '@connectrpc/connect'],
  ['src/contacts/contacts.ts', '../server.ts'],
  ['src/contacts/contacts.ts', '../rpc/caller.ts'],
  ['src/contacts/contacts.ts', './service.ts'],
  ['src/contacts/contacts.ts', './messages.ts'],
  ['src/contacts/contacts.ts', '../identity/users/store.ts', 'type'],
  ['src/contacts/contacts.ts', '../../gen/kith/contact/v1/contact_pb.ts', 'type'],
  ['src/contacts/contacts.ts', 'kysely'],
  ['src/contacts/service.ts', './store.ts'],
  ['src/contacts/service.ts', '../identity/users/service.ts'],
  ['src/contacts/store.ts', '../rpc/enums.ts'],
  ['src/contacts/store.ts', 'node:sqlite'],
  ['src/a-slice-of-tomorrow/things.ts', '../contacts/store.ts'],
  ['src/contacts/contacts.test.ts', '../identity/users/store.ts'],
  ['src/contacts/contacts.ts', '../services.ts'],
  ['src/server.ts', './contacts/service.ts'],
  ['src/server.ts', './main.ts'],
  ['src/server.ts', '../packages/verify/src/verify.ts'],
  ['src/main.ts', 'pg'],
  ['packages/verify/src/verify.ts', 'node:crypto'],
  ['packages/verify/src/verify.ts', '../../../gen/kith/auth/v1/revocation_service_pb.ts'],
  ['packages/connect-fast/src/call-format.ts', '../../../src/kernel/failure.ts'],
  ['packages/connect-fast/src/call-format.ts', 'fastify'],
  ['src/rpc/access.ts', '../../packages/connect-fast/src/context.ts'],
  ['packages/client/src/kith.ts', '@bufbuild/protovalidate'],
  ['packages/client/src/kith.ts', 'node:fs/promises'],
  ['packages/client/src/kith.ts', '@connectrpc/connect-node'],
  ['packages/client/src/services.ts', '../../../gen/kith/user/v1/user_service_pb.ts'],
  ['src/identity/tokens/access-token.ts', '../../../packages/verify/src/keys.ts'],
];

const ACCEPTED: readonly Case[] = [
  ['src/kernel/failure.ts', '../../gen/kith/error/v1/error_pb.ts', 'type'],
  ['src/storage/idempotency.ts', 'kysely'],
  ['src/storage/sqlite.ts', 'node:sqlite'],
  ['src/contacts/contacts.ts', './store.ts'],
  ['src/contacts/contacts.ts', '../activity/log/log.ts'],
  ['src/contacts/contacts.ts', 'kysely', 'type'],
  ['src/contacts/service.ts', './messages.ts'],
  ['src/contacts/service.ts', '../rpc/caller.ts'],
  ['src/contacts/service.ts', '@connectrpc/connect'],
  ['src/activity/activity.ts', './log/store.ts'],
  ['src/services.ts', './contacts/service.ts'],
  ['src/services.ts', '../gen/kith/contact/v1/contact_service_pb.ts'],
  ['src/contacts/contacts.test.ts', './store.ts'],
  ['src/contacts/contacts.test.ts', 'kysely'],
  ['packages/connect-fast/src/call-format.ts', '@connectrpc/connect/protocol'],
  ['src/rpc/access.ts', '../../packages/connect-fast/src/index.ts'],
  ['packages/verify/src/verify.ts', 'jose'],
  ['packages/client/src/kith.ts', '@connectrpc/connect-web'],
  ['packages/client/src/services.ts', './gen/kith/user/v1/user_service_pb.ts'],
  ['packages/client/src/file-store.ts', 'node:fs/promises'],
  ['src/identity/tokens/access-token.ts', '../../../packages/verify/src/access-token.ts'],
  ['src/kernel/access.ts', '../../packages/verify/src/roles.ts'],
];

const toImport = ([file, module, kind]: Case): Import => ({ file, module, isType: kind === 'type' });

describe('the check of imports', () => {
  test.each(REFUSED)('refuses %s -> %s %s', (...of) => {
    expect(refuseImports([toImport(of)])).toEqual([expect.stringContaining(`${of[0]}: ${of[1]}: `)]);
  });

  test.each(ACCEPTED)('accepts %s -> %s %s', (...of) => {
    expect(refuseImports([toImport(of)])).toEqual([]);
  });

  test('refuses folders that import each other in a cycle, though no files do', () => {
    expect(
      refuseImports([
        toImport(['src/contacts/contacts.ts', '../identity/users/users.ts']),
        toImport(['src/identity/users/accounts.ts', '../sessions/sessions.ts']),
        toImport(['src/identity/sessions/refresh-token.ts', '../../contacts/contact.ts']),
      ]),
    ).toEqual(['folders in a cycle: src/contacts -> src/identity/users -> src/identity/sessions -> src/contacts']);
  });

  test('finds every form of import', () => {
    const source = [
      "import a from './a.ts';",
      "import type { B } from './b.ts';",
      "export {\n  c,\n  d,\n} from './c.ts';",
      "const e = await import('./e.ts');",
    ].join('\n');
    expect(importsOf('src/x.ts', source).map(({ module, isType }) => [module, isType])).toEqual([
      ['./a.ts', false],
      ['./b.ts', true],
      ['./c.ts', false],
      ['./e.ts', false],
    ]);
  });
});

test('only the clock reads the clock: all else is given one, or measures by that of the machine', async () => {
  const reading = [];
  for await (const file of glob('src/**/*.ts', { exclude: ['src/kernel/clock.ts'] })) {
    if (/\.(test|testkit)\.ts$/.test(file)) continue;
    if (/\b(Date|performance)\.now\b|\bhrtime\b|new Date\(\)/.test(await readFile(file, 'utf8'))) reading.push(file);
  }
  expect(reading).toEqual([]);
});

test('ids are made in one place, which keeps them in order', async () => {
  const making = [];
  for await (const file of glob('src/**/*.ts', { exclude: ['src/kernel/id.ts'] })) {
    if (/\.(test|testkit)\.ts$/.test(file)) continue;
    if (/\brandomUUIDv7\b/.test(await readFile(file, 'utf8'))) making.push(file);
  }
  expect(making).toEqual([]);
});

test('only src/storage and the configuration name a database engine', async () => {
  const naming = [];
  for await (const file of glob('src/**/*.ts', { exclude: ['src/storage', 'src/config/config{,.test}.ts'] })) {
    if (/sqlite|postgres/i.test(await readFile(file, 'utf8'))) naming.push(file);
  }
  expect(naming).toEqual([]);
});
