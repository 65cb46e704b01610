/**
 * Check the contract in proto/ for changes that break clients of the newest
 * release: `proto-breaking.ts [ref]`, `ref` being another commit to compare with.
 *
 * A release is a tag `v1.2.3`. Until there is one, the contract promises nothing
 * and nothing is compared. CI has to fetch tags: a clone without them says so.
 *
 * `buf breaking --against .git#...` alone fails, since a git tree holds neither
 * node_modules nor .proto-deps: the ref's protos are laid beside ours and built
 * to an image first. Needs .proto-deps (scripts/proto-deps.ts).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempDisposableSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ref = process.argv[2] ?? newestRelease();
if (ref === undefined) {
  console.log('NOT COMPARED: no release yet, this clone has no tag v* before HEAD, so any change is allowed');
} else if (commit(ref) === undefined) {
  console.error(`${ref} is not a commit`);
  process.exitCode = 1;
} else if (git('ls-tree', ref, 'proto/') === '') {
  console.log(`nothing to compare with: ${ref} holds no proto/`);
} else {
  process.exitCode = compareWith(ref);
}

/**
 * The newest release that HEAD descends from, so that a branch of an older
 * release is not compared with a later one. A pre-release counts, and is older
 * than its release. Undefined when there is none.
 */
function newestRelease(): string | undefined {
  const order = ['-c', 'versionsort.suffix=-', 'tag', '--sort=-version:refname'];
  return git(...order, '--list', 'v[0-9]*', '--merged', 'HEAD')?.split('\n')[0] || undefined;
}

/** The exit code for the contract of `ref`. */
function compareWith(ref: string): number {
  using dir = mkdtempDisposableSync(join(tmpdir(), 'proto-breaking-'));
  const protos = execFileSync('git', ['archive', ref, 'proto'], { maxBuffer: 2 ** 28 });
  execFileSync('tar', ['-x', '-C', dir.path], { input: protos });
  // Today's buf.yaml: the modules it names are the ones installed.
  cpSync('buf.yaml', join(dir.path, 'buf.yaml'));
  for (const name of ['node_modules', '.proto-deps']) symlinkSync(resolve(name), join(dir.path, name));
  const image = join(dir.path, 'image.binpb');
  execFileSync('buf', ['build', 'proto', '-o', image], { cwd: dir.path, stdio: 'inherit' });
  const { status } = spawnSync('buf', ['breaking', 'proto', '--against', image], { stdio: 'inherit' });
  console.log(`${status === 0 ? 'keeps' : 'breaks'} the contract of ${ref}`);
  return status ?? 1;
}

function commit(name: string): string | undefined {
  return git('rev-parse', '--quiet', '--verify', `${name}^{commit}`);
}

/** What git prints, or undefined when it fails. */
function git(...args: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}
