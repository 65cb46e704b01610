import { expect, test } from 'vitest';
import { Random } from './random.ts';

const some = (random: Random) => Array.from({ length: 20 }, () => random.int(0, 1_000_000));

test('a seed determines the numbers, and another seed gives others', () => {
  expect(some(new Random('1'))).toEqual(some(new Random('1')));
  expect(some(new Random('1'))).not.toEqual(some(new Random('2')));
});

test('what one actor draws does not disturb another', () => {
  const random = new Random('1');
  const before = some(random.fork('a'));
  some(random);
  some(random.fork('b'));
  expect(some(random.fork('a'))).toEqual(before);
  expect(some(random.fork('b'))).not.toEqual(before);
});

test('numbers are within their bounds, and reach them', () => {
  const random = new Random('1');
  const drawn = new Set(Array.from({ length: 200 }, () => random.int(3, 5)));
  expect(drawn).toEqual(new Set([3, 4, 5]));
});

test('a kind comes as often as its weight says', () => {
  const random = new Random('1');
  const counts = { often: 0, seldom: 0, never: 0 };
  for (let i = 0; i < 1000; i++) counts[random.weighted({ often: 9, seldom: 1, never: 0 })] += 1;
  expect(counts.never).toBe(0);
  expect(counts.seldom).toBeGreaterThan(50);
  expect(counts.often).toBeGreaterThan(800);
});

test('ids are UUIDs of version 4', () => {
  expect(new Random('1').uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});
