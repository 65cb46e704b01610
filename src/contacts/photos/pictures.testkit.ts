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
