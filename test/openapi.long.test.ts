import { existsSync } from 'node:fs';
import { mkdir, mkdtempDisposable, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { needCommand, run, skipLoudly } from './support/commands.ts';
import { type Kith, startKith } from './support/kith.ts';

/** What is installed is kept between runs, beside the caches of pip. */
const CACHE =
  process.env['KITH_TOOLCHAINS'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kith-toolchains');
const SCHEMATHESIS = 'schemathesis==4.32.5';
/** How many requests are made up for each operation beside those that cover its schema: a number, and no time, so that each run makes the same ones. */
const EXAMPLES = 4;

/** They end the session of the run: what is found in answers is sent again, its own user id among it. */
const EXCLUDED = [
  'AuthService_Logout',
  'AuthService_ChangePassword',
  'SessionService_RevokeSession',
  'SessionService_RevokeAllSessions',
  'SigningKeyService_RotateSigningKey',
  'UserService_SetUserPassword',
];

let kith: Kith;
beforeAll(async () => {
  kith = await startKith();
});
afterAll(() => kith?.[Symbol.asyncDispose]());

test('what is made up from the OpenAPI document is answered as the document says, and never with a fault of the server', {
  timeout: 10 * 60_000,
}, async (context) => {
  const schemathesis = await install(context);
  const { accessToken } = await kith.admin();
  await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-openapi-')); // where it writes
  const args = [
    '--no-color',
    'run',
    `${kith.address}/openapi.json`,
    '--header',
    `authorization: Bearer ${accessToken}`,
    ...EXCLUDED.flatMap((id) => ['--exclude-operation-id', id]),
    '--checks',
    'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance',
    '--phases',
    'examples,coverage,fuzzing',
    '--max-examples',
    String(EXAMPLES),
    '--generation-deterministic',
    '--suppress-health-check',
    'all',
    '--continue-on-failure',
  ];
  const { code, stdout, stderr } = await run(schemathesis, args, {}, directory.path);
  expect(code, `${stdout}\n${stderr}`).toBe(0);
  expect(stdout).toMatch(/\d{3,} generated, \d{3,} passed/);
});

/** The path of schemathesis, of exactly this version. */
async function install(context: TestContext): Promise<string> {
  const python = needCommand(context, 'python3');
  const dir = join(CACHE, SCHEMATHESIS.replace('==', '-'));
  const path = join(dir, 'bin/schemathesis');
  if (existsSync(path)) return path;
  await mkdir(CACHE, { recursive: true });
  await rm(dir, { recursive: true, force: true });
  const steps: [string, string[]][] = [
    [python, ['-m', 'venv', dir]],
    [join(dir, 'bin/python'), ['-m', 'pip', 'install', '-q', '--only-binary', ':all:', SCHEMATHESIS]],
  ];
  for (const [command, args] of steps) {
    const { code, stderr } = await run(command, args);
    if (code !== 0) {
      await rm(dir, { recursive: true, force: true });
      return skipLoudly(context, `${SCHEMATHESIS} cannot be installed (${stderr.trim().split('\n').at(-1)})`);
    }
  }
  return path;
}
