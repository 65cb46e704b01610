import { expect, test } from 'vitest';
import { moved, squareOf } from './crop.ts';

const WIDE = { width: 300, height: 100 };

test('a crop is the middle of a picture, as much as fits', () => {
  expect(squareOf(WIDE, { zoom: 1, x: 0.5, y: 0.5 })).toEqual({ left: 100, top: 0, side: 100 });
});

test.each([
  [0, 0, { left: 0, top: 0, side: 50 }],
  [1, 1, { left: 250, top: 50, side: 50 }],
])('a crop at %d, %d stays within the picture', (x, y, square) => {
  expect(squareOf(WIDE, { zoom: 2, x, y })).toEqual(square);
});

test('what is pulled to the right shows more of the left, up to the edge', () => {
  const crop = { zoom: 1, x: 0.5, y: 0.5 };
  expect(moved(WIDE, crop, 0.5, 0)).toEqual({ zoom: 1, x: 0.25, y: 0.5 });
  expect(moved(WIDE, crop, 9, 9)).toEqual({ zoom: 1, x: 0, y: 0.5 });
  expect(moved(WIDE, crop, -9, 0)).toEqual({ zoom: 1, x: 1, y: 0.5 });
});
