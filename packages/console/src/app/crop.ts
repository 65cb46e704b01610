/** A part of a picture: a square. `zoom` is 1 for as much as fits; `x` and `y` are 0 at the left and top, 1 at the right and bottom. */
export interface Crop {
  readonly zoom: number;
  readonly x: number;
  readonly y: number;
}

export const ZOOM_MAX = 5;

/** The largest that a photo is kept: what is larger is scaled down before it is sent. */
export const PHOTO_PIXELS = 512;

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The square that a crop cuts out of a picture, in its pixels. */
export function squareOf({ width, height }: Size, { zoom, x, y }: Crop): { left: number; top: number; side: number } {
  const side = Math.min(width, height) / zoom;
  return { left: (width - side) * x, top: (height - side) * y, side };
}

/** The crop after what it shows was pulled, by parts of its side. */
export function moved(size: Size, crop: Crop, right: number, down: number): Crop {
  const { side } = squareOf(size, crop);
  const along = (place: number, by: number, length: number) =>
    length <= side ? place : Math.min(1, Math.max(0, place - (by * side) / (length - side)));
  return { ...crop, x: along(crop.x, right, size.width), y: along(crop.y, down, size.height) };
}
