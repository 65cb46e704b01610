import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import type { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';

export const IMPLICIT: FeatureSet_FieldPresence.IMPLICIT = 2;
export const REQUIRED: FeatureSet_FieldPresence.LEGACY_REQUIRED = 3;

const WRAPPERS: ReadonlySet<string> = new Set(
  ['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes'].map(
    (name) => `google.protobuf.${name}Value`,
  ),
);

/** A value that is no message: its type, and what of its field says how it is kept. */
export interface ScalarKind {
  readonly type: ScalarType;
  readonly isStrict: boolean;
  readonly isLongText: boolean;
}

/** Of a field's value or items; enums are numbers. Of a map it is that of the values. */
export function scalarOf(field: DescField): ScalarKind | undefined {
  const isLongText = field.fieldKind !== 'map' && 'longAsString' in field && field.longAsString;
  const type = field.enum !== undefined ? ScalarType.INT32 : field.scalar;
  return type === undefined ? undefined : { type, isStrict: field.utf8Validation, isLongText };
}

/** A wrapper's only value takes its place in a field that is neither repeated nor of a oneof. */
export function isUnwrapped(field: DescField): field is DescField & { readonly message: DescMessage } {
  return field.fieldKind === 'message' && field.oneof === undefined && isWrapper(field.message);
}

export function isWrapper({ typeName, fields: [value] }: DescMessage): boolean {
  return WRAPPERS.has(typeName) && value?.fieldKind === 'scalar' && value.name === 'value' && value.number === 1;
}

const OF_JSON: ReadonlySet<string> = new Set(
  ['Any', 'Timestamp', 'Duration', 'FieldMask', 'Struct', 'Value', 'ListValue'].map(
    (name) => `google.protobuf.${name}`,
  ),
);

/** Whether it has JSON of its own. */
export function isOfJson(desc: DescMessage): boolean {
  return OF_JSON.has(desc.typeName) || isWrapper(desc);
}

/** Whether a message has a value for the field that was not sent. */
export function isAlwaysThere({ fieldKind, presence }: DescField): boolean {
  return fieldKind === 'list' || fieldKind === 'map' || (fieldKind !== 'message' && presence === IMPLICIT);
}

/** google.protobuf.Struct is a plain object in a field, which is left to Protobuf-ES. */
export function isPlainObject({ message, parent }: DescField): boolean {
  return message?.typeName === 'google.protobuf.Struct' && parent?.typeName !== 'google.protobuf.Value';
}

/** Of a group, or of a message that is written like one. */
export function isDelimited(field: DescField): boolean {
  return field.fieldKind !== 'map' && 'delimitedEncoding' in field && field.delimitedEncoding;
}

export function tagOf(number: number, wireType: WireType): number {
  return ((number << 3) | wireType) >>> 0;
}

export function wireTypeOf(type: ScalarType): WireType {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/**
 * An expression for whether a value `v` that is no message differs from that of a message in which it is not set. Values of
 * other types are sent, and refused then.
 */
export function isSent({ enum: desc, scalar }: DescField): string {
  if (desc !== undefined) return `v !== ${desc.values[0]!.number}`;
  switch (scalar) {
    case ScalarType.STRING:
      return 'v !== ""';
    case ScalarType.BOOL:
      return 'v !== false';
    case ScalarType.BYTES:
      return '!(v instanceof Uint8Array && v.length === 0)';
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return '!(v === 0 && 1 / v > 0)';
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      // Zero may be a bigint, a text or a number.
      return 'v !== 0n && !(typeof v === "string" && Number(v) === 0) && v !== 0';
    default:
      return 'v !== 0';
  }
}
