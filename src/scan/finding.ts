import type { DescField, DescMessage } from '@bufbuild/protobuf';
import type { Path } from '@bufbuild/protobuf/reflect';

/** What is wrong with the bytes of a message. */
export type Finding =
  /** They are not a message of the type. */
  | { readonly kind: 'malformed'; readonly message: string }
  /** In binary: a field that the type does not have. In JSON that is malformed. */
  | { readonly kind: 'unknown_field'; readonly type: DescMessage; readonly number: number }
  /** More items, pairs or characters than the contract allows. */
  | { readonly kind: 'too_many'; readonly field: DescField; readonly of: TooMany; readonly path: Path };

/** What there is too much of: items, pairs or characters of the field itself, or characters of a map's key or value. */
export type TooMany = 'field' | 'key' | 'value';

export function malformed(message: string): Finding {
  return { kind: 'malformed', message };
}

export function tooMany(field: DescField): Finding {
  return { kind: 'too_many', field, of: 'field', path: [field] };
}

/** Of a key, as many bytes as are read to show it. */
export const SHOWN_BYTES = 1000;

/** Of the key of a pair, as much as a refusal shows, which is sent in a header. */
const SHOWN_KEY_CHARACTERS = 64;

export function tooManyInPair(field: DescField, of: 'key' | 'value', key: string): Finding {
  const shown = key.slice(0, SHOWN_KEY_CHARACTERS).toWellFormed();
  return { kind: 'too_many', field, of, path: [field, { kind: 'map_sub', key: shown }] };
}

/** A finding in a message, as seen from the message that holds it. */
export function within(field: DescField, index: number | undefined, finding: Finding): Finding {
  if (finding.kind !== 'too_many') return finding;
  const at: Path = index === undefined ? [field] : [field, { kind: 'list_sub', index }];
  return { ...finding, path: [...at, ...finding.path] };
}

/** How deep messages may lie in one another, as protobuf-es has it. */
export const DEPTH_MAX = 100;

export function tooDeep(type: DescMessage, format: 'binary' | 'JSON'): Finding {
  const reason = `maximum recursion depth of ${DEPTH_MAX} reached`;
  return malformed(`cannot decode ${type.toString()} from ${format}: ${reason}`);
}
