import { randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readImageHeader } from '../../src/contacts/photos/image-header.ts';
import { quarters, toPng } from '../../src/contacts/photos/pictures.testkit.ts';
import { createCarefulUser } from './people.ts';
import { type CommandEnd, openShell, type Shell } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { ADMIN_PASSWORD } from '../support/kith.ts';
import { type ServingProcess, startProcess } from '../support/process.ts';

let server: ServingProcess;
let shell: Shell;
beforeAll(async () => {
  server = await startProcess({ env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
  shell = await openShell({ KITH_URL: server.address });
  await shell.kith(['login', 'admin'], { input: `${ADMIN_PASSWORD}\n` });
});
afterAll(async () => {
  await shell[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** The command in this process, which takes less time than one of its own. */
const kith = (args: readonly string[], input?: string, env?: Record<string, string>): Promise<CommandEnd> =>
  shell.kithHere(args, { ...(input === undefined ? {} : { input }), ...(env === undefined ? {} : { env }) });

const here = (...args: string[]): Promise<CommandEnd> => kith(args);

/** What a command prints as JSON, which is all that it says. */
async function json(...args: string[]): Promise<Record<string, any>> {
  const { code, stdout, stderr } = await here(...args, '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, any>;
}

async function createUser(username: string): Promise<string> {
  const created = await kith(
    [
      'users',
      'create',
      '--username',
      username,
      '--email',
      `${username}@example.org`,
      '--name',
      username,
      '--password-file',
      '-',
      '--json',
    ],
    `password of ${username}\n`,
  );
  expect(created).toMatchObject({ code: 0, stderr: '' });
  return (JSON.parse(created.stdout) as { user: { id: string } }).user.id;
}

describe('contacts import and export', () => {
  test('a file is previewed, imported in parts, the same again, and exported', async () => {
    const card = (i: number) => `BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Imported ${i}\r\nX-HAT:blue\r\nEND:VCARD\r\n`;
    const file = join(shell.directory, 'cards.vcf');
    await writeFile(file, `${Array.from({ length: 501 }, (_, i) => card(i)).join('')}BEGIN:VCARD\r\nEND:VCARD\r\n`);
    const preview = await here('contacts', 'import', file, '--preview');
    expect(preview).toMatchObject({ code: 1, stdout: expect.stringMatching(/^line 2506: .*\(CONTACT_EMPTY\)\n$/) });
    expect(preview.stderr).toContain('would be: 501 created, 1 refused');
    const imported = await here('contacts', 'import', file);
    expect(imported.stderr).toContain('501 created, 1 refused');
    const [, importId] = /kith contacts undo-import (\S+)/.exec(imported.stderr)!;
    expect((await here('contacts', 'import', file)).stderr).toContain('501 same, 1 refused');
    const printed = await here('contacts', 'export', '--query', 'imported');
    expect(printed.code).toBe(0);
    expect(printed.stdout.match(/^X-HAT:blue\r$/gm)).toHaveLength(501);
    const saved = join(shell.directory, 'cards.csv');
    expect(await here('contacts', 'export', '--output', saved)).toMatchObject({ code: 0, stdout: '' });
    expect(await readFile(saved, 'utf8')).toMatch(/^\uFEFFName Prefix,/);
    const cards = join(shell.directory, 'cards.json');
    expect(await here('contacts', 'export', '--output', cards)).toMatchObject({ code: 0 });
    expect(JSON.parse(await readFile(cards, 'utf8'))).toContainEqual(
      expect.objectContaining({ name: expect.objectContaining({ full: 'Imported 500' }) }),
    );
    expect((await here('contacts', 'import', cards)).stderr).toContain('501 same');
    expect((await here('contacts', 'import', join(shell.directory, 'cards.txt'))).code).toBe(2);
    expect((await json('contacts', 'list-imports'))['imports']).toMatchObject([
      { id: importId, source: 'cards.vcf', createdContacts: 501, remainingContacts: 501 },
    ]);
    expect((await here('contacts', 'undo-import', importId!)).stderr).toContain('501 deleted');
    expect((await here('contacts', 'undo-import', importId!)).stderr).toContain('nothing is left to take back');
    expect(await here('contacts', 'undo-import', randomUUID())).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('CONTACT_IMPORT_NOT_FOUND'),
    });
  });
});

test('a contact is given a photo of a file, which is written to another one', async () => {
  const { contact } = await json('contacts', 'create', '--given-name', 'Photographed');
  const picture = join(shell.directory, 'picture.png');
  await writeFile(picture, toPng(quarters(200)));
  const set = await here('contacts', 'set-photo', contact.id, picture);
  expect(set).toMatchObject({ code: 0, stderr: expect.stringMatching(/^the photo has the id [\w-]{43}\n$/) });
  const photo = join(shell.directory, 'photo.jpg');
  expect(await here('contacts', 'get-photo', contact.id, photo, '--size', 'small')).toMatchObject({ code: 0 });
  expect(readImageHeader(await readFile(photo))).toMatchObject({ format: 'jpeg', width: 96 });
  expect(await here('contacts', 'set-photo', contact.id, join(shell.directory, 'none.png'))).toMatchObject({ code: 2 });
  await writeFile(picture, 'no picture');
  expect((await here('contacts', 'set-photo', contact.id, picture)).stderr).toContain('PHOTO_UNREADABLE');
  expect(await here('contacts', 'delete-photo', contact.id)).toMatchObject({ code: 0 });
  expect(await here('contacts', 'get-photo', contact.id, photo)).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('the contact has no photo'),
  });
});

describe('contacts', () => {
  const create = async (...args: string[]): Promise<string> =>
    (await json('contacts', 'create', ...args))['contact'].id as string;

  test('a file from standard input has its columns mapped, and its preview tells possible duplicates and what is not taken', async () => {
    const id = await create('--given-name', 'Emmy', '--emails', 'emmy@example.org', '--birthday', '1882-03-23');
    expect((await json('contacts', 'get', id))['contact'].birthday).toEqual({ year: 1882, month: 3, day: 23 });
    const file =
      'Vorname,E-mail,Hut,Birthday\nEmmy N,emmy@example.org,blau,gestern\nSofja,s@example.org,rot,1850-01-15\n';
    const csv = ['contacts', 'import', '-', '--format', 'csv', '--map', 'Vorname=First Name'];
    const preview = await kith([...csv, '--preview'], file);
    expect(preview).toMatchObject({ code: 0, stderr: 'would be: 2 created\n' });
    expect(preview.stdout.split('\n')).toEqual([
      expect.stringMatching(/^line 2: columns that are not known .*: "Hut"$/),
      expect.stringMatching(/^line 2: "gestern" is no date.*custom field$/),
      `line 2: Emmy N may be Emmy (${id}): the same email address (70 of 100)`,
      '',
    ]);
    const document = await kith([...csv, '--json'], file);
    const { results, importId } = JSON.parse(document.stdout) as { results: { name: string }[]; importId: string };
    expect(results.map(({ name }) => name)).toEqual(['Emmy N', 'Sofja']);
    expect(document.stderr).toContain(`kith contacts undo-import ${importId}`);
    const lines = (await kith([...csv, '--jsonl'], file)).stdout.trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { status: string }).status)).toEqual(
      lines.map(() => 'CONTACT_IMPORT_STATUS_SAME'),
    );
    expect(await kith([...csv, '--map', 'Nachname=Last Name'], file)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no column "Nachname" to --map'),
    });
  });

  test('contacts are merged by their ids, and the id of a merged one leads to the other and no circle', async () => {
    const [one, two] = [await create('--given-name', 'Marie'), await create('--given-name', 'Maria')];
    expect(await here('contacts', 'merge', one, two)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('MERGE_CHOICE_MISSING'),
    });
    const merged = await json('contacts', 'merge', one, two, '--choices', `given-name=${two}`);
    expect(merged['contact']).toMatchObject({ id: one, givenName: 'Maria' });
    const gone = await here('contacts', 'get', two);
    expect(gone).toMatchObject({ code: 4, stderr: expect.stringContaining(`kith contacts get ${one} `) });
    const [, unmerge] = /kith contacts (unmerge \S+)/.exec(gone.stderr)!;
    expect(await here('contacts', ...unmerge!.split(' '))).toMatchObject({ code: 0 });
    expect((await json('contacts', 'get', two))['contact'].givenName).toBe('Maria');
  });

  test('a copy is kept up to date over all pages, from the cursor in a file', async () => {
    const file = join(shell.directory, 'contacts.cursor');
    const sync = async () => {
      const { code, stdout } = await here(
        'contacts',
        'sync',
        '--all',
        '--page-size',
        '2',
        '--jsonl',
        '--cursor-file',
        file,
      );
      expect(code).toBe(0);
      const lines = stdout
        .trimEnd()
        .split('\n')
        .filter((line) => line !== '');
      return lines.map((line) => JSON.parse(line) as { contact?: { id: string }; tombstone?: { contactId: string } });
    };
    const [kept, gone] = [await create('--given-name', 'Kept'), await create('--given-name', 'Gone')];
    const first = new Set((await sync()).map(({ contact }) => contact?.id));
    expect([kept, gone].every((id) => first.has(id))).toBe(true);
    await here('contacts', 'delete', gone);
    expect(await sync()).toContainEqual({ tombstone: { contactId: gone } });
    const once = await here('contacts', 'sync', '--page-size', '1');
    expect(once.stderr).toMatch(/there is more: --all .*\nto go on, kith contacts sync --cursor \S+\n$/s);
    expect((await here('contacts', 'sync', '--cursor', 'x', '--cursor-file', file)).code).toBe(2);
  });

  test('a rule that is broken is told once, also of a number below zero', async () => {
    expect(await here('contacts', 'list', '--page-size', '-1')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^kith: the request breaks rules .*\(FIELDS_INVALID\)\n {2}pageSize: .*\n$/),
    });
  });

  test("everybody's activity is said to leave contacts out", async () => {
    expect((await here('activity', 'list')).stderr).toContain('what is done with contacts and labels is left out');
    expect((await here('activity', 'list', '--user', 'me')).stderr).not.toContain('left out');
  });
});

