import { create, type DescField, type DescMessage, getOption } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { describe, expect, test } from 'vitest';
import { RecordUserActivityRequestSchema } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { CompleteLoginRequestSchema, LoginRequestSchema } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ConfirmTotpRequestSchema } from '../../gen/kith/auth/v1/second_factor_service_pb.ts';
import {
  CreateContactRequestSchema,
  UpdateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { CreateUserRequestSchema, UpdateUserRequestSchema } from '../../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../services.ts';
import { createNormalize } from './normalize.ts';

const normalize = createNormalize();
const ID = '0198F0A1-7B1C-7C3E-9A4D-5E6F70819203';
/** White space and what copying brings along: no-break and ideographic space, byte order mark, zero width, marks of direction. */
const AROUND = [' ', '\t', '\r\n', '\u00A0', '\u3000', '\u2009', '\uFEFF', '\u200B', '\u200E', ' \u00A0\u3000 '];

function normalized<D extends DescMessage>(desc: D, init: Parameters<typeof create<D>>[1]) {
  const message = create(desc, init);
  normalize(desc, message);
  return message;
}

/** Fields of every request, at any depth. */
const FIELDS = [...new Set(SERVICES.flatMap(({ methods }) => methods.flatMap(({ input }) => fieldsOf(input))))];

function fieldsOf(desc: DescMessage, seen = new Set<DescMessage>()): DescField[] {
  if (seen.has(desc)) return [];
  seen.add(desc);
  return desc.fields.flatMap((field) => [field, ...(field.message ? fieldsOf(field.message, seen) : [])]);
}

describe('an id has one form, wherever it enters', () => {
  const ids = FIELDS.filter((field) => {
    const { type } = getOption(field, fieldRules);
    return type.case === 'string' && type.value.wellKnown.case === 'uuid';
  });

  test.each(ids.map((field) => [`${field.parent.typeName}.${field.name}`, field] as const))('%s', (_, field) => {
    const { localName, oneof } = field;
    const init = oneof === undefined ? { [localName]: ID } : { [oneof.localName]: { case: localName, value: ID } };
    const message = normalized(field.parent, init);
    expect(reflect(field.parent, message).get(field)).toBe(ID.toLowerCase());
  });

  test('in messages that are part of the request too', () => {
    const message = normalized(RecordUserActivityRequestSchema, { activities: [{ userId: ID }, { userId: ID }] });
    expect(message.activities.map(({ userId }) => userId)).toEqual([ID.toLowerCase(), ID.toLowerCase()]);
  });
});

describe('what people type or copy loses what is around it', () => {
  test.each(AROUND)('%j', (around) => {
    const pad = (text: string) => `${around}${text}${around}`;
    expect(normalized(LoginRequestSchema, { identifier: pad('Ada'), password: pad('x') })).toMatchObject({
      identifier: 'Ada',
      password: pad('x'),
    });
    expect(
      normalized(CreateUserRequestSchema, { username: pad('ada'), email: pad('a@b.example'), name: pad('Ada L') }),
    ).toMatchObject({ username: 'ada', email: 'a@b.example', name: pad('Ada L') });
    expect(normalized(UpdateUserRequestSchema, { username: pad('ada'), email: pad('a@b.example') })).toMatchObject({
      username: 'ada',
      email: 'a@b.example',
    });
    const entries = {
      emails: [{ address: pad('a@b.example'), type: pad('work') }],
      phones: [{ number: pad('+1 20') }],
      urls: [{ url: pad('https://b.example') }],
    };
    const contact = normalized(CreateContactRequestSchema, entries);
    expect(contact.emails).toMatchObject([{ address: 'a@b.example', type: pad('work') }]);
    expect(contact.phones).toMatchObject([{ number: '+1 20' }]);
    expect(contact.urls).toMatchObject([{ url: 'https://b.example' }]);
    const change = normalized(UpdateContactRequestSchema, { emails: { values: entries.emails } });
    expect(change.emails?.values).toMatchObject([{ address: 'a@b.example' }]);
  });

  test('and what is absent stays absent', () => {
    const message = normalized(UpdateUserRequestSchema, { userId: ID });
    expect([message.username, message.email]).toEqual([undefined, undefined]);
  });
});

describe('a code is read as it is shown, in groups', () => {
  test.each(['123456', '123 456', ' 123-456 ', '123\u00A0456', '12 34 56', '123\u2009456\u200B', '123\u2013456'])(
    '%j',
    (code) => {
      expect(normalized(ConfirmTotpRequestSchema, { code }).code).toBe('123456');
      for (const name of ['totpCode', 'recoveryCode'] as const) {
        const { answer } = normalized(CompleteLoginRequestSchema, { answer: { case: name, value: code } });
        expect(answer).toEqual({ case: name, value: '123456' });
      }
    },
  );

  test('and a new password as it is', () => {
    const value = ' 12 34-56 ';
    const { answer } = normalized(CompleteLoginRequestSchema, { answer: { case: 'newPassword', value } });
    expect(answer).toEqual({ case: 'newPassword', value });
  });
});
