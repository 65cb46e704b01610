/**
 * Starts Kith, generates clients from the contract that it hands out, starts the orders service, and
 * shows what they say to each other. Everything ends with it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

const HERE = import.meta.dirname;
const ROOT = resolve(HERE, '../..');
const ISSUER = 'http://kith.example.org';
const ADMIN_PASSWORD = 'correct horse battery';

await using stack = new AsyncDisposableStack();
const data = stack.use(await mkdtempDisposable(join(tmpdir(), 'two-services-')));

const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
const code = await Promise.race([show().then(() => 0), interrupted.then(() => 1)]);
await stack.disposeAsync();
process.exit(code); // connections would be kept for a while

async function show(): Promise<void> {
  const kith = await start('kith', join(ROOT, 'src/main.ts'), / serves .* at (\S+)/, {
    KITH_PORT: '0',
    KITH_HOST: '127.0.0.1',
    KITH_ISSUER: ISSUER,
    KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
    KITH_LOG_LEVEL: 'warn',
  });
  for (const contract of [`${kith}/contract.binpb`, 'proto']) {
    console.log(`$ buf generate ${contract}`);
    execFileSync(join(ROOT, 'node_modules/.bin/buf'), ['generate', contract], {
      cwd: HERE,
      env: { ...process.env, PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH']}` },
      stdio: 'inherit',
    });
  }
  const { converse, makeApiKey } = await import('./conversation.ts');
  const orders = await start('orders', join(HERE, 'orders.ts'), /serving at (\S+)/, {
    KITH_ADDRESS: kith,
    KITH_ISSUER: ISSUER,
    KITH_API_KEY: await makeApiKey(kith, ADMIN_PASSWORD),
  });
  await converse(kith, orders, ADMIN_PASSWORD);
}

/** Starts a process, passes on what it says, and waits until it says where it serves. */
async function start(name: string, file: string, serving: RegExp, env: Record<string, string>): Promise<string> {
  const child = spawn(process.execPath, [file], {
    cwd: data.path,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  stack.defer(async () => {
    child.kill();
    await closed;
  });
  const address = Promise.withResolvers<string>();
  const read = async (stream: Readable) => {
    for await (const line of createInterface(stream)) {
      const [, served] = serving.exec(line) ?? [];
      // What Kith says to try first is not for here.
      if (name === 'orders' || served !== undefined) console.log(`[${name}] ${line}`);
      if (served !== undefined) address.resolve(served);
    }
  };
  void Promise.all([read(child.stdout), read(child.stderr)]);
  void closed.then(([code]) => address.reject(new Error(`${name} ended with ${code}`)));
  return await address.promise;
}
