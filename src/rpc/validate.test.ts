import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Validator } from '@bufbuild/protovalidate';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import {
  ContactService,
  CreateContactRequestSchema,
  UpdateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { createRequestValidator, createValidationCheck } from './validate.ts';

const ID = '0198f0a1-7b1c-7c3e-9a4d-5e6f70819203';
const ADA: MessageInitShape<typeof CreateContactRequestSchema> = {
  givenName: 'Ada',
  familyName: 'Lovelace',
  company: 'Analytical Engines',
  jobTitle: 'Programmer',
  emails: [{ address: 'ada@example.org', type: 'home', primary: true }],
  phones: [{ number: '+44 20 7946 0018', type: 'work' }],
  addresses: [{ street: '12 St James’s Square\nLondon', city: 'London', country: 'GB' }],
  urls: [{ url: 'https://example.org/ada', type: 'blog' }],
  birthday: { year: 1815, month: 12, day: 10 },
  notes: 'Met at the soirée\n\tin June',
  requestId: ID,
};

const { createContact, updateContact } = ContactService.method;

/** A validator that counts what it is asked. */
function counted(): { asked: () => number; validator: Validator } {
  const validator = createRequestValidator([ContactService]);
  let asked = 0;
  return {
    asked: () => asked,
    validator: {
      ...validator,
      validate(desc, message) {
        asked++;
        return validator.validate(desc, message);
      },
    },
  };
}

test.each([
  ['CreateContact', createContact, create(CreateContactRequestSchema, ADA)],
  [
    'UpdateContact',
    updateContact,
    create(UpdateContactRequestSchema, { contactId: ID, givenName: 'Ada', notes: 'a\nb' }),
  ],
])('a valid %s does not reach the slow validator', (_, method, message) => {
  const { asked, validator } = counted();
  const check = createValidationCheck(validator);
  const call = { method, values: createContextValues() };
  void check(call, message); // compiles the rules, for which the validator is asked of empty messages
  const before = asked();
  void check(call, message);
  expect(asked()).toBe(before);
});

test('a message that breaks rules is refused in the words of the validator, with the violations', () => {
  const check = createValidationCheck(createRequestValidator([ContactService]));
  const message = create(CreateContactRequestSchema, { ...ADA, givenName: 'a\u0000b' });
  const { error } = createRequestValidator([ContactService]).validate(CreateContactRequestSchema, message);
  let thrown: unknown;
  try {
    void check({ method: createContact, values: createContextValues() }, message);
  } catch (refusal) {
    thrown = refusal;
  }
  expect(thrown).toBeInstanceOf(ConnectError);
  const refusal = thrown as ConnectError;
  expect(refusal).toMatchObject({ code: Code.InvalidArgument, rawMessage: error!.message });
  expect(refusal.findDetails(ViolationsSchema)[0]!.violations.map(({ ruleId }) => ruleId)).toEqual(['string.line']);
});
