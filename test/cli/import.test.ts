import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShell, type Shell } from '../support/command-line.ts';
import { findCommand, run } from '../support/commands.ts';
import { freePort } from '../support/free-port.ts';
import { ADMIN_PASSWORD } from '../support/kith.ts';
import { type ServingProcess, startProcess } from '../support/process.ts';

let server: ServingProcess;
let shell: Shell;
/** An address where nobody listens. */
let nowhere: string;
beforeAll(async () => {
  nowhere = `http://127.0.0.1:${await freePort()}`;
  server = await startProcess({ env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
  shell = await openShell({ KITH_URL: server.address });
  await shell.kithHere(['login', 'admin'], { input: `${ADMIN_PASSWORD}\n` });
});
afterAll(async () => {
  await shell[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Writes a file, and gives its path. */
const put = async (name: string, text: string): Promise<string> => {
  const path = join(shell.directory, name);
  await writeFile(path, text);
  return path;
};
const HASH = '$2b$10$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';
const record = (username: string, more: object = {}) =>
  JSON.stringify({ username, email: `${username}@example.org`, name: username, password_hash: HASH, ...more });

async function etags(query: string): Promise<string[]> {
  const { stdout } = await shell.kithHere(['users', 'list', '--query', query, '--jsonl']);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { etag: string }).etag)
    .toSorted();
}

test('a file of JSON is imported once, however often it is, and each record that is refused is told with its line', async () => {
  const file = await put(
    'users.jsonl',
    [
      record('ann1'),
      '',
      record('ann2', { role: 'editor' }),
      '{"username": ',
      record('ann3', { email: 'none' }),
      record('ann4', { nmae: 'x' }),
    ].join('\n'),
  );
  const first = await shell.kithHere(['users', 'import', file]);
  expect(first).toMatchObject({ code: 1, stderr: '2 created, 3 refused\nkith: 3 records were refused\n' });
  expect(first.stdout.split('\n').toSorted().join('\n').trim()).toMatch(
    /^line 4: is not JSON: .*\nline 5: email must be a valid email address.* \(FIELDS_INVALID\)\nline 6: there is no field "nmae"; did you mean name\?$/,
  );
  const before = await etags('ann');
  for (const onConflict of ['skip', 'update']) {
    const again = await shell.kithHere(['users', 'import', file, '--on-conflict', onConflict]);
    expect(again.stderr).toMatch(/^0 created, 2 unchanged, 3 refused/);
  }
  expect(await etags('ann')).toEqual(before);
  const failed = await shell.kithHere(
    ['users', 'import', '-', '--format', 'jsonl', '--on-conflict', 'fail', '--jsonl'],
    {
      input: record('ann1', { name: 'Somebody else' }),
    },
  );
  expect(failed.code).toBe(1);
  expect(JSON.parse(failed.stdout)).toMatchObject({ line: 1, reason: 'USER_DIFFERS' });
});

test('a record that no request may have is refused alone, and users who differ are left, changed or refused', async () => {
  const records = (name: string) => [
    record('dot1', { name }),
    record('dot2', { name: 'x'.repeat(100_000) }),
    record('dot3', { external_id: 'dot-3' }),
  ];
  const file = await put('mixed.jsonl', records('Dot').join('\n'));
  expect(await shell.kithHere(['users', 'import', file])).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^line 2: name .* \(FIELDS_INVALID\)\n$/),
    stderr: expect.stringMatching(/^2 created, 1 refused\n/),
  });
  await put('mixed.jsonl', records('Dorothy').join('\n'));
  const again = async (onConflict: string) => {
    const { stdout, stderr } = await shell.kithHere(['users', 'import', file, '--on-conflict', onConflict, '--jsonl']);
    const refused = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { line: number; reason: string; field: string });
    return { refused: refused.map(({ line, reason, field }) => [line, reason, field]), summary: stderr.split('\n')[0] };
  };
  const long = [2, 'FIELDS_INVALID', 'name'];
  expect(await again('skip')).toEqual({ refused: [long], summary: '0 created, 1 unchanged, 1 skipped, 1 refused' });
  const differs = [1, 'USER_DIFFERS', 'name'];
  expect(await again('fail')).toEqual({ refused: [differs, long], summary: '0 created, 1 unchanged, 2 refused' });
  expect(await again('update')).toEqual({ refused: [long], summary: '0 created, 1 updated, 1 unchanged, 1 refused' });
  expect((await shell.kithHere(['users', 'get', 'dot1', '--json'])).stdout).toContain('"name": "Dorothy"');
});

