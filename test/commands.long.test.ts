import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createClient } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { runCommand } from '../src/cli/commands.ts';
import { parseConfig } from '../src/config/config.ts';
import { openDatabase } from '../src/storage/database.ts';
import { findCommand, run as runCommandLine } from './support/commands.ts';
import { ContactCopy } from './support/contact-copy.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc, refusalOf } from './support/kith.ts';
import { type Exit, type ServingProcess, spawnKith, startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const onServer = databases[1]!;

let directory: string;
/** The database file. */
let file: string;
let env: Record<string, string>;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kith-commands-'));
  await mkdir(join(directory, 'data'));
  file = join(directory, 'data', 'kith.db');
  env = { KITH_DATABASE_URL: `sqlite:${file}`, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD };
});
afterEach(() => rm(directory, { recursive: true }));

const serve = (more: Record<string, string> = {}) => startProcess({ directory, env: { ...env, ...more } });

/** The command as a process of its own. */
async function run(...args: string[]): Promise<Exit> {
  await using kith = await spawnKith({ directory, env, args });
  return await kith.exited;
}

/** The command in this process, which takes less time to refuse. */
async function refused(name: string, ...args: string[]): Promise<string> {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    await runCommand(parseConfig(env), [name, ...args]);
  } catch (error) {
    return String(error);
  } finally {
    print.mockRestore();
  }
  throw new Error(`${name} ${args.join(' ')} was not refused`);
}

async function signIn(kith: ServingProcess) {
  const login = { identifier: 'admin', password: ADMIN_PASSWORD };
  return signedIn(createClient(AuthService, grpc(kith.address)).login(login));
}

function newUser(username: string) {
  return { username, email: `${username}@example.org`, name: username, password: `password of ${username}` };
}

async function usernames(kith: ServingProcess): Promise<string[]> {
  const users = createClient(UserService, grpc(kith.address, (await signIn(kith)).accessToken));
  return (await users.listUsers({})).users.map(({ username }) => username).toSorted();
}

/** A database that was served and stopped, with one user besides the administrator. */
async function makeDatabase(): Promise<void> {
  await cp(template, join(directory, 'data'), { recursive: true });
}

let template: string;
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'kith-commands-'));
  await using kith = await startProcess({
    env: { KITH_DATABASE_URL: `sqlite:${template}/kith.db`, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD },
  });
  const { accessToken } = await signIn(kith);
  await createClient(UserService, grpc(kith.address, accessToken)).createUser(newUser('ada'));
  kith.kill('SIGTERM');
  await kith.exited;
});
afterAll(() => rm(template, { recursive: true }));

/** The names in a folder, with what the files hold. */
async function contentsOf(folder: string): Promise<unknown> {
  const entries = await readdir(folder, { withFileTypes: true });
  return Promise.all(
    entries.map(async (entry) => [entry.name, entry.isFile() && (await readFile(join(folder, entry.name), 'utf8'))]),
  );
}

async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes.fill(0xff, 4096 * 2, 4096 * 6);
  await writeFile(path, bytes);
}

async function writeOtherDatabase(path: string): Promise<void> {
  using other = new DatabaseSync(path);
  other.exec('create table things (id)');
}

