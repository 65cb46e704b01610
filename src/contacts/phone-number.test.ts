import { describe, expect, test } from 'vitest';
import { e164Of, isPhoneRegion, needsRegion, phoneRegionOf } from './phone-number.ts';

describe('a phone number in E.164', () => {
  test.each([
    ['+44 20 7946 0958', undefined, '+442079460958'],
    ['+44 (0)20 7946 0958', undefined, '+442079460958'],
    ['0044 20 7946 0958', undefined, '+442079460958'],
    ['0044 20 7946 0958', 'GB', '+442079460958'],
    ['0044 20 7946 0958', 'US', '+442079460958'],
    ['011 44 20 7946 0958', 'US', '+442079460958'],
    ['020 7946 0958', 'GB', '+442079460958'],
    ['(020) 7946-0958', 'GB', '+442079460958'],
    ['＋４４ ２０ ７９４６ ０９５８', undefined, '+442079460958'],
    ['٠٢٠٧٩٤٦٠٩٥٨', 'GB', '+442079460958'],
    ['tel:+44-20-7946-0958', undefined, '+442079460958'],
    ['+1 202 555 0143 ext. 5', undefined, '+12025550143'],
    ['+1-202-555-0143x5', undefined, '+12025550143'],
    ['202.555.0143', 'US', '+12025550143'],
    ['1-800-FLOWERS', 'US', '+18003569377'],
    ['+1 800 FLOWERS', undefined, '+18003569377'],
    ['+49 30 1234567 (only in the mornings)', undefined, '+49301234567'],
    ['030 1234567', 'DE', '+49301234567'],
    ['+39 06 698 12345', undefined, '+390669812345'],
    ['06 698 12345', 'IT', '+390669812345'],
    ['+225 07 12 34 56 78', undefined, '+2250712345678'],
  ] as const)('%s in %s is %s', (number, region, e164) => {
    expect(e164Of(number, region)).toBe(e164);
  });

  test.each([
    ['020 7946 0958', undefined],
    ['020 7946 0958', 'US'],
    ['112', 'DE'],
    ['911', 'US'],
    ['*100#', 'GB'],
    ['ask at the desk', 'GB'],
    ['1-800-FLOWERS', undefined],
    ['555 0100', 'US'],
    ['+44 20 7946 095', undefined],
    ['+999 123 456 789', undefined],
    ['+', 'GB'],
    ['', 'GB'],
    ['٠', 'GB'],
    ['1'.repeat(100), 'US'],
    ['+'.repeat(100), 'US'],
    ['12/13/2014', 'US'],
  ] as const)('%s in %s is none', (number, region) => {
    expect(e164Of(number, region)).toBeUndefined();
  });

  test('stays the same when it is read again', () => {
    for (const number of ['+442079460958', '+18003569377', '+390669812345']) {
      for (const region of [undefined, 'GB', 'US', 'IT'] as const) expect(e164Of(number, region)).toBe(number);
    }
  });

  test.each(['020 7946 0958', '1-800-FLOWERS', '0044 20', '٠٣٠'])('%s may need a region', (number) => {
    expect(needsRegion(number)).toBe(true);
  });
  test.each(['+44 20 7946 0958', ' (+44) 20', '＋44', 'ask at the desk', ''])('"%s" needs none', (number) => {
    expect(needsRegion(number)).toBe(false);
  });
});

test.each([
  ['en-GB', 'GB'],
  ['zh-Hant-TW', 'TW'],
  ['de', undefined],
  ['es-419', undefined],
  ['en-ZZ', undefined],
  ['', undefined],
  ['not a tag', undefined],
])('the region of the locale "%s" is %s', (locale, region) => {
  expect(phoneRegionOf(locale)).toBe(region);
});

test.each([
  ['GB', true],
  ['UK', false],
  ['gb', false],
  ['ZZ', false],
  ['', false],
  ['__proto__', false],
  ['constructor', false],
])('%s has phone numbers: %s', (code, has) => {
  expect(isPhoneRegion(code)).toBe(has);
});
