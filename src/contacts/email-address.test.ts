import { expect, test } from 'vitest';
import { isEmailAddress } from './email-address.ts';

test.each([
  'ada@example.org',
  "o'hara+list_1@sub.example.co.uk",
  'root@localhost',
  'zoë@bücher.example',
  '王小明@例え.テスト',
  'ada@xn--bcher-kva.example',
  '"a b"@example.org',
  '"a\\"b@c"@example.org',
  'ada@[192.0.2.1]',
  'ada@[IPv6:2001:db8::1]',
  `${'a'.repeat(64)}@example.org`,
  `a@${'b'.repeat(63)}.example`,
])('mail can be sent to %s', (address) => {
  expect(isEmailAddress(address)).toBe(true);
});

test.each([
  '',
  '@',
  'ada',
  'ada@',
  '@example.org',
  'a@b@example.org',
  'Ada <ada@example.org>',
  'mailto:x y@example.org',
  'john..doe@example.org',
  '.ada@example.org',
  'ada.@example.org',
  'ada@example..org',
  'ada@.example.org',
  'ada@example.org.',
  'ada@-example.org',
  'ada@exam_ple.org',
  'ada@exam%70le.org',
  'ada@example.org/path',
  'ada@example.org:25',
  'ada@192.0.2.1',
  'ada@[192.0.2.256]',
  'ada@[IPv6:1]',
  'ada@[',
  '"ada@example.org',
  '"a"b"@example.org',
  `${'a'.repeat(65)}@example.org`,
  `${'ö'.repeat(33)}@example.org`,
  `a@${'b'.repeat(64)}.example`,
  `a@${'b.'.repeat(127)}example`,
  `${'a'.repeat(64)}@${'b'.repeat(62)}.${'c'.repeat(62)}.${'d'.repeat(62)}.ee`,
])('mail cannot be sent to %s', (address) => {
  expect(isEmailAddress(address)).toBe(false);
});

test('an address of any length is judged at once', () => {
  for (const part of ['a.', '"', '\\"', 'ä', '@', 'a@', '-.']) expect(isEmailAddress(part.repeat(100_000))).toBe(false);
});
