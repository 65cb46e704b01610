import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { needCommand, run } from './support/commands.ts';
import { ADMIN_PASSWORD, startKith } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { patternOf, runSteps, sectionOf, stepsOf } from './support/tour.ts';
import { signedIn } from './support/sign-in.ts';

const README = readFileSync('README.md', 'utf8');

describe('README.md', () => {
  test('the tour with curl runs as printed', { timeout: 60_000 }, async (context) => {
    const bash = needCommand(context, 'bash');
    needCommand(context, 'curl');
    const tour = sectionOf(README, '## A tour with curl');
    const [, password] = /KITH_ADMIN_PASSWORD='([^']+)'/.exec(tour)!;
    await using kith = await startAt(8080, { KITH_ADMIN_PASSWORD: password! });
    const steps = stepsOf(tour.replaceAll('http://localhost:8080', kith.address));
    const { code, outputs, stderr } = await runSteps(bash, steps);
    expect({ code, steps: outputs.length, stderr }).toEqual({ code: 0, steps: steps.length, stderr: '' });
    for (const [i, { line, expected = '' }] of steps.entries()) {
      expect.soft(outputs[i], `README.md:${line}`).toMatch(patternOf(expected));
    }
    expect(steps.length).toBeGreaterThanOrEqual(8);
  });

  test('the example of a client runs as printed', async () => {
    await using kith = await startKith();
    const { accessToken: admin } = await kith.admin();
    const [, code] = /^```ts\n(.*?)^```$/ms.exec(sectionOf(README, '## Clients'))!;
    const [, identifier, password] = /identifier: '([^']+)', password: '([^']+)'/.exec(code!)!;
    await kith
      .client(UserService, admin)
      .createUser({ username: identifier!, email: `${identifier}@example.org`, name: 'X', password: password! });
    const { accessToken } = await signedIn(
      kith.client(AuthService).login({ identifier: identifier!, password: password! }),
    );
    await kith.client(ContactService, accessToken).createContact({ givenName: 'Grace', familyName: 'Hopper' });
    const script = code!.replaceAll('http://localhost:8080', kith.address);
    const outcome = await run(process.execPath, ['--input-type=module-typescript', '--eval', script]);
    expect(outcome).toEqual({ code: 0, stdout: 'Grace Hopper\n', stderr: '' });
  });
});

describe('the examples of a client in README.md, one after the other', () => {
  const [first = '', second = ''] = [...sectionOf(README, '## Clients').matchAll(/^```ts\n(.*?)^```$/gms)].map(
    ([, code]) => code!,
  );
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kith-readme-'));
    for (const name of ['gen', 'node_modules']) await symlink(resolve(name), join(directory, name));
    await writeFile(join(directory, 'package.json'), '{"type":"module"}');
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  test('have no error of types', async () => {
    const file = join(directory, 'types.ts');
    await writeFile(file, first + second);
    const options = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024'];
    const more = ['--module', 'nodenext', '--allowImportingTsExtensions', '--types', 'node', '--lib', 'esnext,dom'];
    const args = [resolve('node_modules/typescript/bin/tsc'), ...options, ...more, file];
    expect(await run(process.execPath, args)).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('watch on after a cursor that is not taken, an interruption and the end of the access token', async () => {
    await using relay = await startRelay();
    await using kith = await startKith();
    relay.upstream = kith.address;
    const { accessToken: admin } = await kith.admin();
    const [, username, password] = /identifier: '([^']+)', password: '([^']+)'/.exec(first)!;
    const users = kith.client(UserService, admin);
    const account = { username: username!, email: `${username}@example.org`, name: 'X', password: password! };
    const { user } = await users.createUser(account);
    const file = join(directory, 'watch.ts');
    const code = (first + second).replaceAll('http://localhost:8080', relay.address);
    await writeFile(file, code.replace("cursor = '';", "cursor = 'of another log';"));
    await using stack = new AsyncDisposableStack();
    const child = spawn(process.execPath, [file], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
    stack.defer(async () => {
      child.kill('SIGKILL');
      await once(child, 'close');
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const expectTold = async (action: string) => expect((await lines.next()).value).toBe(action);
    // Two subscriptions for each watch.
    await expect.poll(() => kith.subscriptions(), { timeout: 60_000 }).toBe(2);
    await expectTold('kith.user.created');
    await expectTold('kith.session.started');
    await users.updateUser({ userId: user!.id, name: 'Ada' });
    await expectTold('kith.user.updated');

    kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
    const { accessToken: later } = await signedIn(
      kith.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
    );
    relay.cut(() => true);
    await kith.client(UserService, later).updateUser({ userId: user!.id, name: 'Ada Lovelace' });
    await expectTold('kith.user.updated');
  });
});

describe('the runner of tours', () => {
  const DOCUMENT = `# Title
## Tour
\`\`\`sh
A=1
\`\`\`
Words.
### Below
\`\`\`sh
# not a heading
echo '{"id":"'$A'","list":[1,2]}'
\`\`\`
\`\`\`json
{"id":"...",...}
\`\`\`
## Next
\`\`\`sh
exit 9
\`\`\`
`;

  test('takes the blocks under a heading and its sub-headings, with their lines', () => {
    expect(stepsOf(sectionOf(DOCUMENT, '## Tour'))).toEqual([
      { line: 4, commands: 'A=1\n', expected: undefined },
      { line: 9, commands: `# not a heading\necho '{"id":"'$A'","list":[1,2]}'\n`, expected: '{"id":"...",...}\n' },
    ]);
    expect(() => sectionOf(DOCUMENT, '## Missing')).toThrow('## Missing');
  });

  test('keeps variables from one block to the next', async (context) => {
    const { code, outputs } = await runSteps(needCommand(context, 'bash'), stepsOf(sectionOf(DOCUMENT, '## Tour')));
    expect({ code, outputs }).toEqual({ code: 0, outputs: ['', '{"id":"1","list":[1,2]}\n'] });
  });

  test('stops at the first command that fails', async (context) => {
    const steps = stepsOf('```sh\necho 1\nfalse\necho 2\n```\n```sh\necho 3\n```\n');
    const { code, outputs } = await runSteps(needCommand(context, 'bash'), steps);
    expect({ code, outputs }).toEqual({ code: 1, outputs: ['1\n'] });
  });

  test.each([
    { expected: '{"id":"...","a":1}', output: '{"id":"77","a":1}\n', matches: true },
    { expected: '{"id":"...","a":1}', output: '{"id":"77","a":2}\n', matches: false },
    { expected: '{"id":"...","a":1}', output: '{"id":"77","a":1}\nmore', matches: false },
    { expected: '{\n  "a": 1,\n  ...\n}', output: '{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n', matches: true },
    { expected: '{"a":[...]}401', output: '{"a":[1]}401\n', matches: true },
    { expected: '{"a":1}', output: '', matches: false },
    { expected: '', output: '\n', matches: true },
    { expected: '', output: 'more', matches: false },
    { expected: 'a.b (c)', output: 'a.b (c)', matches: true },
    { expected: 'a.b', output: 'axb', matches: false },
  ])('$expected matches $output: $matches', ({ expected, output, matches }) => {
    expect(patternOf(expected).test(output)).toBe(matches);
  });
});

/** Starts at the port that is printed or, when that is taken, at another. */
async function startAt(port: number, env: Record<string, string>) {
  try {
    return await startProcess({ env: { ...env, KITH_PORT: String(port) } });
  } catch {
    return startProcess({ env });
  }
}
