import { setTimeout } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import type { Failure } from '../../kernel/failure.ts';
import { readImageHeader } from './image-header.ts';
import { PhotoMaker } from './photo-maker.ts';
import {
  blackPng,
  coloursOf,
  exif,
  fromJpeg,
  GREEN,
  jpegOfScans,
  pngChunk,
  pngThatSays,
  quarters,
  RED,
  toJpeg,
  toPng,
  toWebp,
  webpOfManyCodes,
  withOrientation,
  withSegment,
  YELLOW,
} from './pictures.testkit.ts';

const maker = new PhotoMaker();
afterAll(() => maker[Symbol.asyncDispose]());

const make = (image: Uint8Array) => maker.make(image, 'user:ada');
const reasonOf = (made: Promise<unknown>) =>
  made.then(
    () => 'made',
    (error: Failure) => `${error.reason}: ${error.message}`,
  );

describe('a photo', () => {
  test.each([
    ['JPEG', () => toJpeg(quarters(700))],
    ['progressive JPEG', () => toJpeg(quarters(700), { progressive: true })],
    ['PNG', () => toPng(quarters(700))],
    ['WebP', () => toWebp(quarters(700))],
    ['lossless WebP', () => toWebp(quarters(700), { lossless: 1 })],
  ])('of a %s is a JPEG of 512 and one of 96 pixels', async (_, image) => {
    const { large, small } = await make(await image());
    const sizes = [readImageHeader(large), readImageHeader(small)];
    expect(sizes.map(({ format, width, height }) => [format, width, height])).toEqual([
      ['jpeg', 512, 512],
      ['jpeg', 96, 96],
    ]);
    expect([coloursOf(await fromJpeg(large)), coloursOf(await fromJpeg(small))]).toEqual(['RGBY', 'RGBY']);
  });

  test('is the middle of a picture that is no square', async () => {
    const wide = { ...quarters(300, 100), data: quarters(300, 100).data.slice() };
    for (let y = 0; y < 100; y++)
      wide.data.fill(255, y * 1200, y * 1200 + 400).fill(255, y * 1200 + 800, (y + 1) * 1200);
    const { large } = await make(toPng(wide));
    expect(readImageHeader(large)).toMatchObject({ width: 100, height: 100 });
    expect(coloursOf(await fromJpeg(large))).toBe('RGBY');
  });

  test('is not larger than the picture, down to one pixel', async () => {
    for (const side of [1, 2, 95, 97]) {
      const { large, small } = await make(toPng(quarters(side)));
      expect([readImageHeader(large).width, readImageHeader(small).width]).toEqual([side, Math.min(side, 96)]);
    }
  });

  test('is white where the picture is transparent', async () => {
    const { large } = await make(toPng(quarters(64, 64, [RED, [0, 0, 0, 0], [0, 0, 0, 0], YELLOW])));
    expect(coloursOf(await fromJpeg(large))).toBe('RWWY');
  });

  test.each([
    [1, 'RGBY'],
    [2, 'GRYB'],
    [3, 'YBGR'],
    [4, 'BYRG'],
    [5, 'RBGY'],
    [6, 'BRYG'],
    [7, 'YGBR'],
    [8, 'GYRB'],
    [9, 'RGBY'],
  ])('is turned as EXIF says: %i', async (orientation, colours) => {
    const jpeg = await toJpeg(quarters(64));
    const images = [withOrientation(jpeg, orientation), toPng(quarters(64), [pngChunk('eXIf', exif(orientation))])];
    for (const image of images) expect(coloursOf(await fromJpeg((await make(image)).large))).toBe(colours);
  });

  test('has nothing of a file but its pixels', async () => {
    const place = Buffer.from('Exif\0\0GPS 51.5 N, and who took it');
    const jpeg = withSegment(withSegment(await toJpeg(quarters(64)), 0xe1, place), 0xfe, Buffer.from('a comment'));
    const { large, small } = await make(Buffer.concat([jpeg, Buffer.from('<script>')]));
    for (const image of [large, small]) {
      const text = Buffer.from(image).toString('latin1');
      expect(['Exif', 'GPS', 'comment', 'script'].filter((word) => text.includes(word))).toEqual([]);
    }
    expect(await make(await toJpeg(quarters(64)))).toEqual({ large, small });
  });
});

