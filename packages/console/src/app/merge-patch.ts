/** JSON with the text of each number (https://tc39.es/proposal-json-parse-with-source/), which no type library has yet. */
const json = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  /** Absent in older browsers, in which long numbers are rounded. */
  readonly rawJSON?: (text: string) => object;
  readonly isRawJSON?: (value: unknown) => boolean;
};

type JsonObject = Readonly<Record<string, unknown>>;

/** An object of JSON, in which numbers stay as they are written. Throws SyntaxError, also for what is no object. */
export function parseObject(text: string): JsonObject {
  const value = json.parse(text.trim() === '' ? '{}' : text, (_key, read, { source }) =>
    typeof read === 'number' && source !== undefined && String(read) !== source && json.rawJSON !== undefined
      ? json.rawJSON(source)
      : read,
  );
  if (!isObject(value)) throw new SyntaxError('not an object');
  return value;
}

/** Written for people. */
export function formatJson(text: string): string {
  return text === '' ? '' : JSON.stringify(parseObject(text), undefined, 2);
}

/** The JSON merge patch (RFC 7396) that makes the one object of the other; undefined where they are the same. */
export function mergePatch(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const patch: Record<string, unknown> = {};
  for (const name of Object.keys(before)) {
    if (!Object.hasOwn(after, name)) set(patch, name, null);
  }
  for (const [name, value] of Object.entries(after)) {
    const old = Object.hasOwn(before, name) ? before[name] : undefined;
    if (isObject(old) && isObject(value)) {
      const inner = mergePatch(old, value);
      if (inner !== undefined) set(patch, name, inner);
    } else if (JSON.stringify(old) !== JSON.stringify(value)) {
      set(patch, name, value);
    }
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** Also a member that is called `__proto__`. */
function set(object: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && json.isRawJSON?.(value) !== true;
}
