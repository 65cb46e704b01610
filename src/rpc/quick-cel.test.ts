import { create, createRegistry } from '@bufbuild/protobuf';
import { createValidator } from '@bufbuild/protovalidate';
import { expect, test } from 'vitest';
import { CreateContactRequestSchema, ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { PartialDateSchema, PhoneNumberSchema, PostalAddressSchema } from '../../gen/kith/contact/v1/contact_pb.ts';
import { withImports } from './files.ts';
import { createQuickCheck } from './quick-check.ts';
import { compileCel, type Subject } from './quick-cel.ts';

const validator = createValidator({ registry: createRegistry(...withImports([ContactService.file]).values()) });
const isSurelyValid = createQuickCheck(validator);

test('a date is surely valid exactly where the validator finds it valid', () => {
  const differing = [];
  for (const year of [undefined, 1900, 2000, 2023, 2024]) {
    for (let month = 0; month <= 12; month++) {
      for (let day = 0; day <= 31; day++) {
        const date = create(PartialDateSchema, {
          ...(year !== undefined && { year }),
          ...(month > 0 && { month }),
          ...(day > 0 && { day }),
        });
        const isValid = validator.validate(PartialDateSchema, date).kind === 'valid';
        if (isSurelyValid(PartialDateSchema, date) !== isValid) differing.push({ year, month, day, isValid });
      }
    }
  }
  expect(differing).toEqual([]);
});

test('at most one of a list may be primary, as the validator has it', () => {
  const lists = [[], [true], [false, false], [true, false], [true, true], [false, true, true]];
  const judged = lists.map((primaries) => {
    const phones = primaries.map((primary) => ({ number: '1', primary }));
    const contact = create(CreateContactRequestSchema, { phones });
    return [
      isSurelyValid(CreateContactRequestSchema, contact),
      validator.validate(CreateContactRequestSchema, contact).kind,
    ];
  });
  expect(judged.map(([isCertain]) => isCertain)).toEqual([true, true, true, true, false, false]);
  expect(judged.map(([, kind]) => kind)).toEqual(['valid', 'valid', 'valid', 'valid', 'invalid', 'invalid']);
});

test.each<[string, Subject, unknown, boolean]>([
  ["this.contains('@')", 'string', 'a@b', true],
  ["this.contains('@')", 'string', 'ab', false],
  ["!rule || this.matches('^[a-z\\\\.]+$')", 'string', 'a.b', true],
  ["this == 'a' || this == 'b' && this == 'c'", 'string', 'a', true],
  ["(this == 'a' || this == 'b') && this == 'c'", 'string', 'a', false],
  ["(this == 'a') != (this == 'b')", 'string', 'c', false],
  ['this.filter(e, e.primary).size() <= 1', { listOf: PhoneNumberSchema }, [create(PhoneNumberSchema)], true],
  [
    "(this.city + this.postal_code).matches('^ab$')",
    PostalAddressSchema,
    create(PostalAddressSchema, { city: 'a', postalCode: 'b' }),
    true,
  ],
  [
    'has(this.year) ? this.year % 100 != 0 : this.month in [1, 2]',
    PartialDateSchema,
    create(PartialDateSchema, { month: 2 }),
    true,
  ],
  ['this.year + 1 == 1', PartialDateSchema, create(PartialDateSchema), true],
])('%s of %o and %o is %s', (expression, subject, value, expected) => {
  expect(compileCel(expression, subject)?.(value)).toBe(expected);
});

test.each<[string, Subject]>([
  ['this.size() < 3', 'string'],
  ['this', 'string'],
  ['this == 1', 'string'],
  ["this.startsWith('a')", 'string'],
  ['this.matches(this)', 'string'],
  ["this.matches('\\n')", 'string'],
  ['this == "a"', 'string'],
  ["this == 'a' ? true : this", 'string'],
  ['that', 'string'],
  ["this == 'a' this", 'string'],
  ['this.day / 2 == 1', PartialDateSchema],
  ['this.day % 0 == 1', PartialDateSchema],
  ['this.day % this.month == 1', PartialDateSchema],
  ['this.hour == 1', PartialDateSchema],
  ['has(this.hour)', PartialDateSchema],
  ['has(this)', PartialDateSchema],
  ['this.day == 12345678901', PartialDateSchema],
  ['this.timestamp < now', PartialDateSchema],
  ['this.all(e, e.primary)', { listOf: PhoneNumberSchema }],
  ['this.filter(this, this.primary).size() == 1', { listOf: PhoneNumberSchema }],
])('%s is not understood', (expression, subject) => {
  expect(compileCel(expression, subject)).toBeUndefined();
});