describe('a picture is refused', () => {
  test.each<[string, () => Uint8Array | Promise<Uint8Array>, string]>([
    ['that is none', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'is not in JPEG, PNG or WebP'],
    ['in another format', () => Buffer.from('GIF89a\x01\x00\x01\x00\x80\x00\x00'), 'is not in JPEG, PNG or WebP'],
    ['that moves', () => Buffer.from('524946461600000057454250565038580a00000002000000ff0000ff0000', 'hex'), 'moves'],
    ['in CMYK', async () => inCmyk(await toJpeg(quarters(8))), 'is in CMYK: save it in RGB'],
    ['without pixels', () => blackPng(0, 10), 'has no pixels'],
    ['that ends in its header', async () => (await toJpeg(quarters(64))).subarray(0, 100), 'ends too soon'],
    ['in JPEG that is cut off', async () => (await toJpeg(noise())).subarray(0, -400), 'ends too soon'],
    ['in PNG that is cut off', () => toPng(noise()).subarray(0, -400), 'is broken'],
    ['in JPEG of a hundred scans', () => jpegOfScans(100), 'has more than 64 scans'],
    ['in WebP that takes a gigabyte', webpOfManyCodes, 'is broken'],
    ['in WebP that is cut off', async () => (await toWebp(noise())).subarray(0, -400), 'is broken'],
  ])('%s', async (_, image, why) => {
    expect(await reasonOf(make(await image()))).toBe(`photo_unreadable: the photo ${why}`);
  });

  test('that says more pixels than a photo may have, before it is read', async () => {
    const bombs = [pngThatSays(50_000, 50_000), blackPng(2050, 2050), pngThatSays(0xffffffff, 0xffffffff)];
    for (const bomb of bombs) expect(await reasonOf(make(bomb))).toMatch(/^photo_too_large: .* 4200000$/);
  });

  test('and one that may have so many is read, and those after what was refused', async () => {
    expect(readImageHeader((await make(blackPng(2049, 2049))).large)).toMatchObject({ width: 512 });
    expect(await reasonOf(make(toPng(noise()).subarray(0, -400)))).toMatch(/broken/);
    expect(readImageHeader((await make(await toJpeg(quarters(8)))).large)).toMatchObject({ width: 8 });
  });

  test('whatever bytes of it are changed, or it is a photo', async () => {
    const originals = [await toJpeg(quarters(24)), toPng(quarters(24)), await toWebp(quarters(24))];
    for (const [round, image] of originals.entries()) {
      for (let at = 0; at < image.length; at += 37 + round) {
        const changed = Buffer.from(image);
        changed[at] = (changed[at]! + 101) & 0xff;
        expect(await reasonOf(make(changed))).toMatch(/^(made|photo_unreadable|photo_too_large)/);
      }
    }
  }, 60_000);
});

test('a picture that takes too long is refused, and the next one is read', async () => {
  await using hasty = new PhotoMaker(1);
  expect(await reasonOf(hasty.make(blackPng(2049, 2049), 'user:ada'))).toBe(
    'photo_unreadable: the photo takes too long to read',
  );
  await using patient = new PhotoMaker(30_000);
  const large = reasonOf(patient.make(blackPng(2049, 2049), 'user:ada'));
  const small = reasonOf(patient.make(await toJpeg(quarters(8)), 'user:charles'));
  expect(await Promise.all([large, small])).toEqual(['made', 'made']);
});

test('photos of a caller that are too many are refused, and one whose call has ended leaves the queue', async () => {
  const image = await toJpeg(quarters(512));
  const ending = new AbortController();
  const made = Array.from({ length: 12 }, () => reasonOf(make(image)));
  const other = maker.make(image, 'user:charles', ending.signal);
  ending.abort(new Error('gone'));
  await expect(other).rejects.toThrow('gone');
  const reasons = await Promise.all(made);
  expect(reasons.filter((reason) => reason === 'made')).toHaveLength(9);
  expect(reasons.filter((reason) => reason.startsWith('budget_exceeded: photos is limited to 8'))).toHaveLength(3);
});

test('a process whose photos are made can end', async () => {
  await using own = new PhotoMaker();
  await own.make(await toJpeg(quarters(8, 8, [GREEN, GREEN, GREEN, GREEN])), 'user:ada');
  await setTimeout(0);
  expect(process.getActiveResourcesInfo().filter((each) => each === 'MessagePort')).toEqual([]);
});

function noise() {
  const pixels = quarters(64);
  let seed = 1;
  for (let i = 0; i < pixels.data.length; i++) {
    seed = (seed * 48_271) % 0x7fffffff;
    pixels.data[i] = i % 4 === 3 ? 255 : seed & 0xff;
  }
  return pixels;
}

function inCmyk(jpeg: Buffer): Buffer {
  const at = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  const changed = Buffer.from(jpeg);
  changed[at + 9] = 4;
  return changed;
}
