/** google.protobuf.Struct and Value as messages of Protobuf-ES. */
interface Struct {
  readonly $typeName: 'google.protobuf.Struct';
  readonly fields: Readonly<Record<string, Value>>;
}

interface Value {
  readonly $typeName: 'google.protobuf.Value';
  readonly kind: { readonly case: string | undefined; readonly value?: unknown };
}

/** The message of a plain object, which a field of type google.protobuf.Struct has in its place. */
export function structOf(plain: unknown): Struct {
  const isObject = typeof plain === 'object' && plain !== null && !Array.isArray(plain);
  return {
    $typeName: 'google.protobuf.Struct',
    fields: isObject ? mapped(plain as Record<string, unknown>, valueOf) : {},
  };
}

/** The plain object of a message. */
export function plainOf({ fields }: Struct): Record<string, unknown> {
  return mapped(fields, plainValueOf);
}

function valueOf(plain: unknown): Value {
  return { $typeName: 'google.protobuf.Value', kind: kindOf(plain) };
}

function kindOf(plain: unknown): Value['kind'] {
  switch (typeof plain) {
    case 'number':
      return { case: 'numberValue', value: plain };
    case 'string':
      return { case: 'stringValue', value: plain };
    case 'boolean':
      return { case: 'boolValue', value: plain };
    case 'object': {
      if (plain === null) return { case: 'nullValue', value: 0 };
      if (!Array.isArray(plain)) return { case: 'structValue', value: structOf(plain) };
      return {
        case: 'listValue',
        value: { $typeName: 'google.protobuf.ListValue', values: Array.from(plain, valueOf) },
      };
    }
    default:
      return { case: undefined };
  }
}

function plainValueOf({ kind }: Value): unknown {
  switch (kind.case) {
    case 'structValue':
      return plainOf(kind.value as Struct);
    case 'listValue':
      return (kind.value as { readonly values: readonly Value[] }).values.map(plainValueOf);
    case 'nullValue':
    case undefined:
      return null;
    default:
      return kind.value;
  }
}

function mapped<From, To>(object: Readonly<Record<string, From>>, map: (value: From) => To): Record<string, To> {
  const made: Record<string, To> = {};
  for (const key of Object.keys(object)) {
    const value = map(object[key]!);
    if (key === '__proto__')
      Object.defineProperty(made, key, { value, writable: true, enumerable: true, configurable: true });
    else made[key] = value;
  }
  return made;
}
