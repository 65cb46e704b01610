import { expect, test } from 'vitest';
import { withPlurals } from './count.ts';

test.each([
  ['must contain at least 1 item(s)', 'must contain at least 1 item'],
  ['must contain no more than 20 item(s)', 'must contain no more than 20 items'],
  ['at most one may be primary', 'at most one may be primary'],
])('%j is said as %j', (text, said) => {
  expect(withPlurals(text)).toBe(said);
});
