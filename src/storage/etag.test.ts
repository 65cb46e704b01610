import { expect, test } from 'vitest';
import { checkEtag, etagOf } from './etag.ts';

const row = { revision: 3, update_ms: 1_700_000_000_000 };

test('an etag is short, and text that needs no escaping', () => {
  expect(etagOf(row)).toMatch(/^[0-9a-z-]{3,64}$/);
  expect(etagOf({ revision: Number.MAX_SAFE_INTEGER, update_ms: Number.MAX_SAFE_INTEGER })).toMatch(
    /^[0-9a-z-]{3,64}$/,
  );
});

test.each([
  ['the next revision', { ...row, revision: 4 }],
  ['the same revision at another time, as after a restored backup', { ...row, update_ms: row.update_ms + 1 }],
  ['digits that move from one part to the other', { revision: 3 * 36 + 1, update_ms: row.update_ms }],
])('differs for %s', (_, other) => {
  expect(etagOf(other)).not.toBe(etagOf(row));
  expect(() => checkEtag(other, etagOf(row))).toThrow(
    expect.objectContaining({ name: 'Failure', reason: 'etag_mismatch' }),
  );
});

test('no etag and the right one fit', () => {
  expect(() => checkEtag(row, undefined)).not.toThrow();
  expect(() => checkEtag(row, etagOf({ ...row }))).not.toThrow();
});

test.each(['', '*', 'W/"3"', etagOf(row).toUpperCase(), ` ${etagOf(row)}`, `${etagOf(row)} `])(
  '"%s" does not fit',
  (etag) => {
    expect(() => checkEtag(row, etag)).toThrow(expect.objectContaining({ name: 'Failure', reason: 'etag_mismatch' }));
  },
);
