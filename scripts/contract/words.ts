import type { DescField } from '@bufbuild/protobuf';
import { Normalization } from '../../gen/kith/text/v1/text_pb.ts';
import { type Access } from '../../src/rpc/access.ts';
import { permissionName } from '../../src/kernel/access.ts';
import type { FieldConstraints } from './rules.ts';

/** How documents link from words to what these name. Each returns Markdown. */
export interface Links {
  textRule(name: string): string;
  permission(name: string): string;
}

/** Rules in plain words, a short phrase each: "1 to 200 code points". */
export function rulesInWords(constraints: FieldConstraints, links: Links): string[] {
  const { ignoreZero, normalization, items, keys, mapValues, text, other } = constraints;
  const of = (what: string, inner: FieldConstraints | undefined) =>
    inner === undefined ? [] : rulesInWords(inner, links).map((rule) => `${what}: ${rule}`);
  const phrases = [
    ...range('code points', constraints.minLength, constraints.maxLength),
    ...range('', constraints.minimum, constraints.maximum),
    ...range('items', constraints.minItems, constraints.maxItems),
    ...range('pairs', undefined, constraints.maxPairs),
    ...range('seconds', constraints.minSeconds, constraints.maxSeconds),
    ...(constraints.uniqueItems === true ? ['no item twice'] : []),
    ...(constraints.format === undefined ? [] : [FORMATS[constraints.format]]),
    ...(text ?? []).map((rule) => links.textRule(rule)),
    ...(constraints.values === undefined ? [] : [`one of ${constraints.values.map(code).join(', ')}`]),
    ...(constraints.earliest === undefined ? [] : [`not before ${constraints.earliest}`]),
    ...(constraints.inFuture === true ? ['in the future'] : []),
    ...(constraints.latest === undefined ? [] : [`not after ${constraints.latest}`]),
    ...of('each', items),
    ...of('keys', keys),
    ...of('values', mapValues),
    ...(other ?? []),
  ];
  if (ignoreZero && phrases.length > 0) phrases.unshift('may be empty, else');
  const [first, ...rest] = phrases;
  const joined = ignoreZero && first !== undefined ? [`${first} ${rest[0]}`, ...rest.slice(1)] : phrases;
  return [...joined, ...(NORMALIZED[normalization] ?? [])];
}

const NORMALIZED: Partial<Record<Normalization, string[]>> = {
  [Normalization.TRIM]: ['white space at both ends is removed first'],
  [Normalization.COMPACT]: ['white space and hyphens are removed first'],
};

const FORMATS = { uuid: 'a UUID', email: 'an email address', uri: 'an absolute URI' };

function range(unit: string, min: number | undefined, max: number | undefined): string[] {
  const of = unit === '' ? '' : ` ${unit}`;
  if (min !== undefined && max !== undefined) return [min === max ? `${min}${of}` : `${min} to ${max}${of}`];
  if (min !== undefined) return [`at least ${min}${of}`];
  return max === undefined ? [] : [`at most ${max}${of}`];
}

/** Who may call, as a sentence without its end. */
export function accessInWords(access: Access, links: Links): string {
  if (access.kind === 'public') return 'anyone, without signing in';
  const fresh = access.takesFreshSignIn ? '; takes a fresh sign-in (`KITH_FRESH_SIGN_IN_SECONDS`)' : '';
  if (access.kind === 'signed_in') {
    return access.withApiKeys
      ? `any user who is signed in, and any API key${fresh}`
      : `any user who is signed in; no API key${fresh}`;
  }
  const self =
    access.selfField === undefined
      ? ''
      : `, and users for whom \`${access.selfField.name}\` is their own id (API keys only with the permission)`;
  return `callers with ${links.permission(permissionName(access.permission))}${self}${fresh}`;
}

/** Who may call, in a few words for a table. */
export function accessInBrief(access: Access, links: Links): string {
  if (access.kind === 'public') return 'anyone';
  if (access.kind === 'signed_in') return access.withApiKeys ? 'users and API keys' : 'users';
  return links.permission(permissionName(access.permission)) + (access.selfField === undefined ? '' : ', or oneself');
}

/** The type of a field as the contract writes it, without links. */
export function typeName(field: DescField): string {
  switch (field.fieldKind) {
    case 'map':
      return `map<string, ${field.message?.name ?? field.enum?.name ?? scalarName(field)}>`;
    case 'list':
      return `repeated ${field.message?.name ?? field.enum?.name ?? scalarName(field)}`;
    default:
      return field.message?.name ?? field.enum?.name ?? scalarName(field);
  }
}

function scalarName(field: DescField): string {
  return SCALARS[field.scalar ?? 0] ?? `scalar ${field.scalar}`;
}

/** By the numbers of ScalarType, which are those of FieldDescriptorProto.Type. */
const SCALARS: Readonly<Record<number, string>> = {
  1: 'double',
  2: 'float',
  3: 'int64',
  4: 'uint64',
  5: 'int32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
  13: 'uint32',
};

/** As code in Markdown. */
export function code(text: string): string {
  return `\`${text}\``;
}