describe('users export', () => {
  test('the document is printed, or written to a file for its owner alone once it is complete', async () => {
    const id = await createUser('exported');
    const printed = await here('users', 'export', 'exported');
    expect(printed).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(printed.stdout)).toMatchObject({
      userId: id,
      omitted: [
        'labels',
        'contacts',
        'contactMerges',
        'contactImports',
        'contactImportChanges',
        'contactVersions',
        'distinctContacts',
        'contactPhotos',
        'activity.private',
      ],
    });
    const file = join(shell.directory, 'exported.json');
    expect(await here('users', 'export', 'exported', '--output', file)).toMatchObject({ code: 0, stdout: '' });
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ userId: id });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await here('users', 'erase', 'exported')).toMatchObject({ code: 0 });
    const gone = await here('users', 'export', id, '--output', join(shell.directory, 'gone.json'));
    expect(gone).toMatchObject({ code: 4, stderr: expect.stringContaining('USER_NOT_FOUND') });
    expect((await readdir(shell.directory)).filter((name) => name.includes('gone'))).toEqual([]);
  });
});

describe('profiles', () => {
  test('a session is kept in files that their owner alone can read, and said to be whose it is', async () => {
    const files = await readdir(shell.profiles);
    expect(files.toSorted()).toEqual(['default.json', 'default.session']);
    for (const file of files) expect((await stat(join(shell.profiles, file))).mode & 0o777).toBe(0o600);
    expect((await stat(shell.profiles)).mode & 0o777).toBe(0o700);
    expect(await json('whoami')).toMatchObject({ user: { username: 'admin', role: 'ROLE_ADMIN' } });
    expect(await here('profiles')).toMatchObject({ code: 0, stdout: `default  ${server.address}  admin\n` });
  });

  test('settings are told with where they come from, all or those that are changed, and nothing of secrets', async () => {
    const all = await here('settings');
    expect(all).toMatchObject({ code: 0, stderr: '' });
    expect(all.stdout).toMatch(/^NAME +VALUE +SOURCE +DEFAULT\n/);
    expect(all.stdout).toMatch(/^KITH_ADMIN_PASSWORD +\(set\) +environment$/m);
    expect(all.stdout).toMatch(/^KITH_SMTP_URL +\(not set\) +default$/m);
    expect(all.stdout).not.toContain(ADMIN_PASSWORD);
    const { stdout } = await here('settings', '--changed');
    expect(stdout).toMatch(/^KITH_PORT +0 +environment +8080$/m);
    expect(stdout).not.toMatch(/ default/);
    const { settings } = await json('settings', '--changed');
    expect(settings).toContainEqual(
      expect.objectContaining({ name: 'KITH_PORT', source: 'SETTING_SOURCE_ENVIRONMENT' }),
    );
    expect((await here('settings', '--explain')).stdout).toContain('/kith.admin.v1.AdminService/GetSettings');
  });

  test('a sign-in goes through a second factor and a password that has to be changed', async () => {
    const user = await createCarefulUser(server.address, 'careful');
    const wrong = await kith(['login', user.username, '--profile', 'other'], 'not the password\n');
    expect(wrong).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('CREDENTIALS_INVALID') });
    const input = `${user.password}\n${user.recoveryCode}\nanother good password\n`;
    expect(await kith(['login', user.username, '--profile', 'other'], input)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`signed in at ${server.address} as ${user.username}, profile other`),
    });
    expect(await json('whoami', '--profile', 'other')).toMatchObject({ user: { username: user.username } });
    expect(await here('logout', '--profile', 'other')).toMatchObject({ code: 0 });
    expect(await here('whoami', '--profile', 'other')).toMatchObject({ code: 3 });
  });

  test("a profile's session is not sent to another address", async () => {
    await using other = await startProcess({ env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
    const { code, stderr } = await here('whoami', '--url', other.address);
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining('ACCESS_TOKEN_MISSING') });
  });

  test('an API key is taken from the environment, from a file and from a profile', async () => {
    const { secret } = await json(
      'keys',
      'create',
      '--name',
      'script',
      '--permissions',
      'users-read',
      '--expire-time',
      '+1d',
    );
    const file = join(shell.directory, 'key.txt');
    await writeFile(file, `${secret}\n`);
    await chmod(file, 0o600);
    for (const env of [{ KITH_API_KEY: String(secret) }, { KITH_API_KEY_FILE: file }]) {
      const { code, stdout } = await kith(['users', 'list', '--jsonl'], '', env);
      expect({ code, lines: stdout.split('\n').length > 1 }).toEqual({ code: 0, lines: true });
      expect(await kith(['contacts', 'list'], '', env)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('PERMISSION_MISSING'),
      });
    }
    expect(await kith(['login', '--api-key', '--profile', 'key'], `${secret}\n`)).toMatchObject({ code: 0 });
    expect(await json('whoami', '--profile', 'key')).toMatchObject({ permissions: ['PERMISSION_USERS_READ'] });
  });
});

