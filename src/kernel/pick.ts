/** These properties of an object, in the order of their names; one that it lacks is undefined. */
export function pick<T extends object, Name extends keyof T>(
  from: T,
  names: readonly Name[],
): { readonly [Key in Extract<Name, PropertyKey>]: T[Key] } {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as never;
}
