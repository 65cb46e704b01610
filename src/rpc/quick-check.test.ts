import {
  create,
  createFileRegistry,
  createRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  getOption,
  type Message,
  ScalarType,
  setExtension,
} from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { createValidator } from '@bufbuild/protovalidate';
import {
  field as fieldOption,
  type FieldRules,
  FieldRulesSchema,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { describe, expect, test } from 'vitest';
import { ListUserActivityRequestSchema } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  CreateContactRequestSchema,
  GetContactRequestSchema,
  ListContactsRequestSchema,
  UpdateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import {
  GetUserDetailsRequestSchema,
  GetUserRequestSchema,
  ListUsersRequestSchema,
  UpdateUserRequestSchema,
} from '../../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../services.ts';
import { createQuickCheck } from './quick-check.ts';
import { createRequestValidator } from './validate.ts';

const INPUTS = [...new Set(SERVICES.flatMap(({ methods }) => methods.map(({ input }) => input)))];
const MESSAGES_EACH = 200;
/** So many messages of a list differ. */
const DISTINCT_MAX = 8;
const ID = '0198f0a1-7b1c-7c3e-9a4d-5e6f70819203';
const PRIMARY = { number: '1', primary: true };
const CONTACT = {
  givenName: 'Ada',
  familyName: 'Lovelace',
  company: 'Analytical Engines',
  jobTitle: 'Programmer',
  emails: [{ address: 'ada@example.org', type: 'home', primary: true }, { address: 'a@example.org' }],
  phones: [{ number: '+44 20 7946 0018', type: 'mobile' }],
  addresses: [{ street: '12 St James’s Square\nFlat 2', city: 'London', country: 'GB' }],
  urls: [{ url: 'https://example.org:8443/ada/?lang=en#notes', type: 'blog' }],
  birthday: { year: 1816, month: 2, day: 29 },
  notes: 'Met at the soirée\n\tin June',
  requestId: ID,
};
const UNKNOWN_FIELD = Uint8Array.of(0xfa, 0x3e, 1, 65); // number 1007

const validator = createRequestValidator(SERVICES);
const isSurelyValid = createQuickCheck(validator);

test.each(INPUTS.map((input) => [input.typeName, input] as const))(
  'no %s that the validator refuses is taken for valid',
  (name, input) => {
    const pick = pickerOf(name);
    const messages = Array.from({ length: MESSAGES_EACH }, () => generate(input, pick, 3));
    const taken = messages.filter((message) => isSurelyValid(input, message));
    expect(taken.filter((message) => validator.validate(input, message).kind !== 'valid')).toEqual([]);
  },
);

/** The requests that are sent most, as they mostly are. */
test.each<[DescMessage, Record<string, unknown>]>([
  [GetUserRequestSchema, { userId: ID }],
  [GetUserDetailsRequestSchema, { userId: ID.toUpperCase() }],
  [ListUsersRequestSchema, {}],
  [ListUsersRequestSchema, { pageSize: 20, pageToken: 'x'.repeat(2048), roles: [1], states: [2] }],
  [GetContactRequestSchema, { contactId: ID }],
  [ListContactsRequestSchema, { pageSize: 20, query: 'Ada' }],
  [UpdateUserRequestSchema, { userId: ID, name: 'Ada' }],
  [CreateContactRequestSchema, { givenName: 'Ada', notes: 'one\ntwo' }],
  [ListUserActivityRequestSchema, { pageSize: 20 }],
  [CreateContactRequestSchema, CONTACT],
  [
    UpdateContactRequestSchema,
    { contactId: ID, emails: { values: CONTACT.emails }, birthday: { value: CONTACT.birthday } },
  ],
])('is certain without the validator: %s', (input, fields) => {
  expect(isSurelyValid(input, create(input, fields))).toBe(true);
});

describe('is not certain of', () => {
  test.each<[string, DescMessage, Record<string, unknown>]>([
    ['a text that is no UUID', GetUserRequestSchema, { userId: `${ID}0` }],
    ['a UUID and a line feed', GetUserRequestSchema, { userId: `${ID}\n` }],
    ['a number below its bound', ListUsersRequestSchema, { pageSize: -1 }],
    ['a text beyond its bound', ListUsersRequestSchema, { pageToken: 'x'.repeat(2049) }],
    ['an enum value that is not defined', ListUsersRequestSchema, { roles: [99] }],
    ['a text that a rule in CEL refuses', CreateContactRequestSchema, { emails: [{ address: 'ada' }] }],
    ['two that are primary', CreateContactRequestSchema, { phones: [PRIMARY, PRIMARY] }],
    ['a message that its rule refuses', CreateContactRequestSchema, { birthday: { day: 30, month: 2 } }],
    ['a text that a pattern refuses', UpdateUserRequestSchema, { userId: ID, name: 'A\u202e' }],
    ['a field that must be there', GetUserRequestSchema, {}],
  ])('%s', (_, input, fields) => {
    expect(isSurelyValid(input, create(input, fields))).toBe(false);
  });

  test('a field that the contract does not have', () => {
    const request = fromBinary(GetUserRequestSchema, UNKNOWN_FIELD);
    request.userId = ID;
    expect(isSurelyValid(GetUserRequestSchema, request)).toBe(false);
  });

  test('a field that the contract does not have, further down', () => {
    const field = CreateContactRequestSchema.fields.find(({ fieldKind }) => fieldKind === 'list');
    const inner = field?.message;
    if (inner === undefined) throw new Error('no list of messages to try');
    const request = create(CreateContactRequestSchema, { [field!.localName]: [fromBinary(inner, UNKNOWN_FIELD)] });
    expect(isSurelyValid(CreateContactRequestSchema, request)).toBe(false);
  });
});

describe.each([
  ['int32', FieldDescriptorProto_Type.INT32],
  ['uint32', FieldDescriptorProto_Type.UINT32],
  ['sint32', FieldDescriptorProto_Type.SINT32],
] as const)('the bounds of %s', (kind, type) => {
  const exact: readonly (readonly [rules: string, values: readonly number[]])[] = [
    ['lt', [8, 9, 10, 11]],
    ['lte', [8, 9, 10, 11]],
    ['gt', [9, 10, 11, 12]],
    ['gte', [9, 10, 11, 12]],
  ];
  const pairs = (['lt', 'lte'] as const).flatMap((less) =>
    (['gt', 'gte'] as const).map((greater) => ({ less, greater })),
  );

  test.each(exact)('%s 10 are kept as the validator keeps them', (rule, values) => {
    expectAlike(messageOf(kind, type, { [rule]: 10 }), values);
  });

  test.each(pairs)('$greater 5 and $less 10 are kept as the validator keeps them', ({ less, greater }) => {
    expectAlike(messageOf(kind, type, { [greater]: 5, [less]: 10 }), [4, 5, 6, 9, 10, 11]);
  });

  /** Of plain bounds the quick check is certain wherever the validator finds nothing. */
  function expectAlike(desc: DescMessage, values: readonly number[]): void {
    const plain = createValidator({ registry: createRegistry(desc.file) });
    const quick = createQuickCheck(plain);
    const judged = values.map((value) => {
      const message = create(desc, { number: value });
      return { value, quick: quick(desc, message), valid: plain.validate(desc, message).kind === 'valid' };
    });
    expect(judged).toEqual(judged.map(({ value, valid }) => ({ value, quick: valid, valid })));
    expect(new Set(judged.map(({ valid }) => valid))).toEqual(new Set([true, false]));
  }
});

/** A message with one field, `number`, under these rules. */
function messageOf(
  kind: 'int32' | 'uint32' | 'sint32',
  type: FieldDescriptorProto_Type,
  bounds: Readonly<Record<string, number>>,
): DescMessage {
  const options = create(FieldOptionsSchema);
  setExtension(options, fieldOption, fromJson(FieldRulesSchema, { [kind]: bounds }));
  const label = FieldDescriptorProto_Label.OPTIONAL;
  const file = create(FileDescriptorProtoSchema, {
    name: 'bounds_test.proto',
    package: 'bounds.test',
    syntax: 'proto3',
    messageType: [
      { name: 'Bounded', field: [{ name: 'number', jsonName: 'number', number: 1, type, label, options }] },
    ],
  });
  return createFileRegistry(file, () => undefined).getMessage('bounds.test.Bounded')!;
}

type Picker = <T>(from: readonly T[]) => T;

/** Picks the same for the same name, so that what fails once fails again (mulberry32). */
function pickerOf(name: string): Picker {
  let state = Buffer.from(name).reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7);
  return (from) => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return from[((bits ^ (bits >>> 14)) >>> 0) % from.length]!;
  };
}

