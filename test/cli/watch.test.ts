import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningCommand, openShell, type Shell } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { ADMIN_PASSWORD } from '../support/kith.ts';
import { type ServingProcess, startProcess } from '../support/process.ts';

let server: ServingProcess;
let shell: Shell;
let directory: string;
let port: number;
const serve = () =>
  startProcess({
    directory,
    env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_PORT: String(port), KITH_SHUTDOWN_SECONDS: '0' },
  });

beforeAll(async () => {
  port = await freePort();
  shell = await openShell({ KITH_URL: `http://127.0.0.1:${port}` });
  directory = shell.directory;
  server = await serve();
  await shell.kithHere(['login', 'admin'], { input: `${ADMIN_PASSWORD}\n` });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await shell[Symbol.asyncDispose]();
});

const note = async (name: string) => {
  const { code } = await shell.kithHere([
    'activity',
    'record',
    '--activities',
    JSON.stringify({ action: 'shop.ordered', details: name }),
  ]);
  expect(code).toBe(0);
};
const lines = (command: RunningCommand) =>
  command.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { cursor: string; activity: { id: string; action: string } });

test('a watch goes on over a restart of the server, and from the cursor that it printed when it ended', async () => {
  const file = join(directory, 'cursor.txt');
  const watch = shell.start(['watch', '--jsonl', '--action-prefix', 'shop', '--cursor-file', file]);
  // A cursor is there as soon as the watch is.
  await expect.poll(() => readFile(file, 'utf8').catch(() => '')).not.toBe('');
  await note('first');
  await watch.until('stdout', /\n/);
  server.kill('SIGTERM');
  await server.exited;
  server = await serve();
  await note('second');
  await watch.until('stdout', /\n.*\n/);
  watch.child.kill('SIGINT');
  const { code, stderr } = await watch.ended;
  expect(code).toBe(130);
  const [, cursor = ''] = /to go on, watch --from (\S+)\n$/.exec(stderr) ?? [];
  const seen = lines(watch);
  expect(seen.map(({ activity }) => activity.action)).toEqual(['shop.ordered', 'shop.ordered']);
  expect((await readFile(file, 'utf8')).trim()).toBe(cursor);

  await note('third');
  for (const from of [
    ['--from', cursor],
    ['--cursor-file', file],
  ]) {
    const again = await shell.kithHere(['watch', '--jsonl', '--action-prefix', 'shop', '--limit', '1', ...from]);
    expect(again.code).toBe(0);
    const [{ activity }] = again.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)) as [(typeof seen)[number]];
    expect(seen.map(({ activity: { id } }) => id)).not.toContain(activity.id);
  }
});

test('a cursor that is none is refused', async () => {
  expect(await shell.kithHere(['watch', '--from', 'nonsense'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('CURSOR_INVALID'),
  });
});
