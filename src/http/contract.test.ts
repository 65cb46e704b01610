import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Kith, startKith } from '../../test/support/kith.ts';
import { connectHttp2, http1Request, type RawAnswer, sendHttp1 } from '../../test/support/raw.ts';
import { SERVICES } from '../services.ts';

const PATH = '/contract.binpb';
const IMAGE = readFileSync('gen/contract.binpb');
const GZIP = { 'accept-encoding': 'br;q=1.0, gzip;q=0.8' };

let kith: Kith;
let plain: RawAnswer;
let packed: RawAnswer;
beforeAll(async () => {
  kith = await startKith({ env: { KITH_CORS_ORIGINS: 'https://app.example.org' } });
  [plain, packed] = [await ask(), await ask(GZIP)];
});
afterAll(() => kith[Symbol.asyncDispose]());

function ask(headers: Record<string, string> = {}, method = 'GET'): Promise<RawAnswer> {
  return sendHttp1(kith.address, http1Request(method, PATH, { connection: 'close', ...headers }));
}

test('what is served is the contract that is committed, packed for those who take it so', () => {
  expect([plain.status, packed.status]).toEqual([200, 200]);
  expect(plain.body.equals(IMAGE)).toBe(true);
  expect(gunzipSync(packed.body).equals(IMAGE)).toBe(true);
  expect(plain.headers['content-encoding']).toBeUndefined();
  expect(packed.headers['content-encoding']).toBe('gzip');
  expect(packed.body.length).toBeLessThan(plain.body.length / 2);
});

describe('the contract', () => {
  const set = fromBinary(FileDescriptorSetSchema, IMAGE);
  const registry = createFileRegistry(set);

  test('holds every service that is served, as it is served, and all that it imports', () => {
    for (const service of SERVICES) {
      const told = registry.getService(service.typeName);
      const methodsOf = ({ methods }: typeof service) =>
        methods.map(({ name, methodKind, input, output }) => [
          name,
          methodKind,
          input.typeName,
          input.fields.map((field) => `${field.number} ${field.name}`),
          output.typeName,
          output.fields.map((field) => `${field.number} ${field.name}`),
        ]);
      expect(told && methodsOf(told)).toEqual(methodsOf(service));
    }
    const names = set.file.map(({ name }) => name);
    expect(set.file.flatMap(({ dependency }) => dependency).filter((name) => !names.includes(name))).toEqual([]);
  });

  test('has the comments of the sources, for the code that is generated', () => {
    const places = set.file.flatMap(({ sourceCodeInfo }) => sourceCodeInfo?.location ?? []);
    expect(places.some(({ leadingComments }) => leadingComments.startsWith(' Watch activity as it happens'))).toBe(
      true,
    );
  });

  test('is read by @grpc/proto-loader', () => {
    const definition = loadFileDescriptorSetFromBuffer(plain.body);
    for (const { typeName, methods } of SERVICES) {
      expect(Object.keys(definition[typeName] ?? {}).toSorted()).toEqual(methods.map(({ name }) => name).toSorted());
    }
  });
});

test('HEAD answers as GET does, without the contract', async () => {
  const url = kith.address + PATH;
  const [head, get] = [await fetch(url, { method: 'HEAD' }), await fetch(url)]; // both take gzip
  const described = ({ headers }: Response) =>
    ['content-type', 'content-length', 'content-encoding', 'cache-control', 'etag', 'vary'].map((name) =>
      headers.get(name),
    );
  expect(head.status).toBe(200);
  expect(described(head)).toEqual(described(get));
  expect(described(head)).not.toContain(null);
  expect(await head.text()).toBe('');
  await get.bytes();
});

test('pages of any origin may read it, and caches keep the two forms apart', async () => {
  const { headers } = await ask({ origin: 'https://elsewhere.example' });
  expect(headers).toMatchObject({
    'access-control-allow-origin': '*',
    'cache-control': 'public, no-cache',
    vary: 'accept-encoding',
    etag: expect.stringMatching(/^"[\w-]{43}"$/),
  });
  expect(packed.headers['etag']).not.toBe(plain.headers['etag']);
});

test('who has it already is told so, and who has the other form gets this one', async () => {
  const [tag, packedTag] = [plain.headers['etag']!, packed.headers['etag']!];
  const statuses = await Promise.all([
    ask({ 'if-none-match': tag }),
    ask({ 'if-none-match': tag }, 'HEAD'),
    ask({ 'if-none-match': packedTag, ...GZIP }),
    ask({ 'if-none-match': packedTag }),
    ask({ 'if-none-match': tag, ...GZIP }),
  ]);
  expect(statuses.map(({ status }) => status)).toEqual([304, 304, 304, 200, 200]);
  expect(statuses.map(({ body }) => body.length > 0)).toEqual([false, false, false, true, true]);
});

test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('%s is not for contracts', async (method) => {
  expect((await ask({}, method)).status).toBe(404);
});

test('it is served over HTTP/2 too', async () => {
  await using session = await connectHttp2(kith.address);
  const stream = session.request({ ':path': PATH });
  expect((await buffer(stream)).equals(IMAGE)).toBe(true);
});

test('readers that stand still make those of their address wait and then be refused, and leave room when they go', async () => {
  const sessions = [await connectHttp2(kith.address), await connectHttp2(kith.address)];
  // Nobody reads these, and each answer is larger than what HTTP/2 sends to a stream that is not read.
  const streams = sessions.flatMap((session) =>
    Array.from({ length: 95 }, () => session.request({ ':path': PATH }).on('error', () => {})),
  );
  const statuses = streams.map(async (stream) => {
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    return Number(headers[':status']);
  });
  // Four are served and a hundred wait.
  expect(await Promise.any(statuses.map(async (status) => ((await status) === 429 ? 429 : Promise.reject())))).toBe(
    429,
  );
  const refused = await ask();
  expect(refused.status).toBe(429);
  expect(JSON.parse(refused.body.toString())).toMatchObject({ code: 'resource_exhausted' });
  expect(refused.headers).toMatchObject({ 'cache-control': 'no-store', 'retry-after': expect.stringMatching(/^\d+$/) });
  expect(refused.headers['etag']).toBeUndefined();
  for (const session of sessions) session.destroy();
  await expect.poll(async () => (await ask()).status).toBe(200);
});
