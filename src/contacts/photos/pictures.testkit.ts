import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import type { Pixels } from './square.ts';

const moduleOf = (file: string) => new WebAssembly.Module(readFileSync(fileURLToPath(import.meta.resolve(file))));

/** Options with which a codec takes its module from its file. */
function compiled(file: string) {
  return {
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(moduleOf(file), imports);
      done(instance);
      return instance.exports;
    },
  };
}

type Colour = readonly [red: number, green: number, blue: number, alpha?: number];

export const RED: Colour = [220, 20, 20];
export const GREEN: Colour = [20, 180, 20];
export const BLUE: Colour = [20, 20, 220];
export const YELLOW: Colour = [230, 220, 20];

/** A picture of four colours: top left, top right, bottom left, bottom right. */
export function quarters(
  width: number,
  height = width,
  colours: readonly Colour[] = [RED, GREEN, BLUE, YELLOW],
): Pixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [red, green, blue, alpha = 255] = colours[(y < height / 2 ? 0 : 2) + (x < width / 2 ? 0 : 1)]!;
      data.set([red, green, blue, alpha], (y * width + x) * 4);
    }
  }
  return { data, width, height };
}

const asImageData = (pixels: Pixels) => pixels as unknown as ImageData;

export async function toJpeg(pixels: Pixels, options: { readonly progressive?: boolean } = {}): Promise<Buffer> {
  const { default: encode, init } = await import('@jsquash/jpeg/encode.js');
  await init(compiled('@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm'));
  return Buffer.from(await encode(asImageData(pixels), { quality: 90, progressive: false, ...options }));
}

export async function fromJpeg(bytes: Uint8Array): Promise<Pixels> {
  const { default: decode, init } = await import('@jsquash/jpeg/decode.js');
  await init(compiled('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm'));
  return decode(Uint8Array.from(bytes).buffer);
}

export async function toWebp(pixels: Pixels, options: { readonly lossless?: number } = {}): Promise<Buffer> {
  const { default: encode, init } = await import('@jsquash/webp/encode.js');
  await init(moduleOf('@jsquash/webp/codec/enc/webp_enc.wasm'));
  return Buffer.from(await encode(asImageData(pixels), options));
}

/** A progressive JPEG with its last scan so many times more. */
export async function jpegOfScans(more: number): Promise<Buffer> {
  const jpeg = await toJpeg(quarters(64), { progressive: true });
  const last = jpeg.subarray(jpeg.lastIndexOf(Buffer.from([0xff, 0xda])), -2);
  return Buffer.concat([jpeg.subarray(0, -2), ...Array.from({ length: more }, () => last), jpeg.subarray(-2)]);
}

/** A lossless WebP of 1,024 x 1,024 black pixels that has 65,536 groups of codes (RFC 9649, 3.7.2): a decoder wants 1.3 GB for them. */
export function webpOfManyCodes(): Buffer {
  const bits: number[] = [];
  const put = (value: number, count: number) => {
    for (let i = 0; i < count; i++) bits.push((value >>> i) & 1);
  };
  const putOneSymbol = () => put(1, 4);
  // Codes of 8 bits for 256 symbols: first the lengths of the codes in which their lengths are written.
  const putAll = (alphabet: number) => {
    put(0, 1);
    put(12 - 4, 4);
    for (const symbol of [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8]) put(symbol === 0 || symbol === 8 ? 1 : 0, 3);
    put(0, 1);
    for (let i = 0; i < alphabet; i++) put(i < 256 ? 1 : 0, 1);
  };
  put(0x2f, 8);
  put(1023, 14);
  put(1023, 14);
  put(0, 1 + 3 + 1); // no alpha, the version, no transform
  put(1, 1);
  put(11, 4); // a cache of 2,048 colours
  put(1, 1);
  put(0, 3 + 1); // which groups blocks of 4 x 4 pixels have, as a picture
  putAll(280);
  putAll(256);
  for (let i = 0; i < 3; i++) putOneSymbol();
  for (let i = 0; i < 65_536; i++) put(i, 16);
  for (let i = 0; i < 65_536 * 5; i++) putOneSymbol();
  const data = Buffer.alloc(Math.ceil(bits.length / 16) * 2);
  bits.forEach((bit, i) => (data[i >> 3]! |= bit << (i & 7)));
  const head = Buffer.from('RIFF0000WEBPVP8L0000', 'latin1');
  head.writeUInt32LE(data.length + 12, 4);
  head.writeUInt32LE(data.length, 16);
  return Buffer.concat([head, data]);
}

