import zlib from 'node:zlib';
import { Code } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from 'vitest';
import { Compressor } from './compressor.ts';

/** A stream of neither format. Bytes by chance are one of brotli now and then. */
const BROKEN = Buffer.alloc(100, 0xff);
const TEXT = Buffer.from('an answer that repeats itself, '.repeat(10_000));

let compressor: Compressor;
afterEach(() => compressor[Symbol.dispose]());

describe.each([
  ['gzip', zlib.gunzipSync, zlib.gzipSync],
  ['br', zlib.brotliDecompressSync, zlib.brotliCompressSync],
])('%s', (name, unpack, pack) => {
  test.each([
    ['in the thread', TEXT],
    ['where it is made, when it is small', TEXT.subarray(0, 2000)],
  ])('packs an answer %s', async (_, answer) => {
    compressor = new Compressor();
    const packed = await compressor.compress(name, answer, 'user:a');
    expect(packed!.length).toBeLessThan(answer.length / 5);
    expect(Buffer.from(unpack(packed!)).equals(answer)).toBe(true);
  });

  test.each([
    ['here, when little may come of it', 60_000],
    ['in the thread', 400_000],
  ])('unpacks as much as may be, and not a byte more: %s', async (_, max) => {
    compressor = new Compressor();
    const { decompress } = compressor.compressions.find((each) => each.name === name)!;
    expect((await decompress(pack(Buffer.alloc(max)), max)).length).toBe(max);
    await expect(decompress(pack(Buffer.alloc(max + 1)), max)).rejects.toMatchObject({ code: Code.ResourceExhausted });
    await expect(decompress(BROKEN, max)).rejects.toThrow('decompression failed');
    expect(await decompress(new Uint8Array(0), max)).toEqual(new Uint8Array(0));
  });
});

describe('what waits for the thread', () => {
  test('is bounded for each caller: an answer that finds the queue full goes out as it is', async () => {
    compressor = new Compressor();
    const many = Array.from({ length: 30 }, () => compressor.compress('gzip', TEXT, 'user:a'));
    const other = compressor.compress('gzip', TEXT, 'user:b');
    const packed = (await Promise.all(many)).filter((each) => each !== undefined);
    expect(packed.length).toBe(9); // one runs, eight wait
    expect(await other).toBeDefined();
  });

  test('is left out when nobody wants it any more', async () => {
    compressor = new Compressor();
    const first = compressor.compress('gzip', TEXT, 'user:a');
    const left = compressor.compress('gzip', TEXT, 'user:a', () => false);
    expect(await first).toBeDefined();
    expect(await left).toBeUndefined();
  });

  test('comes to an end for Connect too, which has to have what it asks for', async () => {
    compressor = new Compressor();
    const { compress } = compressor.compressions[0]!;
    const packed = await Promise.all(Array.from({ length: 30 }, () => compress(TEXT)));
    for (const each of packed) expect(zlib.gunzipSync(each).length).toBe(TEXT.length);
  });
});
