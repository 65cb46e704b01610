import { Failure } from '../../kernel/failure.ts';

/** The two JSON objects of a user: what other services keep with the user. */
export type MetadataField = 'public_metadata' | 'private_metadata';

/** The most that the metadata in one field takes as it is stored, bytes of UTF-8. */
export const METADATA_BYTES_MAX = 16_384;
/** The most members that the object has. Each one is found by a search term, and each term is a row. */
export const METADATA_MEMBERS_MAX = 64;
/** How deep objects and arrays lie in one another, the outermost counted. */
const METADATA_DEPTH_MAX = 16;

/** The longest name and the longest text by which users are found, code points. */
const FOUND_LENGTH_MAX = 100;

type JsonObject = Readonly<Record<string, unknown>>;

/** JSON with the text of each number (https://tc39.es/proposal-json-parse-with-source/), which no type library has yet. */
const json = JSON as unknown as {
  parse(text: string, reviver: typeof keepNumber): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
};

/**
 * The metadata after a patch (JSON merge patch, RFC 7396): its members replace those of the same name, within objects
 * too, and null removes a member. '' stands for no metadata, as the present text and as the result; as a patch it
 * changes nothing. The result has no white space, and numbers are written as they were.
 *
 * Throws metadata_invalid, metadata_too_large.
 */
export function patchMetadata(field: MetadataField, present: string, patch: string): string {
  if (patch === '') return present;
  const changes = parse(field, patch);
  const result = mergePatch(present === '' ? {} : parse(field, present), changes) as JsonObject;
  const members = Object.keys(result).length;
  if (members === 0) return '';
  if (members > METADATA_MEMBERS_MAX) throw tooLarge(field, METADATA_MEMBERS_MAX, 'members');
  const text = write(result);
  if (Buffer.byteLength(text) > METADATA_BYTES_MAX) throw tooLarge(field, METADATA_BYTES_MAX, 'bytes');
  return text;
}

/** What metadata of a user is searched for by: a member with a text, number or truth value. */
export type FoundValue = string | number | boolean;

/**
 * The search terms of metadata: one for each member that has a value as above, if neither its name nor a text is longer
 * than FOUND_LENGTH_MAX.
 */
export function metadataTerms(field: MetadataField, text: string): string[] {
  if (text === '') return [];
  const members = Object.entries(JSON.parse(text) as JsonObject);
  return members.flatMap(([name, value]) =>
    isFound(value) && isShort(name) && isShort(String(value)) ? [metadataTerm(field, name, value)] : [],
  );
}

/** The search term of one member. It begins with a control character, as no text that is searched for can. */
export function metadataTerm(field: MetadataField, name: string, value: FoundValue): string {
  return `\u0001${field === 'public_metadata' ? 'public' : 'private'}${JSON.stringify([name, value])}`;
}

function isShort(text: string): boolean {
  return text.length <= 2 * FOUND_LENGTH_MAX && Array.from(text).length <= FOUND_LENGTH_MAX;
}

function isFound(value: unknown): value is FoundValue {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function parse(field: MetadataField, text: string): JsonObject {
  if (depthOf(text) > METADATA_DEPTH_MAX) throw invalid(field, `is nested deeper than ${METADATA_DEPTH_MAX} levels`);
  let value: unknown;
  try {
    value = json.parse(text, keepNumber);
  } catch {
    throw invalid(field, 'is not JSON');
  }
  if (!isObject(value)) throw invalid(field, 'is not a JSON object, such as {"plan":"pro"}');
  return value;
}

/** A number as it is written: a 64-bit id in metadata has more digits than a number of JavaScript keeps. */
function keepNumber(_: string, value: unknown, { source }: { readonly source?: string }): unknown {
  return typeof value === 'number' && source !== undefined ? json.rawJSON(source) : value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !json.isRawJSON(value);
}

/** RFC 7396, 2. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, mergePatch(members.get(name), value));
  }
  return Object.fromEntries(members); // defines __proto__ as a member like others
}

/** What kith.text.v1.lines refuses in a text is written with escapes. */
function write(value: JsonObject): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\uFFFD]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** How deep brackets lie in one another in a text, if it is JSON. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '{' || token === '[') deepest = Math.max(deepest, ++depth);
    else if (token === '}' || token === ']') depth--;
  }
  return deepest;
}

function invalid(field: MetadataField, what: string): Failure {
  return new Failure('metadata_invalid', `${field} ${what}`, { field });
}

function tooLarge(field: MetadataField, limit: number, unit: string): Failure {
  return new Failure('metadata_too_large', `${field} would have more than ${limit} ${unit}`, {
    field,
    limit: String(limit),
  });
}
