import { readFileSync } from 'node:fs';
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  ScalarType,
} from '@bufbuild/protobuf';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Code } from '@connectrpc/connect';
import { codeToHttpStatus } from '@connectrpc/connect/protocol-connect';
import { secret as secretOption } from '../../gen/kith/access/v1/access_pb.ts';
import { ErrorDetailSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { permissionName } from '../../src/kernel/access.ts';
import { createRequestValidator } from '../../src/rpc/validate.ts';
import { SERVICES } from '../../src/services.ts';
import { type CommentOf, firstSentence, unwrapped } from '../../src/rpc/contract-comments.ts';
import {
  ACCESS,
  codeName,
  type Reason,
  readReasons,
  REASONS_OF_ANY_CALL,
  REASONS_OF_SIGNED_IN,
  reasonsOf,
} from './reasons.ts';
import { constraintsOf, type FieldConstraints, isRequired, messageRules } from './rules.ts';
import { TEXT_PATTERNS } from './text-patterns.ts';
import { enumsOf, hasPresence, isRead, isWellKnown, messagesFrom } from './types.ts';
import { accessInWords, code, rulesInWords } from './words.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Schema = Readonly<Record<string, Json>>;

/** Words without links: most tools show descriptions without the documents that these would lead to. */
const PLAIN = { textRule: code, permission: code };

/**
 * The contract as OpenAPI 3.1: each unary call as `POST /<package>.<Service>/<Call>` in Connect's JSON, calls that only
 * read as GET too. Streams are not in it: Connect frames their messages, which OpenAPI cannot say.
 */
export function openApiDocument(commentOf: CommentOf): Schema {
  const reasons = readReasons(commentOf);
  const unary = SERVICES.flatMap(({ methods }) => methods.filter(({ methodKind }) => methodKind === 'unary'));
  const answered = messagesFrom(unary.map(({ output }) => output));
  const messages = messagesFrom(unary.flatMap(({ input, output }) => [input, output]));
  const schemas = new Schemas(commentOf, new Set(answered));
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kith',
      version,
      summary: 'Users, sign-in and contacts.',
      description: [
        'Made from the contract, which is served over gRPC, gRPC-Web and Connect; this describes Connect with JSON. ' +
          'Streaming calls are left out, since OpenAPI cannot describe their frames: call them with a client of gRPC or Connect.',
        'A field that has its default is left out of answers. Answers may hold fields of later versions.',
        'A call may have a deadline: the header `connect-timeout-ms`, in milliseconds from now.',
        'Branch on `reason` in the `kith.error.v1.ErrorDetail` of a refusal; for a reason that you do not know, on `code`.',
      ].join('\n\n'),
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: SERVICES.filter(({ methods }) => methods.some((method) => unary.includes(method))).map((service) => {
      const streams = service.methods.filter((method) => !unary.includes(method)).map(({ name }) => code(name));
      const missing =
        streams.length === 0 ? '' : `\n\nNot in this document, since they are streams: ${streams.join(', ')}.`;
      return { name: service.name, description: unwrapped(commentOf(service)) + missing };
    }),
    paths: Object.fromEntries(
      unary.map((method) => [`/${method.parent.typeName}/${method.name}`, pathItem(method, reasons, commentOf)]),
    ),
    components: {
      securitySchemes: {
        accessToken: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'An access token, of `Login`, `RefreshAccessToken` or `ExchangeApiKey`.',
        },
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key, of `CreateApiKey`. It has the permissions that it was created with.',
        },
      },
      responses: {
        ...commonRefusals(reasons),
        Refused: { description: 'Refused, as any call may be.', ...refusalContent() },
      },
      schemas: {
        ...Object.fromEntries([...messages, ErrorDetailSchema].map((desc) => [desc.typeName, schemas.message(desc)])),
        ...Object.fromEntries(
          enumsOf([...messages, ErrorDetailSchema]).map((desc) => [desc.typeName, schemas.enum(desc)]),
        ),
        'connect.Error': connectError(),
        [ViolationsSchema.typeName]: VIOLATIONS,
      },
    },
  };
}

