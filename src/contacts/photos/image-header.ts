/** What a picture is, as its first bytes say: enough to refuse it before anything is decoded. */
export interface ImageHeader {
  readonly format: 'jpeg' | 'png' | 'webp';
  readonly width: number;
  readonly height: number;
  /** How it is to be turned, 1 to 8 (EXIF 2.32, 4.6.4, Orientation). */
  readonly orientation: number;
}

/** Why a picture is refused, in words that follow "the photo". */
export class UnreadableImage extends Error {
  override readonly name = 'UnreadableImage';
}

/** Reads the header of a JPEG, PNG or WebP in time linear in its size. Throws UnreadableImage. */
export function readImageHeader(bytes: Uint8Array): ImageHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const header = readJpeg(view) ?? readPng(view) ?? readWebp(view);
    if (header === undefined) throw new UnreadableImage('is not in JPEG, PNG or WebP');
    if (header.width === 0 || header.height === 0) throw new UnreadableImage('has no pixels');
    return header;
  } catch (error) {
    if (error instanceof RangeError) throw new UnreadableImage('ends too soon', { cause: error });
    throw error;
  }
}

/** The markers that begin a frame (ITU-T T.81, B.1.1.3). Of these, decoders read the first three. */
const FRAMES = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf]);
const READ_FRAMES = new Set([0xc0, 0xc1, 0xc2]);

function readJpeg(view: DataView): ImageHeader | undefined {
  if (view.byteLength < 3 || view.getUint16(0) !== 0xffd8 || view.getUint8(2) !== 0xff) return undefined;
  let orientation = 1;
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) throw new UnreadableImage('is broken');
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    // What has no length of its own, as some write between segments.
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
      continue;
    }
    if (marker === 0xd9 || marker === 0xda) throw new UnreadableImage('has no pixels');
    const length = view.getUint16(at + 2);
    if (length < 2) throw new UnreadableImage('is broken');
    if (FRAMES.has(marker)) {
      const components = view.getUint8(at + 9);
      if (!READ_FRAMES.has(marker)) throw new UnreadableImage('is a JPEG of a kind that hardly anybody reads');
      if (components === 4) throw new UnreadableImage('is in CMYK: save it in RGB');
      requireFewScans(view, at + 2 + length);
      return { format: 'jpeg', height: view.getUint16(at + 5), width: view.getUint16(at + 7), orientation };
    }
    if (marker === 0xe1 && orientation === 1) orientation = orientationOf(view, at + 4, at + 2 + length);
    at += 2 + length;
  }
}

/** How many scans a JPEG may have. Progressive ones have some 10, and a scan of 36 bytes may go over all pixels once more. */
const SCANS_MAX = 64;

function requireFewScans(view: DataView, start: number): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  let scans = 0;
  for (let at = bytes.indexOf(0xff, start); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at)) {
    const marker = bytes[at + 1]!;
    if (marker === 0xd9) return;
    if (marker === 0xff) at += 1;
    // A byte of pixels, or what has no length.
    else if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    else {
      if (marker === 0xda && ++scans > SCANS_MAX) throw new UnreadableImage(`has more than ${SCANS_MAX} scans`);
      at += 2 + view.getUint16(at + 2);
    }
  }
}

const PNG = 0x89504e470d0a1a0an;

function readPng(view: DataView): ImageHeader | undefined {
  if (view.byteLength < 24 || view.getBigUint64(0) !== PNG) return undefined;
  if (view.getUint32(12) !== tag('IHDR')) throw new UnreadableImage('is broken');
  const size = { width: view.getUint32(16), height: view.getUint32(20) };
  let orientation = 1;
  // A chunk is its length, a tag, data and a checksum.
  for (let at = 8; at + 8 <= view.byteLength; ) {
    const end = at + 8 + view.getUint32(at);
    if (view.getUint32(at + 4) === tag('eXIf')) orientation = orientationOf(view, at + 8, end);
    at = end + 4;
  }
  return { format: 'png', ...size, orientation };
}

function readWebp(view: DataView): ImageHeader | undefined {
  if (view.byteLength < 30 || view.getUint32(0) !== tag('RIFF') || view.getUint32(8) !== tag('WEBP')) return undefined;
  const kind = view.getUint32(12);
  if (kind === tag('VP8 ')) {
    return { format: 'webp', width: int16(view, 26) & 0x3fff, height: int16(view, 28) & 0x3fff, orientation: 1 };
  }
  if (kind === tag('VP8L')) {
    const bits = view.getUint32(21, true);
    return { format: 'webp', width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, orientation: 1 };
  }
  if (kind !== tag('VP8X')) throw new UnreadableImage('is broken');
  if ((view.getUint8(20) & 0x02) !== 0) throw new UnreadableImage('moves');
  const int24 = (at: number) => int16(view, at) | (view.getUint8(at + 2) << 16);
  const size = { width: int24(24) + 1, height: int24(27) + 1 };
  let orientation = 1;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const length = view.getUint32(at + 4, true);
    if (view.getUint32(at) === tag('EXIF')) orientation = orientationOf(view, at + 8, at + 8 + length);
    at += 8 + length + (length % 2);
  }
  return { format: 'webp', ...size, orientation };
}

function int16(view: DataView, at: number): number {
  return view.getUint16(at, true);
}

function tag(text: string): number {
  return Buffer.from(text, 'latin1').readUInt32BE(0);
}

/** The orientation that EXIF says between two places; 1 where it says none. What is broken in it says none. */
function orientationOf(view: DataView, start: number, end: number): number {
  const last = Math.min(end, view.byteLength);
  // JPEG and some WebP have a name before it.
  const from = start + 6 <= last && view.getUint32(start) === tag('Exif') ? start + 6 : start;
  if (from + 8 > last) return 1;
  const order = view.getUint16(from);
  if (order !== 0x4949 && order !== 0x4d4d) return 1;
  const isLittle = order === 0x4949;
  const directory = from + view.getUint32(from + 4, isLittle);
  if (directory + 2 > last) return 1;
  const count = view.getUint16(directory, isLittle);
  for (let i = 0; i < count; i++) {
    const entry = directory + 2 + i * 12;
    if (entry + 12 > last) return 1;
    if (view.getUint16(entry, isLittle) !== 0x0112) continue;
    const orientation = view.getUint16(entry + 8, isLittle);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
  }
  return 1;
}
