import { expect, test } from 'vitest';
import { canonicalLocale, canonicalTimeZone } from './locale.ts';

test.each([
  ['de', 'de'],
  ['PT-br', 'pt-BR'],
  ['zh-hant-tw', 'zh-Hant-TW'],
  ['en-GB-u-ca-gregory', 'en-GB-u-ca-gregory'],
  ['de-de-de', undefined],
  ['en-a', undefined],
])('the language tag %s is %s', (tag, expected) => {
  expect(canonicalLocale(tag)).toBe(expected);
});

test.each([
  ['Europe/Berlin', 'Europe/Berlin'],
  ['Europe/berlin', 'Europe/Berlin'],
  ['Asia/Kolkata', 'Asia/Kolkata'],
  ['Asia/Calcutta', 'Asia/Calcutta'],
  ['America/Argentina/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
  ['UTC', 'UTC'],
  ['Mars/Olympus_Mons', undefined],
])('the time zone %s is %s', (name, expected) => {
  expect(canonicalTimeZone(name)).toBe(expected);
});
