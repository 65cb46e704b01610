import type { DescMethod } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';

/** A method as the implementation of a service has it. */
export type MethodImplementation = (request: unknown, context: HandlerContext) => unknown;

/**
 * The implementation of a service with some of its methods wrapped: `wrap` returns what is called in place of a
 * method, or undefined to leave it as it is. Methods that are not implemented stay so.
 */
export function wrapMethods<T extends object>(
  methods: readonly DescMethod[],
  implementation: T,
  wrap: (method: DescMethod, call: MethodImplementation) => MethodImplementation | undefined,
): T {
  const wrapped: Record<string, unknown> = { ...(implementation as Readonly<Record<string, unknown>>) };
  for (const method of methods) {
    const implemented = wrapped[method.localName];
    if (typeof implemented !== 'function') continue;
    const call = implemented.bind(implementation) as MethodImplementation;
    wrapped[method.localName] = wrap(method, call) ?? implemented;
  }
  return wrapped as T;
}
