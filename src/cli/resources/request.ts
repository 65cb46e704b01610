import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { type Given, UsageError } from '../command.ts';
import { didYouMean } from '../suggest.ts';
import { fieldJson, optionName, wrapperOf } from './fields.ts';

/** What of a request is given by options, in the JSON of Protobuf. Throws UsageError. */
export function requestOfOptions(fields: readonly DescField[], options: Given): JsonObject {
  const given = fields.flatMap((field): [string, JsonValue][] => {
    const values = options.all(optionName(field));
    if (values.length > 0) return [[field.jsonName, fieldJson(field, values)]];
    return options.has(optionName(field)) ? [[field.jsonName, true]] : [];
  });
  return Object.fromEntries(given);
}

/**
 * A request from JSON: one as the contract has it, or the resource as `get --json` prints it, of which is taken what the
 * request has. Throws UsageError for a field of neither.
 */
export function requestOfInput(
  input: JsonObject,
  request: DescMessage,
  resource: DescField | undefined,
  idField: DescField | undefined,
): JsonObject {
  const json = unwrapped(input, request, resource);
  const entries = Object.entries(json).flatMap(([name, value]): [string, JsonValue][] => {
    const field = fieldNamed(request, name);
    if (field !== undefined) return [[field.jsonName, wrapped(field, value)]];
    if (name === 'id' && idField !== undefined) return [[idField.jsonName, value]];
    if (resource?.message !== undefined && fieldNamed(resource.message, name) !== undefined) return [];
    throw new UsageError(
      `the input has a field ${JSON.stringify(name)} that ${request.name} has not${didYouMean(
        name,
        request.fields.map(({ jsonName }) => jsonName),
      )}`,
    );
  });
  return Object.fromEntries(entries);
}

/** The resource in a response: `{"user": {...}}`. */
function unwrapped(input: JsonObject, request: DescMessage, resource: DescField | undefined): JsonObject {
  if (resource === undefined || fieldNamed(request, resource.jsonName) !== undefined) return input;
  const inner = input[resource.jsonName] ?? input[resource.name];
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? inner : input;
}

/** A list or value of a resource, for a request that has it in a message of its own. */
function wrapped(field: DescField, value: JsonValue): JsonValue {
  const inner = wrapperOf(field);
  if (inner === undefined) return value;
  const isWrapped = typeof value === 'object' && value !== null && !Array.isArray(value) && inner.name in value;
  return isWrapped ? value : { [inner.name]: value };
}

function fieldNamed({ fields }: DescMessage, name: string): DescField | undefined {
  return fields.find((field) => field.jsonName === name || field.name === name);
}