describe('resources', () => {
  test('what get prints as JSON is what update takes, and its etag holds', async () => {
    await createUser('round');
    const { stdout: before } = await shell.kith(['users', 'get', 'round', '--json']);
    const changed = before.replace('"name": "round"', '"name": "Round Trip"');
    const updated = await shell.kith(['users', 'update', '--input', '-', '--json'], { input: changed });
    expect(updated).toMatchObject({ code: 0, stderr: '' });
    expect(await json('users', 'get', 'round@example.org')).toMatchObject({ user: { name: 'Round Trip' } });
    expect(await shell.kith(['users', 'update', '--input', '-'], { input: before })).toMatchObject({
      code: 5,
      stdout: '',
      stderr: expect.stringContaining('ETAG_MISMATCH'),
    });
  });

  test('lists of a contact go through get and update as they are, and are cleared when they are empty', async () => {
    const { contact } = await json(
      'contacts',
      'create',
      '--given-name',
      'Grace',
      '--emails',
      'grace@example.org',
      '--phones',
      '+1 202 555 0100',
      '--birthday',
      '{"month": 12, "day": 9}',
    );
    const { stdout } = await here('contacts', 'get', contact.id, '--json');
    const answer = JSON.parse(stdout) as { contact: Record<string, unknown> };
    const { contact: again } = JSON.parse(
      (await kith(['contacts', 'update', '--input', '-', '--json'], stdout)).stdout,
    ) as typeof answer;
    const { etag: _, updateTime: __, ...same } = again;
    expect(answer.contact).toMatchObject(same);
    const cleared = { ...again, emails: [], birthday: null, phones: [{ number: '5' }] };
    const { stdout: end } = await kith(
      ['contacts', 'update', '--input', '-', '--json', '--starred', 'true'],
      JSON.stringify(cleared),
    );
    const { contact: last } = JSON.parse(end) as typeof answer;
    expect(last).toMatchObject({ phones: [{ number: '5' }], starred: true });
    expect(last).not.toHaveProperty('emails');
  });

  test('a list goes over all pages as lines, as a document and as a table', async () => {
    const names = ['page1', 'page2', 'page3'];
    for (const name of names) await createUser(name);
    const lines = await here('users', 'list', '--query', 'page', '--page-size', '1', '--all', '--jsonl');
    const listed = lines.stdout.trimEnd().split('\n');
    expect(listed.map((line) => (JSON.parse(line) as { username: string }).username)).toEqual(names.toReversed());
    const document = await json('users', 'list', '--query', 'page', '--page-size', '2', '--all');
    expect(document['users'].map(({ username }: { username: string }) => username).toSorted()).toEqual(names);
    const table = await here('users', 'list', '--query', 'page', '--page-size', '2');
    expect(table.stdout).toMatch(
      /^ID +USERNAME +EMAIL +NAME +ROLE +STATE\n([0-9a-f-]{36} +page\d +page\d@example.org +page\d +viewer +active\n){2}$/,
    );
    expect(table.stderr).toMatch(/there is more: .*--page-token \S+ goes on/);
  });

  test('deleting can be undone, and says what is not there', async () => {
    await createUser('gone');
    expect(await here('users', 'delete', 'gone')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/state +deleted/),
    });
    const { users } = await json('users', 'list', '--query', 'gone', '--states', 'deleted');
    expect(await json('users', 'undelete', users[0].id)).toMatchObject({ user: { state: 'USER_STATE_ACTIVE' } });
    expect(await here('users', 'get', 'nobody')).toMatchObject({ code: 4, stdout: '' });
    expect(await here('contacts', 'get', '00000000-0000-7000-8000-000000000000')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('CONTACT_NOT_FOUND'),
    });
    expect(
      await kith(
        ['users', 'create', '--username', 'gone', '--email', 'x@example.org', '--name', 'x', '--password-file', '-'],
        'a fine password\n',
      ),
    ).toMatchObject({ code: 5, stderr: expect.stringContaining('USERNAME_TAKEN') });
  });

  test('sessions and keys are those of the caller where nobody else is named', async () => {
    const { sessions } = await json('sessions', 'list');
    expect(sessions.filter(({ current }: { current?: boolean }) => current)).toHaveLength(1);
    expect(sessions.map(({ userAgent }: { userAgent: string }) => userAgent)).toContainEqual(
      expect.stringMatching(/^kith\//),
    );
    const id = await createUser('visitor');
    expect(await json('sessions', 'list', '--user', id)).toEqual({});
    const { apiKey } = await json('keys', 'create', '--name', 'short', '--permissions', 'contacts-read');
    expect(await here('keys', 'revoke', apiKey.id)).toMatchObject({ code: 0, stdout: '', stderr: 'done\n' });
  });

  test('names cannot write to the terminal, nor hide what follows them', async () => {
    const { contact } = await json('contacts', 'create', '--given-name', 'ok', '--notes', 'line\nline');
    const { stdout } = await here('contacts', 'get', contact.id);
    expect(stdout).toMatch(/notes +line\\nline\n/);
  });
});