/** A message whose fields are mostly at, or just beyond, what their rules allow. */
function generate(desc: DescMessage, pick: Picker, depth: number): Message {
  const fields: Record<string, unknown> = {};
  for (const field of desc.fields) {
    if (pick([true, false, false, false])) continue;
    const value = valueOf(field, pick, depth);
    if (field.oneof === undefined) fields[field.localName] = value;
    else fields[field.oneof.localName] = { case: field.localName, value };
  }
  return create(desc, fields);
}

function valueOf(field: DescField, pick: Picker, depth: number): unknown {
  const rules = getOption(field, fieldOption);
  switch (field.fieldKind) {
    case 'list': {
      const list = rules.type.case === 'repeated' ? rules.type.value : undefined;
      const length = pick([0, 1, 2, ...around(list?.minItems), ...around(list?.maxItems)]);
      // Of a long list of messages, the same few again: each of 500 contacts has long texts and lists itself.
      const items = Array.from({ length: Math.min(length, field.message === undefined ? length : DISTINCT_MAX) }, () =>
        single(field, list?.items, pick, depth),
      );
      return Array.from({ length }, (_, i) => items[i % items.length]);
    }
    case 'map': {
      const map = rules.type.case === 'map' ? rules.type.value : undefined;
      const length = pick([0, 1, 2, ...around(map?.minPairs), ...around(map?.maxPairs)]);
      return Object.fromEntries(
        Array.from({ length }, (_, i) => [
          pick([`key${i}`, text(map?.keys, pick)]),
          single(field, map?.values, pick, depth),
        ]),
      );
    }
    default:
      return single(field, rules, pick, depth);
  }
}

