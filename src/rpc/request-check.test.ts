import { create, type DescMethod, type Message, ScalarType, toBinary, toJsonString } from '@bufbuild/protobuf';
import { type Violation, violationsToProto } from '@bufbuild/protovalidate';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { SERVICES } from '../services.ts';
import { createRequestCheck } from './request-check.ts';
import { createRequestValidator } from './validate.ts';

const validator = createRequestValidator(SERVICES);
const check = createRequestCheck(
  SERVICES.flatMap(({ methods }) => methods),
  validator,
);

const { createContact, updateContact } = ContactService.method;
const { recordUserActivity } = ActivityService.method;
const { createApiKey } = ApiKeyService.method;
const { login } = AuthService.method;

const many = (length: number, item: object = {}) => Array.from({ length }, () => item);
const pairs = (length: number) => Object.fromEntries(Array.from({ length }, (_, key) => [`k${key}`, 'v']));
const activity = (attributes: Record<string, string>) => ({ action: 'a.b', attributes });
const record = (attributes: Record<string, string>) =>
  create(recordUserActivity.input, { activities: [activity({}), activity(attributes)] });

describe('what a request has too much of is refused in the words of the validator', () => {
  test.each<[string, DescMethod, Message]>([
    ['items', createContact, create(createContact.input, { emails: many(21) })],
    ['items further down', updateContact, create(updateContact.input, { phones: { values: many(21) } })],
    [
      'items that are packed',
      createApiKey,
      create(createApiKey.input, { permissions: Array<Permission>(200).fill(Permission.USERS_READ) }),
    ],
    [
      'items in which there are others',
      recordUserActivity,
      create(recordUserActivity.input, { activities: many(101) }),
    ],
    ['pairs', recordUserActivity, record(pairs(21))],
    ['a key', recordUserActivity, record({ ['k'.repeat(1000)]: 'v' })],
    ['a value', recordUserActivity, record({ k: 'v'.repeat(10_000) })],
    ['a text', createContact, create(createContact.input, { givenName: 'a'.repeat(5000) })],
    ['a text further down', createContact, create(createContact.input, { emails: [{}, { type: 'a'.repeat(5000) }] })],
    ['a secret', login, create(login.input, { password: 'a'.repeat(20_000) })],
  ])('%s', (_, method, message) => {
    const { violations = [] } = validator.validate(method.input, message);
    const expected = violations.filter(({ ruleId }) => /max_(?:items|pairs|len)$/.test(ruleId)).map(shown);
    const binary = check(method, toBinary(method.input, message), true);
    const json = check(method, Buffer.from(toJsonString(method.input, message)), false);
    for (const error of [binary, json]) {
      expect(error).toBeInstanceOf(ConnectError);
      const [found] = error?.findDetails(ViolationsSchema) ?? [];
      expect(found?.violations.map((violation) => JSON.stringify(violation, withBigInts))).toEqual(expected);
      expect(error?.rawMessage).toBe(
        violations
          .find(({ ruleId }) => /max_(?:items|pairs|len)$/.test(ruleId))
          ?.toString()
          .replace(/"k{1000}"/, `"${'k'.repeat(64)}"`),
      );
    }
  });
});

/** A violation as it is sent, its key cut as the check cuts it. */
function shown(violation: Violation): string | undefined {
  const [{ violations }] = violationsToProto([violation]);
  return JSON.stringify(violations[0], withBigInts).replace(/k{1000}/, 'k'.repeat(64));
}

function withBigInts(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

describe('a text that is far too long is refused as one field of the request, never as a fault', () => {
  const texts = SERVICES.flatMap(({ methods }) =>
    methods.flatMap((method) =>
      method.input.fields
        .filter(({ fieldKind, scalar }) => fieldKind === 'scalar' && scalar === ScalarType.STRING)
        .map((field) => ({ name: `${method.name}.${field.name}`, method, field })),
    ),
  );
  test.each(texts)('$name', ({ method, field }) => {
    const text = 'a'.repeat(200_000);
    const { oneof, localName } = field;
    const message = create(
      method.input,
      oneof === undefined ? { [localName]: text } : { [oneof.localName]: { case: localName, value: text } },
    );
    const bytes = [toBinary(method.input, message), Buffer.from(toJsonString(method.input, message))] as const;
    // A text without a length of its own is left to the validator, as one of the size of a message.
    const { violations = [] } = validator.validate(method.input, message);
    const later = violationsToProto(violations.filter(({ field: path }) => path[0] === field).slice(0, 1))[0];
    for (const error of [check(method, bytes[0], true), check(method, bytes[1], false)]) {
      const [found = later] = error?.findDetails(ViolationsSchema) ?? [];
      const fields = found?.violations?.map(({ field: path }) => path?.elements?.map(({ fieldName }) => fieldName));
      expect(fields).toEqual([[field.name]]);
    }
  });
});
