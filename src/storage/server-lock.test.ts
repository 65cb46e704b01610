import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, readdir, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DatabaseError } from './dialect.ts';
import { lockForServer } from './server-lock.ts';

const MODULE = new URL('server-lock.ts', import.meta.url).href;

function temporary() {
  return mkdtempDisposable(join(tmpdir(), 'kith-lock-'));
}

test('one server has a file, by whatever link the other one finds it, until it ends', async () => {
  await using directory = await temporary();
  const [file, link] = [join(directory.path, 'kith.db'), join(directory.path, 'link.db')];
  await writeFile(file, '');
  await symlink('kith.db', link);
  {
    using _ = await lockForServer(`sqlite:${file}`);
    const second = lockForServer(`sqlite:${link}`, 0);
    await expect(second).rejects.toThrow(DatabaseError);
    await expect(second).rejects.toThrow(
      `sqlite:${link}: another server serves this file: stop it, or give several servers PostgreSQL`,
    );
    (await lockForServer(`sqlite:${join(directory.path, 'other.db')}`, 0))[Symbol.dispose]();
  }
  {
    using _ = await lockForServer(`sqlite:${link}`, 0);
  }
  expect(await readdir(directory.path)).toEqual(['kith.db', 'link.db']);
});

test('a server that takes the place of another one waits for it to end', async () => {
  await using directory = await temporary();
  const url = `sqlite:${join(directory.path, 'data', 'kith.db')}`;
  const first = await lockForServer(url);
  const second = lockForServer(url);
  first[Symbol.dispose]();
  await expect(second.then((lock) => lock[Symbol.dispose]())).resolves.toBeUndefined();
});

test('a process that is killed leaves the file to the next one', async () => {
  await using directory = await temporary();
  const url = `sqlite:${join(directory.path, 'kith.db')}`;
  const program = `globalThis.lock = await (await import(${JSON.stringify(MODULE)})).lockForServer(${JSON.stringify(url)});
    console.log('locked'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  await expect(lockForServer(url, 0)).rejects.toThrow('another server serves this file');
  child.kill('SIGKILL');
  await once(child, 'close');
  using _ = await lockForServer(url, 0);
});

test('what is not a file is left to whoever opens it, and servers of PostgreSQL are as many as one likes', async () => {
  await using directory = await temporary();
  using locks = new DisposableStack();
  for (const url of [`sqlite:${directory.path}`, 'postgres://localhost/kith', 'postgres://localhost/kith']) {
    locks.use(await lockForServer(url, 0));
  }
  expect(await readdir(directory.path)).toEqual([]);
});
