/**
 * A partial update of fields: a new value, undefined to leave the field as it is, or null to clear one that
 * may be undefined. Every field has to be named, so that a forgotten one does not compile.
 */
export type PartialUpdate<Fields extends object> = {
  readonly [Field in keyof Required<Fields>]:
    | Fields[Field]
    | (undefined extends Fields[Field] ? null : never)
    | undefined;
};

/** The fields after an update. */
export function applyUpdate<Fields extends object>(fields: Fields, update: PartialUpdate<Fields>): Fields {
  const names = Object.keys(update) as (keyof Fields)[];
  const changes = names.filter((name) => update[name] !== undefined).map((name) => [name, update[name] ?? undefined]);
  return { ...fields, ...(Object.fromEntries(changes) as Partial<Fields>) };
}
