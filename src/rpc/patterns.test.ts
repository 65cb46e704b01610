import { create, createRegistry, getOption, type Message, toJsonString } from '@bufbuild/protobuf';
import { createValidator } from '@bufbuild/protovalidate';
import {
  field as fieldRules,
  FieldRulesSchema,
  message as messageRules,
  predefined,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { expect, test } from 'vitest';
import { CreateContactRequestSchema, ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { file_kith_text_v1_text } from '../../gen/kith/text/v1/text_pb.ts';
import { generator } from '../../test/support/generator.ts';
import { requestTypes } from '../../test/support/request-types.ts';
import { withImports } from './files.ts';
import { matchPattern } from './patterns.ts';
import { createRequestValidator } from './validate.ts';

const ours = createRequestValidator([ContactService]);
const re2 = createValidator({ registry: createRegistry(...withImports([ContactService.file]).values()) });

/** The messages of requests, and those that they hold. */
const types = new Set(requestTypes());
for (const { fields } of types) for (const { message } of fields) if (message !== undefined) types.add(message);
const fields = [...types].flatMap((type) => type.fields);
const ownRules = () => [
  ...fields.flatMap((field) => getOption(field, fieldRules).cel),
  ...[...types].flatMap((type) => getOption(type, messageRules).cel),
];
const predefinedRules = () => file_kith_text_v1_text.extensions.flatMap((rule) => getOption(rule, predefined).cel);
const expressions = () => [...ownRules(), ...predefinedRules()].map(({ expression }) => expression);

const verdicts = (message: Message) =>
  [ours, re2].map((validator) => {
    const { kind, violations, error } = validator.validate(CreateContactRequestSchema, message as never);
    return [kind, violations?.map(String) ?? error?.message];
  });

test('the patterns of texts match what RE2 matches, character by character', () => {
  // Those of ASCII and Latin, those around which the patterns are drawn, and some of all others.
  const points = Array.from({ length: 0x300 }, (_, point) => point);
  for (let point = 0x2000; point < 0x2080; point++) points.push(point);
  const others = generator(1);
  for (let i = 0; i < 1000; i++) points.push(others.below(i % 2 === 0 ? 0x4000 : 0x110000));
  points.push(0xd7ff, 0xe000, 0xfeff, 0xfffc, 0xfffd, 0xffff, 0x10000, 0xe0001, 0x10ffff);
  const texts = points.filter((point) => point < 0xd800 || point > 0xdfff).map((point) => String.fromCodePoint(point));
  // Many in one message: a list of texts that are refused has one violation each.
  const differing = texts.flatMap((_, i) => {
    if (i % 20 > 0) return [];
    const addresses = texts.slice(i, i + 20).map((text) => ({ city: text, street: text, country: 'x' }));
    const phones = texts.slice(i, i + 20).map((text) => ({ number: `1${text}` }));
    const [mine, theirs] = verdicts(create(CreateContactRequestSchema, { addresses, phones }));
    return JSON.stringify(mine) === JSON.stringify(theirs) ? [] : [{ mine, theirs }];
  });
  expect(differing).toEqual([]);
});

test('every pattern in the contract is one that both read alike', () => {
  const patterns = expressions().flatMap((expression) =>
    [...expression.matchAll(/\.matches\('((?:[^'\\]|\\.)*)'\)/g)].map(([, pattern]) =>
      pattern!.replaceAll('\\\\', '\\'),
    ),
  );
  expect(patterns.length).toBeGreaterThan(6);
  for (const pattern of patterns) expect(() => matchPattern(pattern, 'a')).not.toThrow();
});

/** The rule `pattern` has no message but the pattern itself: a form is a rule of kith.text.v1, or CEL with a message. */
test('no text is refused with a pattern in place of words', () => {
  expect(
    fields.filter((field) => toJsonString(FieldRulesSchema, getOption(field, fieldRules)).includes('"pattern"')),
  ).toEqual([]);
  const bare = [...ownRules(), ...predefinedRules()].filter(({ message }) => !/^[a-z].*\w/.test(message));
  expect(bare).toEqual([]);
});

test.each(['\\bx', '[[:alpha:]]', '(?i)x', '\\Sx', '\\z', '(?P<n>x)'])(
  'a pattern that they read differently is refused: %s',
  (pattern) => {
    expect(() => matchPattern(pattern, 'x')).toThrow('differently');
  },
);

test.each<[string, string, boolean]>([
  ['^a.b$', 'a\u2028b', true],
  ['^a.b$', 'a\nb', false],
  ['^\\s$', '\u00a0', false],
  ['^[\\s]$', '\v', false],
  ['^[\\s]$', '\t', true],
  ['^\\x{1F600}$', '😀', true],
  ['^.$', '😀', true],
  ['^[^\\x{41}]$', 'A', false],
])('%s on %j is what RE2 says: %s', (pattern, text, expected) => {
  expect(matchPattern(pattern, text)).toBe(expected);
});
