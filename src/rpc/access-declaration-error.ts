/** A contract that cannot be served safely. The process must not start. */
export class AccessDeclarationError extends Error {
  override readonly name = 'AccessDeclarationError';
}
