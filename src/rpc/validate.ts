import { create, createRegistry, type DescService } from '@bufbuild/protobuf';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import type { Interceptor } from '@connectrpc/connect';
import { createValidateInterceptor } from '@connectrpc/validate';
import { withImports } from './files.ts';
import { matchPattern } from './patterns.ts';

/**
 * Checks the requests of these services against the rules in the contract.
 *
 * The rules of a message are compiled when it is first checked, which takes up
 * to 100 ms; so each is checked once here, before the first caller waits.
 */
export function createRequestValidator(services: readonly DescService[]): Validator {
  const files = services.map(({ file }) => file);
  const validator = createValidator({
    registry: createRegistry(...withImports(files).values()),
    regexMatch: matchPattern,
  });
  for (const { methods } of services) {
    for (const { input } of methods) validator.validate(input, create(input));
  }
  return validator;
}

/**
 * Refuses requests that break the rules in the contract, with the violations. That they hold no more than it
 * allows, and nothing that it does not know, was seen before they were parsed: see createRequestCheck.
 */
export function createValidationInterceptor(validator: Validator): Interceptor {
  return createValidateInterceptor({ validator });
}