function single(field: DescField, rules: FieldRules | undefined, pick: Picker, depth: number): unknown {
  if (field.message !== undefined) return depth === 0 ? undefined : generate(field.message, pick, depth - 1);
  if (field.enum !== undefined) return pick([...field.enum.values.map(({ number }) => number), 99, -1]);
  switch (field.scalar) {
    case ScalarType.STRING:
      return text(rules, pick);
    case ScalarType.BYTES:
      return pick([Uint8Array.of(), Uint8Array.of(0), new Uint8Array(100)]);
    case ScalarType.BOOL:
      return pick([true, false]);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return pick([0n, 1n, 2n ** 40n]);
    default:
      return pick([0, 1, -1, 2, 4, 29, 30, 31, 100, 1000, 1001, 1900, 2000, 2 ** 31 - 1, -(2 ** 31)]);
  }
}

function text(rules: FieldRules | undefined, pick: Picker): string {
  const { minLen, maxLen } = rules?.type.case === 'string' ? rules.type.value : { minLen: 0n, maxLen: 0n };
  const letter = pick(['a', 'ü', '\u{1f600}', '\ud800', ' ', '\0', '7', '\n']);
  return pick([
    letter,
    ID,
    ID.toUpperCase(),
    ID.slice(1),
    'ada@example.org',
    pick(['https://example.org/a?b#c', 'http://a b/', 'https://example.org/%zz', 'HTTP://x', 'http:///x']),
    '+44 20 7946 0958',
    ...[...around(minLen), ...around(maxLen)].map((length) => letter.repeat(length)),
  ]);
}

/** A bound, one less, one more, and about half and twice as many. */
function around(bound = 0n): number[] {
  const n = Number(bound);
  return n === 0 ? [] : [n - 1, n, n + 1, Math.floor(n / 2), 2 * n, 2 * n + 1];
}
