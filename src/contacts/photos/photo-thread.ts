/** Reads pictures and makes photos of them, one after the other, for src/contacts/photos/photo-maker.ts. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parentPort } from 'node:worker_threads';
import { type ImageHeader, readImageHeader, UnreadableImage } from './image-header.ts';
import { type MadePhoto, PHOTO_SIZES, type PhotoAnswer, type PhotoOutcome } from './photo.ts';
import { type Pixels, squareOf } from './square.ts';
import { withMemoryMax } from './wasm-memory.ts';

const port = parentPort;
if (port === null) throw new Error('this file is the entry of a worker thread');

/** The most memory of each codec, pages of 64 KiB. The largest picture takes some 70 MiB; WebP may ask for 1.3 GB for 300 kB. */
const CODEC_PAGES_MAX = 2048;

/** How much memory of codecs the thread may hold when it has nothing to do, bytes: they have 50 MB before they read anything. */
const HELD_MAX = 64 * 2 ** 20;

const memories: WebAssembly.Memory[] = [];
const heldBytes = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);

port.on('message', (bytes: Uint8Array<ArrayBuffer>) => void answer(bytes));

async function answer(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const outcome = await make(bytes);
  const images = typeof outcome === 'string' ? [] : [outcome.small, outcome.large];
  const answered: PhotoAnswer = { outcome, isLarge: heldBytes() > HELD_MAX };
  port!.postMessage(
    answered,
    images.map(({ buffer }) => buffer),
  );
}

async function make(bytes: Uint8Array<ArrayBuffer>): Promise<PhotoOutcome> {
  try {
    const { format, orientation } = readImageHeader(bytes);
    const decode = await DECODERS[format]();
    const pixels = await decode(bytes);
    const large = squareOf(pixels, orientation, PHOTO_SIZES.large);
    const encode = await encoder();
    const made: MadePhoto = {
      large: await encode(large),
      small: await encode(squareOf(large, 1, PHOTO_SIZES.small)),
    };
    return made;
  } catch (error) {
    // Codecs throw what they like: also numbers.
    return error instanceof UnreadableImage ? error.message : 'is broken';
  }
}

type Decode = (bytes: Uint8Array<ArrayBuffer>) => Promise<Pixels>;

/** Loads something when it is first needed. */
function lazy<Value>(load: () => Promise<Value>): () => Promise<Value> {
  let loaded: Promise<Value> | undefined;
  return () => (loaded ??= load());
}

/** How each format is read. A codec is loaded from its package: none fetches anything. */
const DECODERS: Readonly<Record<ImageHeader['format'], () => Promise<Decode>>> = {
  jpeg: lazy(async () => {
    const { default: decode, init } = await import('@jsquash/jpeg/decode.js');
    let isCut = false;
    await init({
      ...compiled('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm'),
      // The rest would be grey: libjpeg calls it a warning.
      printErr: (text: string) => (isCut ||= text.startsWith('Premature end')),
    });
    return async (bytes) => {
      const pixels = await decode(exact(bytes));
      if (isCut) throw new UnreadableImage('ends too soon'); // which ends the thread
      return pixels;
    };
  }),
  png: lazy(async () => {
    const { default: decode, init } = await import('@jsquash/png/decode.js');
    const { memory } = await init(moduleOf('@jsquash/png/codec/pkg/squoosh_png_bg.wasm'));
    memories.push(memory);
    return (bytes) => decode(exact(bytes));
  }),
  webp: lazy(async () => {
    const { default: decode, init } = await import('@jsquash/webp/decode.js');
    await init(compiled('@jsquash/webp/codec/dec/webp_dec.wasm'));
    return (bytes) => decode(exact(bytes));
  }),
};

const encoder = lazy(async () => {
  const { default: encodeJpeg, init } = await import('@jsquash/jpeg/encode.js');
  await init(compiled('@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm'));
  return async (pixels: Pixels) => {
    const encoded = await encodeJpeg({ ...pixels, colorSpace: 'srgb', pixelFormat: 'rgba-unorm8' } as ImageData, {
      quality: 82,
      progressive: false,
    });
    return new Uint8Array(encoded);
  };
});

function moduleOf(file: string): WebAssembly.Module {
  return new WebAssembly.Module(withMemoryMax(readFileSync(fileURLToPath(import.meta.resolve(file))), CODEC_PAGES_MAX));
}

/** Options of Emscripten that take a module from its file, and print nothing. */
function compiled(file: string) {
  return {
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(moduleOf(file), imports);
      memories.push(...Object.values(instance.exports).filter((each) => each instanceof WebAssembly.Memory));
      done(instance);
      return instance.exports;
    },
    print: () => {},
    printErr: () => {},
  };
}

/** The bytes as a buffer of their own, which may be a part of a larger one. */
function exact({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}
