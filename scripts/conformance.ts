/**
 * Run the official conformance tests of Connect, gRPC and gRPC-Web against
 * Kith's stack, with the fast path and without, and against the transports of
 * @kith/client. Options are the runner's:
 * `npm run conformance -- --run 'Timeouts/**' --trace`. Fails when any case does.
 *
 * The runner and the contract of its tests come as a module for Go. Where there
 * is no Go the tests are skipped, which is said and is no failure.
 */
import { spawn } from 'node:child_process';
import { access, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';

const MODULE = 'connectrpc.com/conformance';
const VERSION = 'v1.0.5';
/** What is installed once, and not committed. */
const FOLDER = resolve('tmp/conformance', VERSION);

if (await hasGo()) process.exitCode = (await runAll(process.argv.slice(2))) ? 0 : 1;
else console.log('WARNING: no go on the PATH: THE CONFORMANCE TESTS ARE SKIPPED');

async function runAll(options: readonly string[]): Promise<boolean> {
  const runner = await installRunner();
  const contract = await compileContract();
  const server = (fastPath: string) => ['server', 'config.yaml', 'server.ts', contract, fastPath] as const;
  const subjects: Record<string, readonly [mode: string, config: string, program: string, ...args: string[]]> = {
    'fast path on': server('on'),
    'fast path off': server('off'),
    'client over gRPC': ['client', 'client-grpc.yaml', 'client.ts', contract],
    'client over fetch': ['client', 'client-web.yaml', 'client.ts', contract],
  };
  const outcomes: { readonly name: string; readonly code: number | null; readonly counts: string }[] = [];
  for (const [name, [mode, config, program, ...args]] of Object.entries(subjects)) {
    console.log(`\n${name}`);
    const command = [process.execPath, join('conformance', program), ...args];
    const all = ['--mode', mode, '--conf', join('conformance', config), ...options, '--', ...command];
    const { code, output } = await run(runner, all, { isShown: true });
    const [counts = `the runner ended before its tests, with ${code ?? 'a signal'}`] =
      /^\d+ passed, \d+ failed.*$/m.exec(output) ?? [];
    outcomes.push({ name, code, counts });
  }
  console.log();
  for (const { name, counts } of outcomes) console.log(`${name}: ${counts}`);
  return outcomes.every(({ code }) => code === 0);
}

async function hasGo(): Promise<boolean> {
  try {
    await access(await goPath());
    return true;
  } catch {
    return false;
  }
}

/** Where `go` keeps itself, which only a working one can say. */
async function goPath(): Promise<string> {
  return (await must('go', ['env', 'GOROOT'])).trim();
}

/** The runner's path. */
async function installRunner(): Promise<string> {
  const runner = join(FOLDER, 'connectconformance');
  if (!(await exists(runner))) {
    console.log(`installing ${MODULE} ${VERSION} to ${FOLDER}`);
    await must('go', ['install', `${MODULE}/cmd/connectconformance@${VERSION}`], { GOBIN: FOLDER });
  }
  return runner;
}

/** The path of the compiled contract. */
async function compileContract(): Promise<string> {
  const contract = join(FOLDER, 'contract.binpb');
  if (!(await exists(contract))) {
    await mkdir(FOLDER, { recursive: true });
    const { Dir } = JSON.parse(await must('go', ['mod', 'download', '-json', `${MODULE}@${VERSION}`])) as {
      Dir: string;
    };
    await must('buf', ['build', Dir, '--output', contract]);
  }
  return contract;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** What a command prints. Throws when it fails. */
async function must(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, output } = await run(command, args, { env });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
  return output;
}

async function run(
  command: string,
  args: readonly string[],
  { env, isShown = false }: { readonly env?: Record<string, string>; readonly isShown?: boolean },
): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  const exit = new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
  if (isShown) child.stdout.pipe(process.stdout);
  const [code, output] = await Promise.all([exit, text(child.stdout)]);
  return { code, output };
}
