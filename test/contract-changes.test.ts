import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempDisposableSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const SCRIPT = resolve('scripts/proto-breaking.ts');
const FILE = 'proto/kith/activity/v1/activity_service.proto';

test('the contract may change until there is a release, and keeps the newest one from then on', () => {
  using repo = cloneOfContract();
  rename(repo.path, 'NewActivity', 'AnyActivity');
  expect(compare(repo.path)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('NOT COMPARED: no release yet'),
  });

  git(repo.path, 'commit', '-qam', 'Rename before the release');
  for (const tag of ['v1.0.0-rc.1', 'v1.0.0', 'v0.9.0', 'unrelated']) git(repo.path, 'tag', tag);
  expect(compare(repo.path)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('keeps the contract of v1.0.0\n'),
  });

  rename(repo.path, 'AnyActivity', 'SomeActivity');
  expect(compare(repo.path)).toMatchObject({
    status: 100,
    stdout: expect.stringContaining('breaks the contract of v1.0.0\n'),
  });

  git(repo.path, 'commit', '-qam', 'Rename after it');
  git(repo.path, 'tag', 'v2.0.0');
  expect(compare(repo.path).stdout).toContain('keeps the contract of v2.0.0\n');

  // A branch of the older release keeps that one.
  git(repo.path, 'reset', '-q', '--hard', 'v1.0.0');
  expect(compare(repo.path).stdout).toContain('keeps the contract of v1.0.0\n');
});

/** A repository of its own that holds proto/ and what buf needs to build it. */
function cloneOfContract() {
  const dir = mkdtempDisposableSync(join(tmpdir(), 'contract-'));
  for (const name of ['proto', 'buf.yaml']) cpSync(name, join(dir.path, name), { recursive: true });
  for (const name of ['node_modules', '.proto-deps']) symlinkSync(resolve(name), join(dir.path, name));
  git(dir.path, 'init', '-q');
  git(dir.path, 'add', 'proto', 'buf.yaml');
  git(dir.path, 'commit', '-qm', 'Start');
  return dir;
}

/** What comparing says in `cwd`. */
function compare(cwd: string) {
  return spawnSync(process.execPath, [SCRIPT], { cwd, encoding: 'utf8' });
}

function git(cwd: string, ...args: string[]): void {
  execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], { cwd });
}

/** Replace a text that stands in the file of ActivityService. */
function rename(cwd: string, from: string, to: string): void {
  const path = join(cwd, FILE);
  const source = readFileSync(path, 'utf8');
  expect(source).toContain(from);
  writeFileSync(path, source.replaceAll(from, to));
}