describe('call', () => {
  test.each([
    ['an argument', (body: string) => [['call', 'UserService/ListUsers', body], undefined] as const],
    ['standard input', (body: string) => [['call', 'kith.user.v1.UserService/ListUsers', '-'], body] as const],
  ])('takes the request from %s', async (_, callOf) => {
    const [args, input] = callOf('{"query": "admin", "page_size": 1}');
    const { code, stdout, stderr } = await kith(args, input);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ users: [{ username: 'admin' }] });
  });

  test('takes the request from a file, and reads streams line by line', async () => {
    const file = join(shell.directory, 'watch.json');
    await writeFile(file, '{"actionPrefixes": ["shop"]}');
    const watch = shell.start(['call', 'WatchUserActivity', `@${file}`]);
    await watch.until('stdout', /\n/);
    await here('activity', 'record', '--activities', '{"action": "shop.ordered"}');
    await watch.until('stdout', /shop\.ordered.*\n/);
    watch.child.kill('SIGINT');
    expect(await watch.ended).toMatchObject({ code: 130, stderr: '' });
    for (const line of watch.stdout.trimEnd().split('\n')) expect(JSON.parse(line)).toHaveProperty('cursor');
  });

  test.each([
    [
      ['call', 'UserService/GetUsers'],
      /there is no method UserService\/GetUsers; did you mean kith\.user\.v1\.UserService\/GetUser/,
    ],
    [['call', 'GetUser', '{"userID": 1}'], /kith.user.v1.GetUserRequest/],
    [['call', 'GetUser', '{'], /the body is not JSON/],
    [['call', 'GetUser', '@missing.json'], /cannot read missing\.json: there is no such file/],
    [['contacts', 'import', '.', '--format', 'csv'], /cannot read \.: it is a directory/],
    [['contacts', 'import', '-', '--format', 'csv'], /standard input is empty/],
    [
      ['contacts', 'list', '--labels', 'Family'],
      /--labels takes JSON such as \{"anyOf": \["\.\.\."\], .*, and "Family" is not/,
    ],
    [['contacts', 'create', '--birthday', '9.12.1906'], /--birthday takes a date such as 1906-12-09/],
    [['contacts', 'merge', 'a'], /merge takes 2 to 10 ids/],
    [['usres', 'list'], /there is no command usres; did you mean users\?/],
    [['users', 'lst'], /there is no command users lst; did you mean list or get\?/],
    [['users', 'list', '--quer', 'x'], /there is no option --quer; did you mean --query\?/],
    [['users', 'list', '--roles', 'admn'], /--roles does not take "admn"; did you mean admin\?/],
    [['users', 'get'], /USER is missing; usage: kith users get USER/],
    [
      ['users', 'create', '--input', '{"nme": "x"}'],
      /has a field "nme" that CreateUserRequest has not; did you mean name\?/,
    ],
    [['whoami', '--url', 'localhost'], /the address of Kith is like/],
    [['users'], /users takes a command/],
  ])('%j is refused with words, and what is written else is nothing', async (args, words) => {
    expect(await here(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(words) });
  });

  test('knows every method of the server, and calls those of others', async () => {
    const { stdout } = await here('call', '--list');
    expect(stdout).toContain('kith.user.v1.UserService/GetUser: ');
    expect(stdout).toContain('kith.activity.v1.ActivityService/WatchUserActivity (stream)');
    expect(JSON.parse((await here('call', 'grpc.health.v1.Health/Check')).stdout)).toEqual({ status: 'SERVING' });
  });

  test('a server that is not there is told from one that refuses', async () => {
    expect(await here('whoami', '--url', `http://127.0.0.1:${await freePort()}`)).toMatchObject({
      code: 6,
      stderr: expect.stringContaining('cannot reach Kith'),
    });
  });
});

