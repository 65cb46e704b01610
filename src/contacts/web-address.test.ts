import { expect, test } from 'vitest';
import { readWebAddress } from './web-address.ts';

test.each([
  ['https://example.org/~ada?q=1#top', 'https://example.org/~ada?q=1#top'],
  ['HTTP://x', 'HTTP://x'],
  ['http://localhost:8080', 'http://localhost:8080'],
  ['http://[2001:db8::1]/', 'http://[2001:db8::1]/'],
  ['https://bücher.example/ü', 'https://bücher.example/ü'],
  ['https://example.org/a b"c', 'https://example.org/a%20b%22c'],
  ['example.org', 'https://example.org'],
  ['www.example.org/a?b=c:d#e', 'https://www.example.org/a?b=c:d#e'],
  ['example.org:8080/a', 'https://example.org:8080/a'],
  ['//example.org', 'https://example.org'],
  ['bücher.example', 'https://bücher.example'],
  ['例え.テスト/a', 'https://例え.テスト/a'],
])('%s is the URL %s', (written, url) => {
  expect(readWebAddress(written)).toEqual({ url });
  expect(readWebAddress(url)).toEqual({ url });
});

test.each([
  'javascript:alert(1)',
  'JavaScript://example.org/%0aalert(1)',
  'data:text/html,x',
  'ftp://example.org',
  'mailto:ada@example.org',
  'skype:ada',
  'https:///etc/passwd',
  'https:example.org',
  'https://',
  'https://?',
  'https://a b.example',
  'http://999.999.999.999',
  '/etc/passwd',
  'ask.Ada about it',
  'ada@example.org',
  'a.b@example.org',
  'e.g. this',
  '3.14',
  'localhost',
  'blog',
  '.example',
  'example.org\\a',
  `example.org/${'a'.repeat(2030)}`,
  `https://example.org/${' '.repeat(1000)}x`,
])('%s is a text', (written) => {
  expect(readWebAddress(written)).toEqual({ url: '', text: written });
});
