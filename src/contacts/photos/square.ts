/** Pixels in rows from the top left, of which each is red, green, blue and alpha. */
export interface Pixels {
  readonly data: Uint8ClampedArray<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/**
 * The middle of a picture as a square, turned by an orientation of EXIF, of at most `sizeMax` pixels in each direction and
 * never larger than it was. What is transparent becomes white. Each pixel is the mean of those that it takes the place of.
 */
export function squareOf({ data, width, height }: Pixels, orientation: number, sizeMax: number): Pixels {
  const side = Math.min(width, height);
  const size = Math.min(side, sizeMax);
  const left = (width - side) >> 1;
  const top = (height - side) >> 1;
  const square = new Uint8ClampedArray(size * size * 4);
  const edge = (i: number) => Math.floor((i * side) / size);
  for (let y = 0; y < size; y++) {
    const [y0, y1] = [edge(y), edge(y + 1)];
    for (let x = 0; x < size; x++) {
      const [x0, x1] = [edge(x), edge(x + 1)];
      let [red, green, blue] = [0, 0, 0];
      for (let row = y0; row < y1; row++) {
        let at = ((top + row) * width + left + x0) * 4;
        for (let column = x0; column < x1; column++, at += 4) {
          const alpha = data[at + 3]!;
          const white = (255 - alpha) * 255;
          red += data[at]! * alpha + white;
          green += data[at + 1]! * alpha + white;
          blue += data[at + 2]! * alpha + white;
        }
      }
      const weight = (y1 - y0) * (x1 - x0) * 255;
      const to = placeOf(x, y, size, orientation) * 4;
      square[to] = red / weight;
      square[to + 1] = green / weight;
      square[to + 2] = blue / weight;
      square[to + 3] = 255;
    }
  }
  return { data: square, width: size, height: size };
}

/** Where a pixel of a square stands after it is turned: orientations are those of EXIF 2.32, 4.6.4. */
function placeOf(x: number, y: number, size: number, orientation: number): number {
  const last = size - 1;
  switch (orientation) {
    case 2:
      return y * size + last - x;
    case 3:
      return (last - y) * size + last - x;
    case 4:
      return (last - y) * size + x;
    case 5:
      return x * size + y;
    case 6:
      return x * size + last - y;
    case 7:
      return (last - x) * size + last - y;
    case 8:
      return (last - x) * size + y;
    default:
      return y * size + x;
  }
}
