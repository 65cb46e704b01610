/**
 * Run every static check of the repository and report all that fail. Changes no
 * tracked file. Commands come from node_modules/.bin, which `npm run` puts on
 * the PATH.
 */
import { spawn } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

await using fresh = await mkdtempDisposable(join(tmpdir(), 'verify-'));

// In order: buf needs .proto-deps, and the comparison needs the fresh output.
const STEPS: [name: string, command: string][] = [
  ['third-party protos', 'node scripts/proto-deps.ts'],
  ['generate', `buf generate --output ${fresh.path} && buf build proto -o ${fresh.path}/gen/contract.binpb`],
  ['documents of the contract', `node scripts/contract-documents.ts ${fresh.path}`],
  [
    'docs/reference/ is current (npm run generate)',
    `git diff --no-index --stat docs/reference ${fresh.path}/docs/reference`,
  ],
  ['gen/ is current (npm run generate)', `git diff --no-index --stat gen ${fresh.path}/gen`],
  ['generate for the client', `buf generate --template packages/client/buf.gen.yaml --output ${fresh.path}`],
  [
    'packages/client/src/gen is current (npm run generate)',
    `git diff --no-index --stat packages/client/src/gen ${fresh.path}/packages/client/src/gen`,
  ],
  ['README settings are current (npm run generate)', 'node scripts/readme-settings.ts --check'],
  ['docs/cli.md is current (npm run generate)', 'node scripts/cli-reference.ts --check'],
  ['the list of migrations is current (npm run generate)', 'node scripts/migration-list.ts --check'],
  ['common passwords are current (npm run generate)', 'node scripts/common-passwords.ts --check'],
  ['buf lint', 'buf lint'],
  ['buf format (npm run format)', 'buf format --diff --exit-code proto'],
  ['buf breaking', 'node scripts/proto-breaking.ts'],
  ['buf, protobufjs and protoc 3.21 read the contract', 'node scripts/check-toolchains.ts'],
  ['biome format (npm run format)', 'biome format'],
  ['imports go one way', 'node scripts/check-imports.ts'],
  ['oxlint', 'npm run --silent lint'],
  ['tsc', 'tsc --noEmit'],
  ['knip', 'knip --no-progress'],
  ['production dependencies', 'node scripts/check-dependencies.ts'],
];

const startedAt = performance.now();
let failures = 0;
for (const [name, command] of STEPS) {
  const stepStartedAt = performance.now();
  const { ok, output } = await run(command);
  if (!ok) failures += 1;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}, ${seconds(stepStartedAt)}`);
  if (!ok) console.log(`$ ${command}\n${output.trimEnd()}\n`);
  // What a check left out is told, also when the rest of it is well.
  else for (const line of output.match(/^(?:NOT COMPARED|SKIPPED).*/gm) ?? []) console.log(`     ${line}`);
}
console.log(`${failures === 0 ? 'verified' : `${failures} of ${STEPS.length} checks failed`}, ${seconds(startedAt)}`);
process.exitCode = failures === 0 ? 0 : 1;

async function run(command: string): Promise<{ ok: boolean; output: string }> {
  // Both streams into one, so that messages keep their order.
  const child = spawn('/bin/sh', ['-c', `${command} 2>&1`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const output = await text(child.stdout);
  return { ok: (await exit) === 0, output };
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
