/**
 * Check the contract in proto/ for breaking changes: `proto-breaking.ts [ref]`.
 *
 * `buf breaking --against .git#...` alone fails, since a git tree holds neither
 * node_modules nor .proto-deps: the ref's protos are laid beside ours and built
 * to an image first. Needs .proto-deps (scripts/proto-deps.ts).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempDisposableSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ref = process.argv[2] ?? baseline();
if (ref === undefined) {
  console.log('nothing to compare with: no earlier commit is at hand');
} else if (commit(ref) === undefined) {
  console.error(`${ref} is not a commit`);
  process.exitCode = 1;
} else if (git('ls-tree', ref, 'proto/') === '') {
  console.log(`nothing to compare with: ${ref} holds no proto/`);
} else {
  process.exitCode = compareWith(ref);
}

/**
 * The commit whose contract this tree must keep: on a branch, where it left
 * main; on main with uncommitted protos, HEAD. On main as it stands, which is
 * what CI checks, the release before HEAD, or while there is none its parent.
 * Undefined when the history holds no such commit, as in a shallow clone.
 */
function baseline(): string | undefined {
  const head = commit('HEAD');
  const main = commit('origin/main') ?? commit('main');
  if (head === undefined || main === undefined) return undefined;
  const base = git('merge-base', head, main);
  if (base !== head) return base;
  if (git('status', '--porcelain', '--', 'proto') !== '') return head;
  const parent = commit('HEAD^');
  return parent && (git('describe', '--tags', '--abbrev=0', '--match', 'v[0-9]*', parent) ?? parent);
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