describe('explain', () => {
  const shellRun = (command: string, token: string) =>
    new Promise<string>((resolve, reject) => {
      execFile(
        'sh',
        ['-c', command],
        { env: { PATH: process.env['PATH'], TOKEN: token, PASSWORD: 'a secret password' } },
        (error, stdout, stderr) => (error === null ? resolve(stdout) : reject(new Error(stderr))),
      );
    });

  test.each([
    ['a read', ['users', 'list', '--query', 'o\'neil "x"'], /^\{/],
    ['a call', ['call', 'UserMe'], /"username":"admin"/],
    [
      'a write with a secret',
      [
        'users',
        'create',
        '--username',
        'explained',
        '--email',
        'e@example.org',
        '--name',
        "it's",
        '--password-file',
        'none',
      ],
      /"name":"it's"/,
    ],
    ['a sign-in', ['login', 'admin'], /"code":"unauthenticated"/],
  ])('prints %s as curl, which a shell runs, and makes no call itself', async (_, args, answer) => {
    const { code, stdout } = await here(...args, '--explain');
    expect(code).toBe(0);
    const token = (await here('token')).stdout.trim();
    expect(stdout).not.toContain(token);
    expect(await shellRun(stdout, token)).toMatch(answer);
  });

  test('finds the user first where one is named by another name', async () => {
    const { stdout } = await here('users', 'get', 'admin', '--explain');
    expect(stdout).toMatch(/ListUsers/);
    expect(stdout).toContain(`-d '{"userId":"'"$USER_ID"'"}'`);
  });
});

describe('output', () => {
  test('whoever reads no more ends the command without a word', async () => {
    const command = shell.start(['call', 'WatchUserActivity', '{}']);
    await command.until('stdout', /\n/);
    command.child.stdout!.destroy();
    await here('activity', 'record', '--activities', '{"action": "shop.unread"}');
    expect(await command.ended).toMatchObject({ code: 141, stderr: '' });
  });

  test('nothing is coloured that is piped, and help goes to standard output', async () => {
    for (const args of [['--help'], ['users', 'list', '--help'], ['users', '--help'], ['login', '-h']]) {
      const { code, stdout, stderr } = await kith(args);
      expect({ code, stderr, isColoured: stdout.includes('\u001b') }).toEqual({
        code: 0,
        stderr: '',
        isColoured: false,
      });
      expect(stdout).toContain('Usage: kith');
    }
  });
});

test('folders of profiles that cannot be read are told', async () => {
  await using other = await openShell({ KITH_URL: server.address });
  await mkdir(other.profiles, { recursive: true });
  await writeFile(join(other.profiles, 'default.json'), '{}');
  expect(await other.kith(['whoami'])).toMatchObject({ code: 1, stderr: expect.stringContaining('holds no profile') });
  expect(await readFile(join(other.profiles, 'default.json'), 'utf8')).toBe('{}');
});