function pathItem(method: DescMethod, reasons: ReadonlyMap<string, Reason>, commentOf: CommentOf): Schema {
  const { input, output, parent, name } = method;
  const { access } = ACCESS.of(method);
  const comment = commentOf(method);
  const own = reasonsOf(method, reasons, commentOf);
  const common = {
    tags: [parent.name],
    summary: firstSentence(comment),
    description: `${unwrapped(comment)}\n\nWho may call: ${accessInWords(access, PLAIN)}.`,
    security: securityOf(access),
    responses: {
      200: {
        description: unwrapped(commentOf(output)),
        content: { 'application/json': { schema: refTo(output) } },
      },
      ...refusals(own, reasons, access.kind === 'public'),
      default: { $ref: '#/components/responses/Refused' },
    },
    'x-kith-reasons': own.map((reason) => reason.name),
  };
  const post = {
    operationId: `${parent.name}_${name}`,
    ...common,
    requestBody: { required: true, content: { 'application/json': { schema: refTo(input) } } },
  };
  if (!isRead(method)) return { post };
  const query = [
    { name: 'encoding', in: 'query', required: true, schema: { type: 'string', const: 'json' } },
    {
      name: 'message',
      in: 'query',
      required: true,
      description: 'The request, as JSON.',
      content: { 'application/json': { schema: refTo(input) } },
    },
  ];
  return { post, get: { operationId: `${parent.name}_${name}_get`, ...common, parameters: query } };
}

/** Permissions are named where an alternative takes one, as OpenAPI 3.1 has it for schemes without scopes. */
function securityOf(access: ReturnType<typeof ACCESS.of>['access']): Json {
  if (access.kind === 'public') return [];
  if (access.kind === 'signed_in')
    return access.withApiKeys ? [{ accessToken: [] }, { apiKey: [] }] : [{ accessToken: [] }];
  const permissions = [permissionName(access.permission)];
  const byToken = { accessToken: access.selfField === undefined ? permissions : [] };
  return access.takesFreshSignIn ? [byToken] : [byToken, { apiKey: permissions }];
}

/** The responses of a method: for the statuses of its own reasons, and those that any call has. */
function refusals(own: readonly Reason[], reasons: ReadonlyMap<string, Reason>, isPublic: boolean): Schema {
  const any = byStatus(commonReasons(reasons, isPublic));
  const ownByStatus = byStatus(own);
  const statuses = [...new Set([...any.keys(), ...ownByStatus.keys()])].toSorted((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => {
      const of = ownByStatus.get(status);
      return [
        status,
        of === undefined ? { $ref: `#/components/responses/${status}` } : refusal([...of, ...(any.get(status) ?? [])]),
      ];
    }),
  );
}

/** The responses that any call has, by their statuses. */
function commonRefusals(reasons: ReadonlyMap<string, Reason>): Schema {
  return Object.fromEntries([...byStatus(commonReasons(reasons, false))].map(([status, of]) => [status, refusal(of)]));
}

function commonReasons(reasons: ReadonlyMap<string, Reason>, isPublic: boolean): Reason[] {
  const names = new Set([...REASONS_OF_ANY_CALL, ...(isPublic ? [] : REASONS_OF_SIGNED_IN)]);
  return [...reasons.values()].filter(({ name }) => names.has(name));
}

function byStatus(reasons: readonly Reason[]): Map<number, Reason[]> {
  return Map.groupBy(reasons, (reason) => codeToHttpStatus(reason.code));
}

function refusal(reasons: readonly Reason[]): Schema {
  const lines = reasons.map(({ name, comment }) => `- \`${name}\`: ${firstSentence(comment)}`);
  return { description: [...new Set(lines)].join('\n'), ...refusalContent() };
}

function refusalContent(): Schema {
  return { content: { 'application/json': { schema: { $ref: '#/components/schemas/connect.Error' } } } };
}

/** https://connectrpc.com/docs/protocol#error-end-stream, with the details that Kith sends. */
function connectError(): Schema {
  const detail = (type: string): Schema => ({
    type: 'object',
    properties: {
      type: { type: 'string', const: type },
      value: { type: 'string', description: 'The message in binary, as base64 without padding.' },
      debug: { $ref: `#/components/schemas/${type}` },
    },
    required: ['type', 'value'],
  });
  const codes = Object.values(Code).filter((each) => typeof each === 'number');
  return {
    type: 'object',
    description: 'Why a call was refused.',
    properties: {
      code: { type: 'string', enum: codes.map(codeName) },
      message: { type: 'string', description: 'For developers; it may change.' },
      details: {
        type: 'array',
        items: { oneOf: [detail(ErrorDetailSchema.typeName), detail(ViolationsSchema.typeName)] },
      },
    },
    required: ['code'],
  };
}

