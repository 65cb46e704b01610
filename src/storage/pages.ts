import { setImmediate } from 'node:timers/promises';
import { Failure } from '../kernel/failure.ts';
import type { Keyring } from '../kernel/keyring.ts';

const PAGE_SIZE_DEFAULT = 50;
const PAGE_SIZE_MAX = 1000;
/** Keys are padded to a multiple of so many bytes, so that a token does not tell the length of its key. */
const PADDING_BYTES = 64;

/** Which page of a list is asked for. */
export interface PageRequest {
  /** 0: 50; above 1000: 1000. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
}

export interface Page<T> {
  readonly items: T[];
  /** Empty on the last page, and only there. */
  readonly nextPageToken: string;
  /** How many items are on all pages, if that was asked for. */
  readonly total: Count | undefined;
}

/** How many there are, or how many there are at least. */
export interface Count {
  readonly count: number;
  readonly isAtLeast: boolean;
}

/** The total as fields of the contract. */
export function totalOf({ total }: Pick<Page<unknown>, 'total'>): { totalSize?: number; totalSizeAtLeast?: boolean } {
  return total === undefined ? {} : { totalSize: total.count, totalSizeAtLeast: total.isAtLeast };
}

/** How many rows are counted at most. */
export const COUNTED_MAX = 10_000;

/** A page of more items may take long to read. */
const LONG_PAGE_MIN = 100;

/** Whether the page may take long to read, as searches, counts and large pages may: see Database.longReads. */
export function mayTakeLong(
  request: PageRequest & { readonly query?: string; readonly includeTotalSize?: boolean },
): boolean {
  return pageSizeOf(request) > LONG_PAGE_MIN || Boolean(request.query) || request.includeTotalSize === true;
}

/** How many items to read for a page. */
export function pageSizeOf(request: PageRequest): number {
  return Math.min(request.pageSize || PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
}

/**
 * Page tokens of one list for one caller and one set of filters (keyset
 * pagination): the key after which the page begins, encrypted, since it may be that
 * of a row which the caller is not shown, and authenticated with that scope, so that
 * a token from elsewhere is refused rather than misread.
 */
export interface PageTokens<Key extends readonly string[]> {
  /** The key, or undefined for the first page. Throws page_token_invalid. */
  read(pageToken: string): Key | undefined;
  /** The token, or '' when there is no next page. */
  write(key: Key | undefined): string;
}

/** `scope` names the list, the caller and the filters; it does not travel in the token. */
export function pageTokens<Key extends readonly string[]>(keyring: Keyring, ...scope: unknown[]): PageTokens<Key> {
  const context = JSON.stringify(scope);
  return {
    read(pageToken) {
      if (pageToken === '') return undefined;
      const key = keyring.readToken('page-token', pageToken, context);
      if (key === undefined) {
        throw new Failure(
          'page_token_invalid',
          'page_token is not one that this list gave you for these filters: start again without it',
        );
      }
      return JSON.parse(key.toString()) as Key;
    },
    write(key) {
      if (key === undefined) return '';
      return keyring.writeToken('page-token', paddedJson(key, PADDING_BYTES), context);
    },
  };
}

/** JSON with blanks behind it, so that it has a multiple of so many bytes: a token tells the length of what is in it. */
export function paddedJson(value: unknown, multiple: number): Buffer {
  const text = JSON.stringify(value);
  const padded = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / multiple) * multiple, ' ');
  padded.write(text);
  return padded;
}

/** The rows of a page, given one row more than it holds if another page follows. `last` is the last row of the page in that case. */
export function cutPage<Row>(rows: readonly Row[], size: number): { rows: readonly Row[]; last: Row | undefined } {
  return rows.length > size ? { rows: rows.slice(0, size), last: rows[size - 1] } : { rows, last: undefined };
}

/** What the rows of a page may take together, in UTF-16 code units: well below what gRPC clients receive at the most. */
export const PAGE_TEXT_MAX = 400_000;

/** How many rows are read first, which is enough for a usual page, and at the most at once: large ones take memory. */
const STEP_ROWS_MIN = PAGE_SIZE_DEFAULT + 1;
const STEP_ROWS_MAX = 250;

/**
 * Reads up to `size` rows, and fewer when they are large: a page may be short
 * before the end. `read` gets the last row so far and how many are asked for.
 * `last` is the last row when more may follow.
 */
export async function readBounded<Row extends object>(
  size: number,
  read: (after: Row | undefined, limit: number) => Promise<readonly Row[]>,
  textMax = PAGE_TEXT_MAX,
): Promise<{ rows: readonly Row[]; last: Row | undefined }> {
  const rows: Row[] = [];
  let columns: readonly string[] | undefined;
  let text = 0;
  for (;;) {
    const step = Math.min(Math.max(2 * rows.length, STEP_ROWS_MIN), STEP_ROWS_MAX);
    const asked = Math.min(size + 1 - rows.length, step);
    const next = await read(rows.at(-1), asked);
    for (const row of next) {
      if (text > textMax) return { rows, last: rows.at(-1) };
      rows.push(row);
      text += textOf(row, (columns ??= Object.keys(row)));
    }
    if (next.length < asked || rows.length > size) return cutPage(rows, size);
    await setImmediate();
  }
}

/**
 * Reads the rows of up to `size` keys, and fewer when they are large. `read` gets some of the
 * keys and gives a row, or undefined for one that has gone, for each. `last` is the
 * last key so far when more follow.
 */
export async function readKeys<Key, Row extends object>(
  size: number,
  keys: readonly Key[],
  read: (keys: readonly Key[]) => Promise<readonly (Row | undefined)[]>,
): Promise<{ rows: readonly Row[]; last: Key | undefined }> {
  const rows: Row[] = [];
  const end = Math.min(size, keys.length);
  let columns: readonly string[] | undefined;
  let text = 0;
  for (let next = 0; next < end; ) {
    const step = Math.min(Math.max(2 * next, STEP_ROWS_MIN), STEP_ROWS_MAX, end - next);
    for (const row of await read(keys.slice(next, next + step))) {
      if (text > PAGE_TEXT_MAX) return { rows, last: keys[next - 1] };
      next += 1;
      if (row === undefined) continue;
      rows.push(row);
      text += textOf(row, (columns ??= Object.keys(row)));
    }
    if (next < end) await setImmediate();
  }
  return { rows, last: keys.length > size ? keys[size - 1] : undefined };
}

/** How many rows are converted before the event loop serves other calls. */
const SLICE_ROWS = 50;

/** As `items.map(convert)`, but yields to the event loop after each slice, so that a large page does not block other calls. */
export async function mapInSlices<T, U>(items: readonly T[], convert: (item: T) => U): Promise<U[]> {
  const converted: U[] = [];
  for (const item of items) {
    if (converted.length > 0 && converted.length % SLICE_ROWS === 0) await setImmediate();
    converted.push(convert(item));
  }
  return converted;
}

/**
 * What a row takes, in UTF-16 code units; a number or null counts as 8. Of many rows of one query, `columns` is passed,
 * since listing those of each row takes ten times as long as this.
 */
export function textOf(row: object, columns: readonly string[] = Object.keys(row)): number {
  let sum = 0;
  for (const column of columns) {
    const value = (row as Readonly<Record<string, unknown>>)[column];
    sum += typeof value === 'string' ? value.length : 8;
  }
  return sum;
}
