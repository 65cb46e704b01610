import { setImmediate } from 'node:timers/promises';
import {
  create,
  createRegistry,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageShape,
} from '@bufbuild/protobuf';
import { createValidator, ValidationError, type Validator, violationsToProto } from '@bufbuild/protovalidate';
import { Code, ConnectError } from '@connectrpc/connect';
import type { PartRefusal } from '../kernel/failure.ts';
import type { Check } from '../../packages/connect-fast/src/index.ts';
import { withImports } from './files.ts';
import { matchPattern } from './patterns.ts';
import { createQuickCheck } from './quick-check.ts';

/**
 * Checks the requests of these services against the rules in the contract. The rules of a message are compiled when it
 * is first checked, which takes up to 100 ms: see compileRules.
 */
export function createRequestValidator(services: readonly DescService[]): Validator {
  return createFileValidator(services.map(({ file }) => file));
}

/**
 * Compiles the rules of the requests of these services, one message in each turn of the event loop, so that no caller
 * waits for it. Stops when the signal is aborted.
 */
export async function compileRules(
  validator: Validator,
  services: readonly DescService[],
  signal: AbortSignal,
): Promise<void> {
  for (const { input } of services.flatMap(({ methods }) => methods)) {
    await setImmediate();
    if (signal.aborted) return;
    validator.validate(input, create(input));
  }
}

/**
 * Refuses messages that break the rules in the contract, with the violations. The validator is asked only where the
 * quick check does not know. That a message holds no more than the contract allows, and nothing that it does not
 * know, was seen before it was parsed: see createRequestCheck.
 */
export function createValidationCheck(validator: Validator): Check {
  const isSurelyValid = createQuickCheck(validator);
  return ({ method: { input } }, message) => {
    if (isSurelyValid(input, message)) return;
    const { error } = validator.validate(input, message);
    if (error !== undefined) throw toInvalidArgument(error);
  };
}

function createFileValidator(files: readonly DescFile[]): Validator {
  return createValidator({ registry: createRegistry(...withImports(files).values()), regexMatch: matchPattern });
}

/**
 * Says which rule of the contract a message inside a request breaks, where the request leaves that to the handler
 * (IGNORE_ALWAYS). The rules are compiled at the first such message.
 */
export function createMessageCheck<D extends DescMessage>(
  desc: D,
): (message: MessageShape<D>) => PartRefusal | undefined {
  let validator: Validator | undefined;
  return (message) => {
    validator ??= createFileValidator([desc.file]);
    const { error, violations } = validator.validate(desc, message);
    if (error === undefined) return undefined;
    const [first] = violations ?? [];
    if (first === undefined) throw error;
    const [field] = first.field;
    const metadata: Record<string, string> = field?.kind === 'field' ? { field: field.name } : {};
    return { reason: 'fields_invalid', metadata, message: first.message };
  };
}

/** What a caller is answered for an error of the validator. */
export function toInvalidArgument(error: Error): ConnectError {
  const details = [];
  if (error instanceof ValidationError) {
    const [value, desc] = violationsToProto(error.violations);
    details.push({ desc, value });
  }
  return new ConnectError(error.message, Code.InvalidArgument, undefined, details, error);
}
