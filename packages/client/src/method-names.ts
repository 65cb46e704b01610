/**
 * The name of a method in its namespace: that of the rpc without the noun of the service, singular or plural.
 *
 * `getUser` -> `get`, `listUsers` -> `list`, `getUserDetails` -> `getDetails`, `setUserPassword` -> `setPassword`; a name
 * without the noun stays as it is (`getUsage`, `changePassword`). The noun counts where a word ends behind it.
 */
export type MethodName<Rpc extends string, Noun extends string> = Rpc extends `${infer Verb}${Noun}${infer Rest}`
  ? Rest extends '' | 's'
    ? Verb
    : Rest extends `s${infer Tail}`
      ? Tail extends Capitalize<Tail>
        ? `${Verb}${Tail}`
        : Rpc
      : Rest extends Capitalize<Rest>
        ? `${Verb}${Rest}`
        : Rpc
  : Rpc;

/** As the type {@link MethodName} says. */
export function methodName(rpc: string, noun: string): string {
  const start = rpc.indexOf(noun);
  if (start < 1) return rpc;
  const rest = rpc.slice(start + noun.length);
  const tail = /^s?(?![a-z])/.exec(rest);
  return tail === null ? rpc : rpc.slice(0, start) + rest.slice(tail[0].length);
}