describe('backup', () => {
  let target: string;
  beforeEach(() => {
    target = join(directory, 'copy.db');
  });

  test('copies what was acknowledged, while it goes on being written', async () => {
    await using kith = await serve();
    const { accessToken } = await signIn(kith);
    const contacts = createClient(ContactService, grpc(kith.address, accessToken));
    const acknowledged: string[] = [];
    let going = true;
    const writing = (async () => {
      while (going) {
        const { contact } = await contacts.createContact({ givenName: 'Ada' });
        acknowledged.push(contact!.id);
      }
    })();
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(20), 20_000);
    const before = [...acknowledged];
    const { code, stdout, stderr } = await run('backup', target);
    const after = acknowledged.length;
    going = false;
    await writing;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`${target} is a checked copy of ${file}.`);
    expect(stdout).toContain(`keep a copy of ${file}.key too`);
    expect(after).toBeGreaterThan(before.length);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
    using copy = new DatabaseSync(target, { readOnly: true });
    expect(copy.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    const ids = new Set(
      copy
        .prepare('select id from contacts')
        .all()
        .map(({ id }) => id),
    );
    expect(before.filter((id) => !ids.has(id))).toEqual([]);
    // As of one moment: as many events as contacts.
    const events = copy.prepare("select count(*) as n from activity where action = 'kith.contact.created'").get();
    expect(events).toEqual({ n: ids.size });
    expect((await readdir(directory)).toSorted()).toEqual(['copy.db', 'data']);
  });

  test.each<[string, () => Promise<string[]>, RegExp]>([
    ['a file that is there', async () => (await writeFile(target, 'mine'), [target]), /copy\.db: there is one already/],
    ['a folder that is not there', async () => [join(directory, 'no', 'copy.db')], /no\/copy\.db: .*ENOENT/],
    ['no name', async () => [], /usage: npm run kith -- backup FILE/],
    ['two names', async () => [target, target], /usage: npm run kith -- backup FILE/],
    [
      'a missing database',
      async () => ((env['KITH_DATABASE_URL'] += '.not'), [target]),
      /kith\.db\.not: there is no such file/,
    ],
    ['a folder', async () => ((env['KITH_DATABASE_URL'] = `sqlite:${directory}`), [target]), /: this is not a file/],
    ['a damaged database', async () => (await damage(file), [target]), /kith\.db: .*damaged/],
    [
      'a file of something else',
      async () => (await rm(file), await writeOtherDatabase(file), [target]),
      /not a database of Kith/,
    ],
    ['what is no database', async () => (await writeFile(file, 'a'.repeat(9000)), [target]), /not a SQLite database/],
    ['a server', async () => ((env['KITH_DATABASE_URL'] = 'postgres://localhost/kith'), [target]), /such as pg_dump/],
  ])('refuses %s, and leaves nothing behind', async (_, prepare, message) => {
    await makeDatabase();
    const args = await prepare();
    const before = await contentsOf(directory);
    expect(await refused('backup', ...args)).toMatch(message);
    expect(await contentsOf(directory)).toEqual(before);
  });

  test('fails when the disk spoils the copy, and leaves nothing behind', async () => {
    await makeDatabase();
    const before = await contentsOf(directory);
    const { prepare } = DatabaseSync.prototype;
    let spoilt = 0;
    const spoiling = vi.spyOn(DatabaseSync.prototype, 'prepare').mockImplementation(function (
      this: DatabaseSync,
      text,
    ) {
      const statement = prepare.call(this, text);
      if (text !== 'vacuum into ?') return statement;
      const { run } = statement;
      statement.run = (copy) => {
        const result = Reflect.apply(run, statement, [copy]) as ReturnType<typeof run>;
        const bytes = readFileSync(copy as string);
        writeFileSync(copy as string, bytes.fill(0xff, 4096 * 2, 4096 * 6));
        spoilt++;
        return result;
      };
      return statement;
    });
    try {
      expect(await refused('backup', target)).toMatch(/copy\.db: .*damaged/);
    } finally {
      spoiling.mockRestore();
    }
    expect(spoilt).toBe(1);
    expect(await contentsOf(directory)).toEqual(before);
  });
});

function usersIn(path: string): string[] {
  using database = new DatabaseSync(path, { readOnly: true });
  expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
  const rows = database.prepare('select username from users order by username').all();
  return rows.map(({ username }) => String(username));
}

async function removeUsers(path: string): Promise<void> {
  using database = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  database.exec('delete from users; pragma journal_mode = delete; vacuum');
}

/** More pages than the backup has. */
function addLog(path: string): void {
  using database = new DatabaseSync(path);
  database.exec(`pragma journal_mode = delete; create table more as select randomblob(1000000) as filler`);
}