/** What there is of buf.validate.Violations in JSON that clients need. */
const VIOLATIONS: Schema = {
  type: 'object',
  description: 'The first twelve rules of the contract that the request breaks.',
  properties: {
    violations: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          field: {
            type: 'object',
            description: 'The path of the field from the request on.',
            properties: {
              elements: {
                type: 'array',
                items: {
                  type: 'object',
                  properties: { fieldNumber: { type: 'integer' }, fieldName: { type: 'string' } },
                },
              },
            },
          },
          rule: { type: 'object' },
          ruleId: { type: 'string' },
          message: { type: 'string' },
          forKey: { type: 'boolean' },
        },
      },
    },
  },
};

function refTo({ typeName }: DescMessage | DescEnum): Schema {
  return { $ref: `#/components/schemas/${typeName}` };
}

/** The schemas of messages and enums in proto3's JSON form (https://protobuf.dev/programming-guides/json). */
class Schemas {
  readonly #commentOf: CommentOf;
  readonly #answered: ReadonlySet<DescMessage>;
  readonly #validator = createRequestValidator(SERVICES);

  /** Messages of `answered` may hold fields of later versions; the others are of requests, which hold no unknown field. */
  constructor(commentOf: CommentOf, answered: ReadonlySet<DescMessage>) {
    this.#commentOf = commentOf;
    this.#answered = answered;
  }

