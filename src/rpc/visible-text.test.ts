import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { ActivityService, NewActivitySchema } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService, CreateApiKeyRequestSchema } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService, LoginRequestSchema } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { PostalAddressSchema } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import {
  CreateUserRequestSchema,
  UpdateUserRequestSchema,
  UserService,
} from '../../gen/kith/user/v1/user_service_pb.ts';
import { isVisible } from '../kernel/text.ts';
import { createQuickCheck } from './quick-check.ts';
import { createRequestValidator } from './validate.ts';

const validator = createRequestValidator([ActivityService, ApiKeyService, AuthService, ContactService, UserService]);
const isSurelyValid = createQuickCheck(validator);

/** Every text of the contract that must not be empty and that people write as they like. */
const TEXTS: readonly [string, (text: string) => [DescMessage, Message]][] = [
  ['the name of a new user', (name) => of(CreateUserRequestSchema, { ...NEW_USER, name })],
  ['a new name of a user', (name) => of(UpdateUserRequestSchema, { userId: ID, name })],
  ['the name of an API key', (name) => of(CreateApiKeyRequestSchema, { name, permissions: [1] })],
  ['the identifier at sign-in', (identifier) => of(LoginRequestSchema, { identifier, password: 'x' })],
  ['the key of an attribute', (key) => of(NewActivitySchema, { userId: ID, action: 'a', attributes: { [key]: '' } })],
  ...(['street', 'city', 'region', 'postalCode', 'country'] as const).map(
    (line): [string, (text: string) => [DescMessage, Message]] => [
      `a postal address of a ${line} alone`,
      (text) => of(PostalAddressSchema, { [line]: text, type: 'home' }),
    ],
  ),
];
const ID = '0198f0a1-7b1c-7c3e-9a4d-5e6f70819203';
const NEW_USER = { username: 'ada', email: 'a@b.example', password: 'poetical science' };

function of<D extends DescMessage>(desc: D, init: Parameters<typeof create<D>>[1]): [DescMessage, Message] {
  return [desc, create(desc, init)];
}

describe.each(TEXTS)('%s', (_, make) => {
  test.each(['\u3164', '\u2800', '\uFFA0', '\u115F', '\u034F', '\uFE0F', '\u0301', ' \u3000', '\u200B', '\u{1D159}'])(
    'is refused when it shows nothing: %j',
    (text) => {
      const [desc, message] = make(text);
      expect(isSurelyValid(desc, message)).toBe(false);
      const { kind, violations } = validator.validate(desc, message);
      expect([kind, ...(violations ?? []).map(({ message: said }) => said)]).toEqual([
        'invalid',
        desc === PostalAddressSchema
          ? 'must have a street, city, region, postal code or country'
          : 'must have a letter, digit or sign that can be seen',
      ]);
    },
  );

  test.each(['a', '王', '한', 'e\u0301', '🦉', '1', '-'])('is taken when it shows something: %j', (text) => {
    const [desc, message] = make(text);
    expect(validator.validate(desc, message)).toMatchObject({ kind: 'valid' });
  });
});

test('the contract and the server agree on what can be seen, and so do both expressions of the contract', () => {
  const differing: string[] = [];
  for (let point = 0; point <= 0x10ffff; point += point < 0x3000 || point > 0xf900 ? 7 : 41) {
    const text = String.fromCodePoint(point);
    // `line` refuses some of them for other reasons; what this version of Unicode does not know, the other may.
    if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cn}\u202A-\u202E\u2066-\u2069\uFFFD]/u.test(text)) continue;
    const kinds = new Set([
      validator.validate(UpdateUserRequestSchema, create(UpdateUserRequestSchema, { userId: ID, name: text })).kind,
      validator.validate(PostalAddressSchema, create(PostalAddressSchema, { city: text })).kind,
    ]);
    if (!kinds.has(isVisible(text) ? 'valid' : 'invalid') || kinds.size > 1) differing.push(point.toString(16));
  }
  expect(differing).toEqual([]);
});