describe('restore', () => {
  let saved: string;
  beforeEach(() => {
    saved = join(directory, 'saved.db');
  });

  test('brings back what was saved, keeps what was there, and tokens of then are good again', async () => {
    let refreshToken = '';
    {
      await using kith = await serve();
      const login = await signIn(kith);
      refreshToken = login.refreshToken;
      const users = createClient(UserService, grpc(kith.address, login.accessToken));
      await users.createUser(newUser('before'));
      expect(await run('backup', saved)).toMatchObject({ code: 0 });
      await users.createUser(newUser('after'));
      const { code, stderr } = await run('restore', saved);
      expect({ code, stderr }).toEqual({
        code: 78,
        stderr: `kith: ${file}: another process has it open: stop it first\n`,
      });
      expect(await usernames(kith)).toEqual(['admin', 'after', 'before']); // unharmed
      kith.kill('SIGKILL'); // what stands in the write-ahead log is kept too
      await kith.exited;
    }
    const { code, stdout, stderr } = await run('restore', saved);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [, previous = ''] = /What it held before is in (\S+)\.\n/.exec(stdout) ?? [];
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    using kept = new DatabaseSync(previous, { readOnly: true });
    const names = kept.prepare('select username from users order by username').all();
    expect(names.map(({ username }) => username)).toEqual(['admin', 'after', 'before']);

    await using kith = await serve();
    expect(await usernames(kith)).toEqual(['admin', 'before']);
    await createClient(AuthService, grpc(kith.address)).refreshAccessToken({ refreshToken });
    expect((await readdir(join(directory, 'data'))).toSorted()).toEqual(
      ['kith.db', 'kith.db-shm', 'kith.db-wal', 'kith.db.key', 'kith.db.lock', previous.split('/').at(-1)!].toSorted(),
    );
  });

  test.skipIf(process.getuid?.() !== 0)(
    'leaves the file to the user who owned it, when the superuser does it',
    async () => {
      await makeDatabase();
      await copyFile(file, saved);
      await chown(file, 1234, 1235);
      expect(await run('restore', saved)).toMatchObject({ code: 0 });
      expect(await stat(file)).toMatchObject({ uid: 1234, gid: 1235 });
    },
  );

  test('replaces the file that a symbolic link leads to, and keeps the link and the mode', async () => {
    await makeDatabase();
    await copyFile(file, saved);
    const volume = join(directory, 'volume');
    await mkdir(volume);
    for (const from of [file, `${file}-wal`, `${file}-shm`]) {
      await rename(from, join(volume, basename(from))).catch(() => {}); // there is no log after a clean stop
    }
    await symlink('../volume/link.db', file);
    await symlink('kith.db', join(volume, 'link.db'));
    await chmod(join(volume, 'kith.db'), 0o640);
    await removeUsers(join(volume, 'kith.db'));
    const { code, stdout } = await run('restore', saved);
    expect(code).toBe(0);
    expect((await lstat(file)).isSymbolicLink()).toBe(true);
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect(usersIn(join(volume, 'kith.db'))).toEqual(['ada', 'admin']);
    const [, previous = ''] = /What it held before is in (\S+)\.\n/.exec(stdout) ?? [];
    expect(previous.startsWith(`${join(volume, 'kith.db')}.`)).toBe(true);
    expect(usersIn(previous)).toEqual([]);
    await using kith = await serve();
    expect(await usernames(kith)).toEqual(['ada', 'admin']);
  });

  test('makes the file that a link leads to where there is none', async () => {
    await makeDatabase();
    await copyFile(file, saved);
    await rm(file);
    await symlink('../volume/kith.db', file);
    expect(await run('restore', saved)).toMatchObject({ code: 0 });
    expect(usersIn(join(directory, 'volume', 'kith.db'))).toEqual(['ada', 'admin']);
    expect((await lstat(file)).isSymbolicLink()).toBe(true);
  });

  test('says so when links lead nowhere', async () => {
    await makeDatabase();
    await copyFile(file, saved);
    await rm(file);
    await symlink('kith.db', file);
    expect(await refused('restore', saved)).toContain(`${file}: too many symbolic links`);
  });

  test.each<[string, (mounted: string) => Promise<void>, (previous: string) => unknown, unknown]>([
    ['smaller', removeUsers, usersIn, []],
    ['larger', async (mounted) => addLog(mounted), usersIn, ['ada', 'admin']],
    ['damaged', damage, existsSync, true],
  ])('replaces the content of a %s file that is mounted by itself', async (_, change, look, seen) => {
    const unshare = findCommand('unshare');
    await makeDatabase();
    await copyFile(file, saved);
    const volume = join(directory, 'volume.db');
    await copyFile(file, volume);
    await chmod(volume, 0o640);
    await change(volume);
    const { ino } = await stat(volume);
    const mounted = 'mount --bind "$1" "$2"; shift 2; exec "$@"';
    const options = process.getuid?.() === 0 ? ['-m'] : ['-rm'];
    const main = [process.execPath, resolve('src/main.ts'), 'restore', saved];
    if (unshare === undefined || (await runCommandLine(unshare, [...options, 'true'])).code !== 0) {
      return console.warn('SKIPPED, since nothing can be mounted here: restoring over a mounted file');
    }
    const outcome = await runCommandLine(unshare, [...options, 'sh', '-ec', mounted, 'sh', volume, file, ...main], env);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(await stat(volume)).toMatchObject({ ino });
    expect((await stat(volume)).mode & 0o777).toBe(0o640);
    expect(usersIn(volume)).toEqual(['ada', 'admin']);
    const [, previous = ''] = /What it held before is in (\S+)\.\n/.exec(outcome.stdout) ?? [];
    expect(look(previous)).toEqual(seen);
    const left = await readdir(join(directory, 'data'));
    expect(left.toSorted()).toEqual(['kith.db', 'kith.db.key', basename(previous)].toSorted());
  });

  test('works where there is no database, and says that the key is missing', async () => {
    await makeDatabase();
    await copyFile(file, saved);
    await rm(join(directory, 'data'), { recursive: true });
    const { code, stdout } = await run('restore', saved);
    expect(code).toBe(0);
    expect(stdout).toBe(
      `${file} holds what ${saved} holds now.\nPut the key file that belongs to the backup at ${file}.key before you start.\n`,
    );
    expect(await readdir(join(directory, 'data'))).toEqual(['kith.db']);
  });

  test.each<[string, () => Promise<void>]>([
    ['is damaged', () => damage(file)],
    ['is no database any more', () => writeFile(file, 'a'.repeat(9000))],
    ['is empty', () => truncate(file)],
  ])('works where the database %s', async (_, harm) => {
    await makeDatabase();
    await copyFile(file, saved);
    await harm();
    const harmed = await readFile(file);
    const { code, stdout } = await run('restore', saved);
    expect(code).toBe(0);
    const [, previous = ''] = /What it held before is in (\S+)\.\n/.exec(stdout) ?? [];
    // But for its first page, which says how it was opened.
    expect((await readFile(previous)).subarray(4096)).toEqual(harmed.subarray(4096));
    await using kith = await serve();
    expect(await usernames(kith)).toEqual(['ada', 'admin']);
  });

  test.each<[string, () => Promise<string>, RegExp]>([
    ['a missing backup', async () => join(directory, 'no.db'), /no\.db: there is no such file/],
    ['a damaged one', async () => (await damage(saved), saved), /saved\.db: .*damaged/],
    ['one that was cut off', async () => (await truncate(saved, 20_000), saved), /saved\.db: .*damaged/],
    ['an empty one', async () => (await truncate(saved), saved), /saved\.db: this is not a database of Kith/],
    [
      'one of something else',
      async () => (await rm(saved), await writeOtherDatabase(saved), saved),
      /not a database of Kith/,
    ],
    [
      'one of a newer version',
      async () => {
        using newer = new DatabaseSync(saved);
        newer.exec("insert into kysely_migration values ('9999-later', '2099-01-01')");
        return saved;
      },
      /saved\.db: written by a newer version of Kith \(it has 9999-later\)/,
    ],
    [
      'one whose rows refer to nothing',
      async () => {
        using orphaned = new DatabaseSync(saved, { enableForeignKeyConstraints: false });
        orphaned.exec("delete from users where username = 'ada'");
        return saved;
      },
      /saved\.db: the database is damaged: rows refer/,
    ],
    ['the database itself', async () => file, /this is the database itself/],
  ])('refuses %s, and changes nothing', async (_, prepare, message) => {
    await makeDatabase();
    await copyFile(file, saved);
    const backup = await prepare();
    const before = await readFile(file);
    expect(await refused('restore', backup)).toMatch(message);
    expect(await readFile(file)).toEqual(before);
    expect((await readdir(join(directory, 'data'))).toSorted()).toEqual(['kith.db', 'kith.db.key']);
  });
});