/** A chunk of PNG: its length, a tag, data and a checksum. */
export function pngChunk(tag: string, data: Uint8Array): Buffer {
  const chunk = Buffer.alloc(data.length + 12);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(tag, 4, 'latin1');
  chunk.set(data, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), data.length + 8);
  return chunk;
}

const PNG_HEAD = Buffer.from('89504e470d0a1a0a', 'hex');

function pngHeader(width: number, height: number, depth: number, kind: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, kind, 0, 0, 0], 8);
  return pngChunk('IHDR', header);
}

/** A PNG of red, green, blue and alpha. `others` are chunks before the pixels. */
export function toPng({ data, width, height }: Pixels, others: readonly Buffer[] = []): Buffer {
  const rows = Buffer.alloc(height * (width * 4 + 1));
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width * 4, (y + 1) * width * 4), y * (width * 4 + 1) + 1);
  const pixels = pngChunk('IDAT', deflateSync(rows));
  return Buffer.concat([
    PNG_HEAD,
    pngHeader(width, height, 8, 6),
    ...others,
    pixels,
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A black PNG: a byte for 8,000 pixels. */
export function blackPng(width: number, height: number): Buffer {
  return pngThatSays(width, height, Buffer.alloc(Math.ceil(width / 8 + 1) * height));
}

/** A PNG that says it is so large, whatever rows it has. */
export function pngThatSays(width: number, height: number, pixels = Buffer.alloc(10)): Buffer {
  const rows = deflateSync(pixels, { level: 9 });
  const parts = [pngHeader(width, height, 1, 0), pngChunk('IDAT', rows), pngChunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([PNG_HEAD, ...parts]);
}

/** EXIF with an orientation, as it stands in PNG and WebP. */
export function exif(orientation: number): Buffer {
  const bytes = Buffer.alloc(26);
  bytes.write('MM\0*', 0, 'latin1');
  bytes.writeUInt32BE(8, 4);
  bytes.writeUInt16BE(1, 8);
  bytes.writeUInt16BE(0x0112, 10);
  bytes.writeUInt16BE(3, 12);
  bytes.writeUInt32BE(1, 14);
  bytes.writeUInt16BE(orientation, 18);
  return bytes;
}

/** A JPEG with a segment behind its first two bytes. */
export function withSegment(jpeg: Uint8Array, marker: number, data: Uint8Array): Buffer {
  const head = Buffer.from([0xff, marker, (data.length + 2) >> 8, (data.length + 2) & 0xff]);
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)]);
}

export function withOrientation(jpeg: Uint8Array, orientation: number): Buffer {
  return withSegment(jpeg, 0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif(orientation)]));
}

/** What the quarters of a picture are most like, in the order of `quarters`. */
export function coloursOf({ data, width, height }: Pixels): string {
  const at = (x: number, y: number) => data.subarray((Math.floor(y * height) * width + Math.floor(x * width)) * 4);
  const places = [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)];
  return places
    .map(([red = 0, green = 0, blue = 0]) => {
      if (red > 200 && green > 200 && blue > 200) return 'W';
      if (red > 150 && green > 150) return 'Y';
      return red > 150 ? 'R' : green > 120 ? 'G' : blue > 150 ? 'B' : 'K';
    })
    .join('');
}
