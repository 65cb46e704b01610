import { expect, test } from 'vitest';
import { ownLocale } from './locale.ts';

test.each([
  ['en', ['en-GB', 'en'], 'en-GB'],
  ['en', ['de-AT', 'en-US', 'en-GB'], 'en-US'],
  ['de', ['en-GB', 'de-CH'], 'de-CH'],
  ['en', ['de-DE'], 'en'],
  ['en', ['en-US@posix', 'x', ''], 'en'],
  ['en', ['eng-GB'], 'en-GB'],
  ['en', [], 'en'],
])('of %s among %j dates are written as in %s', (language, tags, locale) => {
  expect(new Intl.Locale(ownLocale(language, tags)).toString()).toBe(locale);
});