describe('copy-to', () => {
  let target: TestDatabase;
  beforeEach(async () => {
    target = await onServer.createEmpty();
  });
  afterEach(() => target[Symbol.asyncDispose]());

  const onTarget = async () => ({
    KITH_DATABASE_URL: target.url,
    KITH_SECRET_KEY: (await readFile(`${file}.key`, 'utf8')).trim(),
  });

  test('moves everything: sessions, tokens, pages, cursors and remembered requests go on', async () => {
    await using old = await serve();
    const login = await signIn(old);
    const { accessToken } = login;
    const transport = grpc(old.address, accessToken);
    const request = { ...newUser('ada'), requestId: randomUUID() };
    const ada = (await createClient(UserService, transport).createUser(request)).user!;
    const gone = (await createClient(UserService, transport).createUser(newUser('gone'))).user!;
    await createClient(UserService, transport).deleteUser({ userId: gone.id });
    for (const givenName of ['Ünïcode 🌍', 'it\'s "quoted" \\ back', 'Z', 'a', 'É']) {
      await createClient(ContactService, transport).createContact({ givenName, notes: 'two\nlines' });
    }
    const record = (over: typeof transport, i: number) =>
      createClient(ActivityService, over).recordUserActivity({
        activities: [{ userId: ada.id, action: `test.no${i}`, attributes: { i: `${i}` }, details: '{"a": "\\u0000"}' }],
      });
    for (let i = 0; i < 10; i++) await record(transport, i);
    const contactPage = { pageSize: 2 };
    const contacts = await createClient(ContactService, transport).listContacts(contactPage);
    const filter = { userId: ada.id, pageSize: 3 };
    const page = await createClient(ActivityService, transport).listUserActivity(filter);
    let cursor = '';
    for await (const message of createClient(ActivityService, transport).watchUserActivity({ userId: ada.id })) {
      cursor = message.cursor;
      break;
    }
    for (let i = 10; i < 15; i++) await record(transport, i); // after the cursor
    const copy = new ContactCopy();
    await copy.sync(createClient(ContactService, transport), 10);
    await createClient(ContactService, transport).createContact({ givenName: 'Zz, before' }); // likewise
    old.kill('SIGTERM');
    await old.exited;
    {
      // As if the newest of all had been purged: their numbers are not given again.
      using database = new DatabaseSync(file);
      database.exec('update sqlite_sequence set seq = 1000');
    }

    const { code, stdout, stderr } = await run('copy-to', target.url);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^users: 3 rows$/m);
    expect(stdout).toMatch(/rows in all, and compared row by row/);
    expect(stdout).toContain(`KITH_SECRET_KEY=$(cat ${file}.key)`);
    expect(await contentOf(target.url)).toEqual(contentOfFile(file));
    expect(await target.faults()).toEqual([]);

    await using kith = await serve(await onTarget());
    expect(kith.stderr).not.toContain('administrator');
    const newTransport = grpc(kith.address, accessToken);
    expect((await createClient(AuthService, newTransport).userMe({})).user).toEqual(login.user);
    await createClient(AuthService, newTransport).refreshAccessToken({ refreshToken: login.refreshToken });
    expect((await createClient(UserService, newTransport).createUser(request)).user).toEqual(ada);
    const restOfContacts = await createClient(ContactService, newTransport).listContacts({
      ...contactPage,
      pageToken: contacts.nextPageToken,
    });
    const inOrder = [...contacts.contacts, ...restOfContacts.contacts].map(({ givenName }) => givenName);
    expect(inOrder).toEqual(['a', 'É', 'it\'s "quoted" \\ back', 'Ünïcode 🌍']);
    const next = await createClient(ActivityService, newTransport).listUserActivity({
      ...filter,
      pageToken: page.nextPageToken,
    });
    expect(next.activities.map(({ action }) => action)).toEqual(['test.no6', 'test.no5', 'test.no4']);
    await createClient(ContactService, newTransport).createContact({ givenName: 'Zz, behind' });
    copy.answered = 0;
    await copy.sync(createClient(ContactService, newTransport), 10);
    expect([copy.size, copy.answered]).toEqual([7, 2]);
    await record(newTransport, 15);
    const seen: string[] = [];
    const watch = createClient(ActivityService, newTransport).watchUserActivity({
      userId: ada.id,
      afterCursor: cursor,
    });
    for await (const { activity } of watch) {
      if (activity) seen.push(activity.action);
      if (seen.length === 6) break;
    }
    expect(seen).toEqual([10, 11, 12, 13, 14, 15].map((i) => `test.no${i}`));
    const newest = await createClient(ActivityService, newTransport).listUserActivity({ userId: ada.id, pageSize: 1 });
    expect(newest.activities[0]!.action).toBe('test.no15');
    await withClient(target.url, async (client) => {
      const { rows } = await client.query(
        "select count(*)::int as n from activity where action = 'test.no15' and seq > 1000 and writer > 0",
      );
      expect(rows).toEqual([{ n: 1 }]);
    });
    expect(await refusalOf(createClient(UserService, newTransport).createUser(newUser('ada')))).toMatchObject({
      code: 'AlreadyExists',
    });
  }, 60_000);

  test('refuses while the file is served, and a database that holds anything, and changes nothing', async () => {
    await using kith = await serve();
    expect(await run('copy-to', target.url)).toMatchObject({
      code: 78,
      stdout: '',
      stderr: `kith: ${file}: another process has it open: stop it first\n`,
    });
    expect(await target.dump()).toBe('[]');
    kith.kill('SIGTERM');
    await kith.exited;
    expect(await run('copy-to', target.url)).toMatchObject({ code: 0 });
    const before = await target.dump();
    expect(await refused('copy-to', target.url)).toMatch(/must be an empty database, and has rows in the table \w+/);
    expect(await target.dump()).toBe(before);
  });

  test('refuses a database with tables of something else', async () => {
    await makeDatabase();
    await withClient(target.url, (client) => client.query('create table things (id int)'));
    expect(await refused('copy-to', target.url)).toMatch(
      /must be an empty database, and has a table things of something/,
    );
    expect(await target.dump()).toBe('[["things",[]]]');
  });

  test.each<[string, () => Promise<string>, RegExp]>([
    [
      'a server that is not there',
      async () => 'postgres://u:secret@127.0.0.1:1/kith',
      /u:\.\.\.@127\.0\.0\.1:1\/kith: .*ECONNREFUSED/,
    ],
    ['a database that is not there', async () => target.url.replace('/kith_', '/no_kith_'), /does not exist/],
    ['another file', async () => `sqlite:${directory}/b.db`, /must be postgres:\/\/\.\.\./],
    [
      'a missing file',
      async () => ((env['KITH_DATABASE_URL'] += '.not'), target.url),
      /kith\.db\.not: there is no such file/,
    ],
    ['a damaged file', async () => (await damage(file), target.url), /kith\.db: .*damaged/],
    ['a copy from a server', async () => ((env['KITH_DATABASE_URL'] = target.url), target.url), /such as pg_dump/],
  ])('refuses %s', async (_, prepare, message) => {
    await makeDatabase();
    expect(await refused('copy-to', await prepare())).toMatch(message);
    expect(await target.dump()).toBe('[]');
  });

  test('names what the other database would not store, copies nothing of the rest, and can be repeated', async () => {
    await makeDatabase();
    const id = changeFile("update users set name = 'a' || char(0) || 'b' where username = 'ada' returning id");
    expect(await refused('copy-to', target.url)).toMatch(
      `the table users has a NUL character in name of ${id}, which PostgreSQL does not store: remove it first`,
    );
    expect(await rowsIn(target.url, 'signing_keys')).toBe(0);
    changeFile("update users set name = 'ab' where username = 'ada'");
    expect(await run('copy-to', target.url)).toMatchObject({ code: 0 });
    expect(await contentOf(target.url)).toEqual(contentOfFile(file));
  });

  test('finds out when a row comes out different, and takes everything back', async () => {
    await makeDatabase();
    await (await openDatabase(target.url))[Symbol.asyncDispose]();
    await withClient(target.url, (client) =>
      client.query(`
        create function spoil() returns trigger language plpgsql as $$ begin new.name = new.name || '.'; return new; end $$;
        create trigger spoil before insert on users for each row when (new.username = 'ada') execute function spoil()`),
    );
    const empty = await target.dump();
    expect(await refused('copy-to', target.url)).toMatch(
      'the table users came out different (2 rows, 2 after copying): nothing was copied',
    );
    expect(await target.dump()).toBe(empty);
    await withClient(target.url, (client) => client.query('drop trigger spoil on users'));
    expect(await run('copy-to', target.url)).toMatchObject({ code: 0 });
    expect(await contentOf(target.url)).toEqual(contentOfFile(file));
  });

  test('can be repeated after it was killed half-way', async () => {
    await makeDatabase();
    changeFile(`
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 100000)
      insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
      select i, (select id from users limit 1), 'test', '', '{}', 0, i, i from n`);
    {
      await using copying = await spawnKith({ directory, env, args: ['copy-to', target.url] });
      await vi.waitFor(() => expect(copying.stdout).toMatch(/^users: /m), { timeout: 30_000, interval: 5 });
      copying.kill('SIGKILL');
      const { stdout } = await copying.exited;
      expect(stdout).not.toMatch(/compared/);
    }
    expect(await rowsIn(target.url, 'users')).toBe(0);
    const { code, stdout } = await run('copy-to', target.url);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^activity: 10\d{4} rows$/m);
    expect(await rowsIn(target.url, 'activity')).toBeGreaterThanOrEqual(100_000);
  }, 90_000);
});

