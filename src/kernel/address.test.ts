import { expect, test } from 'vitest';
import { canonicalAddress, countedAddress, createBlockCheck } from './address.ts';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  [' 192.0.2.1 ', '192.0.2.1'],
  ['192.0.2.1:4711', '192.0.2.1'],
  ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
  ['2001:0db8::0001', '2001:db8::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['[2001:db8::1]', '2001:db8::1'],
  ['[2001:db8::1]:4711', '2001:db8::1'],
  ['2001:db8::1:4711', '2001:db8::1:4711'],
  ['fe80::1%eth0', 'fe80::1'],
  ['[fe80::1%25eth0]:80', 'fe80::1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:c000:201', '192.0.2.1'],
  ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
  ['::192.0.2.1', '::c000:201'],
  ['::', '::'],
])('the canonical form of %j is %s', (written, canonical) => {
  expect(canonicalAddress(written)).toBe(canonical);
  expect(canonicalAddress(canonical)).toBe(canonical);
});

test.each([
  '',
  ' ',
  'unknown',
  '_hidden',
  'localhost',
  '192.0.2',
  '192.0.2.256',
  '192.0.2.01',
  '0x7f000001',
  '2130706433',
  '192.0.2.1:',
  '192.0.2.1:port',
  '192.0.2.1/32',
  '192.0.2.1, 192.0.2.2',
  '2001:db8:::1',
  '2001::db8::1',
  '2001:db8::g',
  '1:2:3:4:5:6:7:8:9',
  '[2001:db8::1',
  '2001:db8::1]',
  '[]',
  '%eth0',
  '192.0.2.1\u0000',
  "' or 1=1",
  '1'.repeat(10_000),
  ':'.repeat(10_000),
])('%j is no address', (written) => {
  expect(canonicalAddress(written)).toBeUndefined();
});

test.each([
  ['192.0.2.1', '192.0.2.1', true],
  ['192.0.2.1', '192.0.2.2', false],
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
  ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['2001:db8::1', '2001:db8:0:0:1::', true],
])('%s and %s count as one: %s', (one, other, alike) => {
  expect(countedAddress(one) === countedAddress(other)).toBe(alike);
});

test.each([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '::ffff:10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.1.2.3/8', '10.255.0.1', true],
  ['192.0.2.1', '192.0.2.1', true],
  ['192.0.2.1', '192.0.2.1:4711', true],
  ['192.0.2.1', '192.0.2.2', false],
  ['192.0.2.1', '::192.0.2.1', false],
  ['::ffff:10.0.0.0/104', '10.255.0.1', true],
  ['::ffff:10.0.0.1', '10.0.0.1', true],
  ['2001:db8::/32', '2001:DB8:ffff::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['2001:db8::/32', '10.0.0.1', false],
  ['fe80::1%eth0', 'fe80::1%eth1', true],
  ['::1', '127.0.0.1', false],
  ['10.0.0.0/8', 'unknown', false],
  ['10.0.0.0/8', '', false],
])('the block %s has %j: %s', (block, address, inside) => {
  expect(createBlockCheck(['192.0.2.77', block])(address)).toBe(inside);
});

test('no block has any address, and nothing is in any block', () => {
  expect(createBlockCheck([])('10.0.0.1')).toBe(false);
  expect(createBlockCheck(['10.0.0.0/8'])(undefined)).toBe(false);
});

test.each([
  '',
  'localhost',
  '10.0.0.0/0',
  '::/0',
  '10.0.0.0/33',
  '::1/129',
  '10.0.0.0/8/8',
  '10.0.0.0/',
  '10.0.0.0/x',
  '::ffff:10.0.0.0/96',
])('%j is no block', (block) => {
  expect(() => createBlockCheck([block])).toThrow(RangeError);
});
