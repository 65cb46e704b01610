import { create, createRegistry, type DescMessage, type DescService, type Message } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import type { Interceptor } from '@connectrpc/connect';
import { createValidateInterceptor } from '@connectrpc/validate';
import { Failure } from '../failure.ts';
import { withImports } from './files.ts';

/**
 * Checks the requests of these services against the rules in the contract.
 *
 * The rules of a message are compiled when it is first checked, which takes up
 * to 100 ms; so each is checked once here, before the first caller waits.
 */
export function createRequestValidator(services: readonly DescService[]): Validator {
  const files = services.map(({ file }) => file);
  const validator = createValidator({ registry: createRegistry(...withImports(files).values()) });
  for (const { methods } of services) {
    for (const { input } of methods) validator.validate(input, create(input));
  }
  return validator;
}

/**
 * Refuses requests that break the rules in the contract, with all violations,
 * and requests with fields that are not in it: a server that dropped those would
 * acknowledge a write it did not make.
 */
export function createValidationInterceptors(validator: Validator): Interceptor[] {
  const refuseUnknown: Interceptor = (next) => (request) => {
    if (!request.stream) refuseUnknownFields(request.method.input, request.message);
    return next(request);
  };
  return [refuseUnknown, createValidateInterceptor({ validator })];
}

/** Throws field_unknown. */
function refuseUnknownFields(desc: DescMessage, message: Message): void {
  const unknown = message.$unknown?.[0];
  if (unknown !== undefined) {
    throw new Failure('field_unknown', `${desc.typeName} has no field ${unknown.no} in this server's contract`, {
      field: String(unknown.no),
    });
  }
  const reflected = reflect(desc, message);
  for (const field of desc.fields) {
    if (field.message === undefined || !reflected.isSet(field)) continue;
    if (field.fieldKind === 'message') refuseUnknownFields(field.message, reflected.get(field).message);
    if (field.fieldKind === 'list') {
      for (const item of reflected.get(field))
        refuseUnknownFields(field.message, (item as { message: Message }).message);
    }
  }
}
