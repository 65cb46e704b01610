import { expect, test } from 'vitest';
import { readableValue } from './setting-values.ts';

test.each([
  ['KITH_FRESH_SIGN_IN_SECONDS', '900', '15 minutes'],
  ['KITH_FRESH_SIGN_IN_SECONDS', '90', '90 seconds'],
  ['KITH_FRESH_SIGN_IN_SECONDS', '86400', '1 day'],
  ['KITH_SHUTDOWN_SECONDS', '0', '0 seconds'],
  ['KITH_DATABASE_WAIT_MS', '2000', '2 seconds'],
  ['KITH_DATABASE_WAIT_MS', '10', '10 milliseconds'],
  ['KITH_ACTIVITY_DAYS', '3650', '3,650 days'],
  ['KITH_CONTACT_BYTES_PER_USER', '134217728', '128 MiB'],
  ['KITH_MESSAGE_BYTES', '1600000', '1.5 MiB'],
  ['KITH_CONTACTS_PER_USER', '25000', '25,000'],
  ['KITH_WATCHES', '500', undefined],
  ['KITH_PORT', '8080', undefined],
  ['KITH_METRICS_PORT', '9464', undefined],
  ['KITH_SIGN_UP', 'open', undefined],
  ['KITH_AUDIENCE', '', undefined],
])('%s=%s is read as %s', (name, value, text) => {
  expect(readableValue(name, value, 'en')).toBe(text);
});

test('units and numbers are those of the language', () => {
  expect(readableValue('KITH_FRESH_SIGN_IN_SECONDS', '5400', 'de')).toBe('90 Minuten');
  expect(readableValue('KITH_MESSAGE_BYTES', '1600000', 'de')).toBe('1,5 MiB');
});