test('a command that is not there is refused, and --help names those that are', async () => {
  expect(await refused('toString')).toMatch('there is no command toString; npm start -- --help lists them');
  expect(await run('frobnicate')).toMatchObject({
    code: 2,
    stderr: 'kith: there is no command frobnicate; kith --help lists them\n',
  });
  const { stdout } = await run('--help');
  for (const usage of ['backup FILE', 'restore FILE', 'copy-to URL']) expect(stdout).toContain(`  ${usage} `);
});

/** Changes rows behind the back of Kith; the id of the first one, when the statement returns it. */
function changeFile(statement: string): string {
  using database = new DatabaseSync(file);
  return String(database.prepare(statement).all()[0]?.['id']);
}

/** All rows of all tables but the migrations', as text, without an order. */
type Content = Record<string, string[]>;

function contentOfFile(path: string): Content {
  using database = new DatabaseSync(path, { readOnly: true });
  const tables = database
    .prepare(
      "select name from sqlite_schema where type = 'table' and name not like 'sqlite%' and name not like 'kysely%'",
    )
    .all()
    .map(({ name }) => String(name));
  return Object.fromEntries(
    tables.map((table) => [
      table,
      asText(database.prepare(`select * from "${table}"`).all() as Record<string, unknown>[]),
    ]),
  );
}

async function contentOf(url: string): Promise<Content> {
  return withClient(url, async (client) => {
    const tables = await client.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'public' and tablename not like 'kysely%'",
    );
    const content: Content = {};
    for (const { name } of tables.rows) content[name] = asText((await client.query(`select * from "${name}"`)).rows);
    return content;
  });
}

function asText(rows: Record<string, unknown>[]): string[] {
  const line = (row: Record<string, unknown>) =>
    JSON.stringify(Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? `${value}` : value]));
  return rows.map(line).toSorted();
}

async function rowsIn(url: string, table: string): Promise<number> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ n: number }>(`select count(*)::int as n from ${table}`);
    return rows[0]!.n;
  });
}

async function withClient<T>(url: string, work: (client: PgClient) => Promise<T>): Promise<T> {
  const client = new PgClient({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
