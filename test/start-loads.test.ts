import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { grpc } from './support/kith.ts';
import { startProcess } from './support/process.ts';

/** What a start on SQLite has no use for. Fetch is Node's own, and takes as long as a fifth of Kith. */
const NOT_LOADED = ['nodemailer', 'pg', 'pg-pool', 'pg-protocol'];
const FETCH = 'internal/deps/undici/undici';

/** Some more than are loaded at the time of writing: what a start loads is most of what it takes. */
const FILES_MAX = 40;
const FILE_BYTES_MAX = 4_100_000;
const BUILT_IN_MAX = 240;

// docs/decisions/start.md
test('a start loads no more than it needs until somebody has signed in', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-loads-'));
  const told = join(directory.path, 'loaded.json');
  const hook = fileURLToPath(new URL('./fixtures/loaded-modules.cjs', import.meta.url));
  await using kith = await startProcess({
    env: { NODE_OPTIONS: `--require=${hook}`, LOADED_MODULES: told, KITH_ADMIN_PASSWORD: 'the password of a test' },
  });
  const client = createClient(AuthService, grpc(kith.address));
  await client.login({ identifier: 'admin', password: 'the password of a test' });
  kith.kill('SIGUSR2');
  await kith.stderrMatching(/SIGUSR2/);
  const loaded = JSON.parse(await readFile(told, 'utf8')) as Record<'files' | 'builtIn', string[]>;
  const sources = await Promise.all(loaded.files.map((file) => readFile(new URL(file), 'utf8')));
  const packages = sources.flatMap((source) =>
    Array.from(source.matchAll(/^\s*\/\/ (?:\.\.\/)*node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//gm), ([, name]) => name),
  );
  expect(packages).toContain('fastify'); // they are told by the comments of the bundle
  expect(packages.filter((name) => NOT_LOADED.includes(name ?? ''))).toEqual([]);
  expect(loaded.builtIn).not.toContain(FETCH);
  const bytes = sources.reduce((sum, source) => sum + Buffer.byteLength(source), 0);
  expect({ files: loaded.files.length, bytes, builtIn: loaded.builtIn.length }).toEqual({
    files: expect.toSatisfy((count: number) => count <= FILES_MAX),
    bytes: expect.toSatisfy((count: number) => count <= FILE_BYTES_MAX),
    builtIn: expect.toSatisfy((count: number) => count <= BUILT_IN_MAX),
  });
  // A character beyond ASCII has V8 keep two bytes for each of a source.
  const wide = loaded.files.filter((_, i) => sources[i]!.length > 100_000 && /[^\0-\x7f]/.test(sources[i]!));
  expect(wide).toEqual([]);
});