test('columns of CSV are fields by their names or by a map, and conflicts are brought up to date where that is wanted', async () => {
  const csv = (name: string) =>
    `User,email,"Full name",password-hash,role,Notes\r\nbert,bert@example.org,"${name}",${HASH},,"a, b"\r\n`;
  const options = ['--map', 'User=username', '--map', 'Full name=name', '--map', 'Notes=-', '--on-conflict', 'update'];
  const file = await put('users.csv', csv('Bert "B" Bee'));
  expect(await shell.kithHere(['users', 'import', file, ...options])).toMatchObject({
    code: 0,
    stdout: '',
    stderr: '1 created\n',
  });
  await put('users.csv', csv('Bert Bee'));
  expect(await shell.kithHere(['users', 'import', file, ...options])).toMatchObject({
    code: 0,
    stderr: '0 created, 1 updated\n',
  });
  expect((await shell.kithHere(['users', 'get', 'bert', '--json'])).stdout).toContain('"name": "Bert Bee"');
  expect(await shell.kithHere(['users', 'import', file])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--map 'User=FIELD'"),
  });
});

test('an import ends where going on is of no use, and where it is interrupted, and says so', async () => {
  const file = await put('many.jsonl', Array.from({ length: 500 }, (_, i) => record(`many${i}`)).join('\n'));
  const { code, stdout, stderr } = await shell.kithHere([
    'users',
    'import',
    file,
    '--profile',
    'default',
    '--url',
    nowhere,
  ]);
  expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
  expect(stderr).toMatch(
    /^kith: the import is not complete: 0 created; run it again to go on\nkith: cannot reach Kith/,
  );
  const slow = shell.start(['users', 'import', file, '--rate', '5']);
  await expect
    .poll(async () => (await shell.kithHere(['users', 'list', '--query', 'many0', '--jsonl'])).stdout)
    .not.toBe('');
  slow.child.kill('SIGINT');
  expect(await slow.ended).toMatchObject({
    code: 130,
    stderr: expect.stringMatching(/^kith: the import is not complete: [1-9]\d* created; run it again to go on\n$/),
  });
});

test('a doctor names what is wrong, and what to do', async () => {
  const healthy = await shell.kithHere(['doctor', '--json'], {
    env: { KITH_DATABASE_URL: `sqlite:${server.directory}/data/kith.db` },
  });
  const findings = healthy.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { status: string; name: string });
  expect(healthy).toMatchObject({ code: 0, stderr: '' });
  expect(findings.map(({ name, status }) => `${name} ${status}`)).toEqual([
    'settings ok',
    'database ok',
    'keys ok',
    'proxies ok',
    'mail ok',
    'server ok',
    'clock ok',
    'proxy ok',
    'keys ok',
    'gRPC ok',
    'sign-in ok',
  ]);
  const wrong = await shell.kithHere(['doctor', '--url', nowhere], {
    env: {
      KITH_DATABASE_URL: `sqlite:${server.directory}/data/kith.db`,
      KITH_SECRET_KEY: Buffer.alloc(32).toString('base64'),
      KITH_HOST: '0.0.0.0',
      KITH_MAIL_WEBHOOK_URL: `${nowhere}/kith?key=hidden`,
      KITH_MAIL_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
    },
  });
  expect(wrong.code).toBe(1);
  expect(wrong.stdout).toMatch(/^error +keys +the secret does not open 1 of 1 signing keys$/m);
  expect(wrong.stdout).toMatch(/^warning +proxies +0\.0\.0\.0 is listened on without TLS/m);
  expect(wrong.stdout).toMatch(/^error +mail +KITH_MAIL_WEBHOOK_URL cannot be connected to, at 127\.0\.0\.1:\d+: /m);
  expect(wrong.stdout).not.toContain('hidden');
  expect(wrong.stdout).toMatch(/^error +server +nothing answers at http:/m);
  expect(await shell.kithHere(['doctor'], { env: { KITH_PROT: '1' } })).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^error +settings +KITH_PROT: there is no such setting/),
  });
});

test.each(['bash', 'zsh', 'fish'])('the completion for %s is a script that it reads', async (name) => {
  const { code, stdout } = await shell.kithHere(['completion', name]);
  expect(code).toBe(0);
  for (const word of ['users', 'set-password', 'on-conflict']) expect(stdout).toContain(word);
  const program = findCommand(name);
  if (program === undefined)
    return console.warn(`SKIPPED: ${name} is not on this machine, and does not read its script`);
  await put(`completion.${name}`, stdout);
  expect(
    await run(program, [name === 'fish' ? '--no-execute' : '-n', join(shell.directory, `completion.${name}`)]),
  ).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('bash completes commands, options and their values', async () => {
  const bash = findCommand('bash');
  if (bash === undefined) return console.warn('SKIPPED: bash is not on this machine');
  await put('kith.bash', (await shell.kithHere(['completion', 'bash'])).stdout);
  const complete = async (...words: string[]) => {
    const script = `source "$1"; shift; COMP_WORDS=(kith "$@"); COMP_CWORD=$#; _kith; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return (await run(bash, ['-c', script, 'bash', join(shell.directory, 'kith.bash'), ...words])).stdout
      .trim()
      .split('\n');
  };
  expect(await complete('us')).toEqual(['users']);
  expect(await complete('users', 'un')).toEqual(['undelete']);
  expect(await complete('users', 'list', '--que')).toEqual(['--query']);
  expect(await complete('users', 'import', '--on-conflict', '')).toEqual(['skip', 'update', 'fail']);
  expect(await complete('whoami', '--pro')).toEqual(['--profile']);
});
