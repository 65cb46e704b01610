import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus } from '../gen/health/v1/health_pb.ts';
import { run } from './support/commands.ts';
import { type Consumer, installPacked, needPackage } from './support/packed.ts';
import { sectionOf } from './support/tour.ts';

const README = await readFile('packages/connect-fast/README.md', 'utf8');
const PEERS = ['@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-node'];

let packed: Consumer | undefined;
beforeAll(async () => {
  packed = await installPacked('connect-fast', [], [...PEERS, '@connectrpc/connect-fastify', 'fastify', '@types/node']);
  if (packed !== undefined) await cp('gen/health', join(packed.directory, 'gen/health'), { recursive: true });
});
afterAll(() => packed?.[Symbol.asyncDispose]());

describe('the package', () => {
  test('holds JavaScript, declarations and nothing of the server, and brings nothing along', async (context) => {
    const { manifest, files, installed } = needPackage(context, packed);
    expect(Object.keys(manifest['peerDependencies'] as object)).toEqual(PEERS);
    for (const field of ['dependencies', 'scripts', 'bin']) expect(manifest).not.toHaveProperty(field);
    expect(manifest['private']).toBe(true); // the scope is not the project's in the registry
    const others = files.filter((file) => !/^lib\/[a-z-]+\.(js|js\.map|d\.ts)$/.test(file));
    expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);
    const imported = new Set<string>();
    for (const file of (await readdir(join(installed, 'lib'))).filter((name) => !name.endsWith('.map'))) {
      const source = await readFile(join(installed, 'lib', file), 'utf8');
      for (const [, module] of source.matchAll(/from\s*'([^']+)'/g)) imported.add(module!);
    }
    const foreign = [...imported].filter((module) => !/^\.\/|^node:|^@connectrpc\/|^@bufbuild\/protobuf/.test(module));
    expect(foreign).toEqual([]);
  });

  test('has a readme without links into the repository', () => {
    expect(README).not.toMatch(/\]\(\.\.?\//);
  });
});

/** Writes the code under a heading to a file of the consumer. */
async function exampleOf({ directory }: Consumer, heading: string, file: string): Promise<string> {
  const [, code] = /^```ts\n(.*?)^```$/ms.exec(sectionOf(README, heading))!;
  const path = join(directory, file);
  await writeFile(path, code!.replace(/(listen\(|port: )3000/, '$10'));
  return path;
}

/** Starts an example; `address` is what it prints. */
async function startExample({ directory }: Consumer, path: string): Promise<{ address: string } & AsyncDisposable> {
  const child = spawn(process.execPath, [path], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [address] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    exited.then(([code]) => Promise.reject(new Error(`the example ended with ${String(code)}`))),
  ])) as [string];
  return {
    address: address.replace('[::1]', 'localhost'),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const check = async (transport: Transport) => (await createClient(Health, transport).check({})).status;

describe('an example of the readme', () => {
  test('has no error of types: ## What it makes', async (context) => {
    const { directory } = needPackage(context, packed);
    const [, code] = /^```ts\n(.*?)^```$/ms.exec(sectionOf(README, '## What it makes'))!;
    const path = join(directory, 'makes.ts');
    const given =
      'declare const routes: FastHandlerOptions["routes"]; declare const options: Omit<FastHandlerOptions, "routes">;';
    await writeFile(
      path,
      `import { createFastHandlers } from '@kith/connect-fast';
type FastHandlerOptions = Parameters<typeof createFastHandlers>[0];
${given}
${code}
export { fallback, handlers, http1, http2 };
`,
    );
    const strict = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024'];
    const more = ['--module', 'nodenext', '--types', 'node', '--lib', 'esnext,dom'];
    const outcome = await run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), ...strict, ...more, path]);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test.for<[string, string]>([
    ['## node:http2', 'http2.ts'],
    ['## Fastify', 'fastify.ts'],
  ])('has no error of types: %s', async ([heading, file], context) => {
    const consumer = needPackage(context, packed);
    const strict = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024'];
    const more = ['--module', 'nodenext', '--allowImportingTsExtensions', '--types', 'node', '--lib', 'esnext,dom'];
    const path = await exampleOf(consumer, heading, file);
    const outcome = await run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), ...strict, ...more, path]);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('answers over gRPC, gRPC-Web and Connect on node:http2', async (context) => {
    const consumer = needPackage(context, packed);
    await using example = await startExample(consumer, await exampleOf(consumer, '## node:http2', 'http2.ts'));
    const options = { baseUrl: example.address, httpVersion: '2' as const };
    for (const transport of [
      createGrpcTransport(options),
      createGrpcWebTransport(options),
      createConnectTransport(options),
    ]) {
      expect(await check(transport)).toBe(HealthCheckResponse_ServingStatus.SERVING);
    }
    // Left to the fallback, over the same port: another content type.
    const charset = createConnectTransport({
      ...options,
      useBinaryFormat: false,
      interceptors: [
        (next) => (request) => {
          request.header.set('content-type', 'application/json; charset=UTF-8');
          return next(request);
        },
      ],
    });
    expect(await check(charset)).toBe(HealthCheckResponse_ServingStatus.SERVING);
  });

  test('answers over gRPC-Web and Connect beside the pages of Fastify', async (context) => {
    const consumer = needPackage(context, packed);
    await using example = await startExample(consumer, await exampleOf(consumer, '## Fastify', 'fastify.ts'));
    const options = { baseUrl: example.address, httpVersion: '1.1' as const };
    for (const transport of [createGrpcWebTransport(options), createConnectTransport(options)]) {
      expect(await check(transport)).toBe(HealthCheckResponse_ServingStatus.SERVING);
    }
    const url = `${example.address}/${Health.typeName}/Check`;
    const post = (type: string) => fetch(url, { method: 'POST', headers: { 'content-type': type }, body: '{}' });
    expect(await (await post('application/json')).json()).toEqual({ status: 'SERVING' });
    expect((await post('application/json; charset=UTF-8')).status).toBe(200); // by the fallback
    expect(await (await fetch(example.address)).text()).toBe('a page');
  });
});