  message(desc: DescMessage): Schema {
    const isRequest = !this.#answered.has(desc) && desc !== ErrorDetailSchema;
    const rules = messageRules(desc).map((rule) => `It ${rule}.`);
    const required = this.#required(desc);
    const oneofs = desc.oneofs
      .filter((oneof) => oneof.fields.length > 1)
      .map((oneof) => {
        const names = oneof.fields.map(({ jsonName }) => jsonName);
        if (isRequired(oneof)) return { oneOf: names.map((name) => ({ required: [name] })) };
        const pairs = names.flatMap((a, i) => names.slice(i + 1).map((b) => ({ required: [a, b] })));
        return { not: pairs.length === 1 ? pairs[0]! : { anyOf: pairs } };
      });
    return {
      type: 'object',
      description: [unwrapped(this.#commentOf(desc)), ...rules].join('\n\n'),
      properties: Object.fromEntries(desc.fields.map((field) => [field.jsonName, this.#field(field, required)])),
      ...(required.size > 0 && { required: [...required].map((field) => field.jsonName) }),
      ...(isRequest && { additionalProperties: false }),
      ...(oneofs.length === 1 ? oneofs[0] : oneofs.length > 1 && { allOf: oneofs }),
    };
  }

  enum(desc: DescEnum): Schema {
    // A list item of one paragraph: the first.
    const values = desc.values.map(
      (value) => `- \`${value.name}\`: ${unwrapped(this.#commentOf(value)).split('\n\n', 1)[0]}`,
    );
    return {
      type: 'string',
      description: [unwrapped(this.#commentOf(desc)), values.join('\n')].join('\n\n'),
      enum: desc.values.map(({ name }) => name),
    };
  }

  /** The fields without which a message is refused: the server's own validator says so of a message without any. */
  #required(desc: DescMessage): Set<DescField> {
    const { violations } = this.#validator.validate(desc, create(desc));
    const first = (violations ?? []).map(({ field: [element] }) => element);
    return new Set(desc.fields.filter((field) => first.some((element) => element === field)));
  }

  #field(field: DescField, required: ReadonlySet<DescField>): Schema {
    const constraints = constraintsOf(field);
    const rules = rulesInWords(constraints, PLAIN);
    const description = [
      unwrapped(this.#commentOf(field)),
      ...(rules.length === 0 ? [] : [`Rules: ${rules.join('; ')}.`]),
    ].join('\n\n');
    const schema = this.#type(field, constraints);
    const fallback = required.has(field) ? undefined : defaultOf(field);
    return {
      ...schema,
      description,
      ...(fallback !== undefined && { default: fallback }),
      ...(isSecret(field) && !this.#answered.has(field.parent) && { writeOnly: true }),
    };
  }

  #type(field: DescField, constraints: FieldConstraints): Schema {
    switch (field.fieldKind) {
      case 'list':
        return {
          type: 'array',
          items: this.#single(field, { ...constraints, ...constraints.items }),
          ...(constraints.minItems !== undefined && { minItems: constraints.minItems }),
          ...(constraints.maxItems !== undefined && { maxItems: constraints.maxItems }),
          ...(constraints.uniqueItems === true && { uniqueItems: true }),
        };
      case 'map':
        return {
          type: 'object',
          ...(constraints.keys !== undefined && { propertyNames: textSchema(constraints.keys) }),
          additionalProperties: this.#single(field, constraints.mapValues ?? constraints),
          ...(constraints.maxPairs !== undefined && { maxProperties: constraints.maxPairs }),
        };
      default:
        return this.#single(field, constraints);
    }
  }

  /** Of a field's value, or of one of its values. */
  #single(field: DescField, constraints: FieldConstraints): Schema {
    const { message, enum: desc, scalar } = field;
    if (message !== undefined) return isWellKnown(message) ? wellKnown(message) : refTo(message);
    if (desc !== undefined) {
      const { values } = constraints;
      return values === undefined || values.length === desc.values.length
        ? refTo(desc)
        : { type: 'string', enum: [...(constraints.ignoreZero ? [desc.values[0]!.name] : []), ...values] };
    }
    switch (scalar) {
      case ScalarType.STRING:
        return textSchema(constraints);
      case ScalarType.BOOL:
        return { type: 'boolean' };
      case ScalarType.BYTES:
        return { type: 'string', contentEncoding: 'base64' };
      case ScalarType.INT32:
        return {
          type: 'integer',
          format: 'int32',
          minimum: constraints.minimum ?? -(2 ** 31),
          maximum: constraints.maximum ?? 2 ** 31 - 1,
        };
      case ScalarType.DOUBLE:
        return { type: 'number', format: 'double' };
      case ScalarType.INT64:
        return { type: 'string', format: 'int64', pattern: '^-?[0-9]{1,19}$' };
      default:
        throw new Error(`${field.toString()} has a type that scripts/contract/openapi.ts does not know`);
    }
  }
}

function isSecret(field: DescField): boolean {
  return getOption(field, secretOption);
}

function textSchema({ ignoreZero, minLength, maxLength, values, format, text }: FieldConstraints): Schema {
  const patterns = (text ?? []).map((rule) => TEXT_PATTERNS[rule]).filter((pattern) => pattern !== undefined);
  const [pattern, ...more] = patterns;
  const rules = {
    ...(minLength !== undefined && { minLength }),
    ...(maxLength !== undefined && { maxLength }),
    ...(values !== undefined && { enum: values }),
    ...(format !== undefined && { format }),
    ...(pattern !== undefined && { pattern }),
    ...(more.length > 0 && { allOf: more.map((each) => ({ pattern: each })) }),
  };
  const isEmptyRefused = minLength !== undefined || format !== undefined;
  if (!ignoreZero || !isEmptyRefused) return { type: 'string', ...rules };
  return { type: 'string', anyOf: [{ const: '' }, rules] };
}

function wellKnown({ typeName }: DescMessage): Schema {
  switch (typeName) {
    case 'google.protobuf.Timestamp':
      return { type: 'string', format: 'date-time' };
    case 'google.protobuf.Duration':
      return { type: 'string', format: 'google-duration', pattern: '^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$' };
    default:
      throw new Error(`the JSON form of ${typeName} is not known to scripts/contract/openapi.ts`);
  }
}

/** What an absent field is read as; undefined for one whose absence says something. */
function defaultOf(field: DescField): Json | undefined {
  if (hasPresence(field)) return undefined;
  if (field.fieldKind === 'list') return [];
  if (field.fieldKind === 'map') return {};
  if (field.enum !== undefined) return field.enum.values[0]!.name;
  switch (field.scalar) {
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT32:
      return 0;
    case ScalarType.INT64:
      return '0';
    default:
      return '';
  }
}
