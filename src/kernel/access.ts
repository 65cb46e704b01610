import { type Permission, PERMISSIONS_OF_ROLE, type Role, roleNamed, ROLES } from '../../packages/verify/src/roles.ts';
import { Failure } from './failure.ts';

export { type Permission, PERMISSIONS_OF_ROLE, type Role, ROLES };

const NOTHING: ReadonlySet<Permission> = new Set();

/** What a role allows. An unknown role, such as one of a later version, allows nothing. */
export function permissionsOfRole(role: string): ReadonlySet<Permission> {
  return isRole(role) ? PERMISSIONS_OF_ROLE[role] : NOTHING;
}

export function isRole(value: unknown): value is Role {
  return roleNamed(value) !== undefined;
}

/** The named permissions that this version knows. It ignores others, such as those of a later version. */
export function knownPermissions(names: Iterable<string>): ReadonlySet<Permission> {
  const named = new Set(names);
  return new Set([...PERMISSIONS_OF_ROLE.admin].filter((permission) => named.has(permission)));
}

/** The permission's name in the contract. */
export function permissionName(permission: Permission): string {
  return `PERMISSION_${permission.replace('.', '_').toUpperCase()}`;
}

/** The refusal of a caller who lacks a permission. */
export function permissionMissing(permission: Permission): Failure {
  const name = permissionName(permission);
  return new Failure('permission_missing', `the call takes ${name}`, { permission: name });
}

/**
 * Refuses a write to a user who is above the caller, that is, whose role allows something
 * that the caller is not allowed. Viewers are above nobody, users are not above themselves,
 * and nobody is above a caller who may write roles. An unknown role counts as above, since
 * another version may allow it anything.
 *
 * Call it in the transaction that writes. Throws permission_missing.
 */
export function requireNotAbove(caller: Caller, user: { readonly id: string; readonly role: string }): void {
  const { kind, userId, permissions } = caller;
  if (permissions.has('roles.write') || (kind === 'session' && userId === user.id) || user.role === 'viewer') return;
  if (isRole(user.role) && permissionsOfRole(user.role).isSubsetOf(permissions)) return;
  const name = permissionName('roles.write');
  throw new Failure('permission_missing', `the user is trusted with more than the caller is: the call takes ${name}`, {
    permission: name,
  });
}

/** What a user proves to sign in. */
export type SignInMethod = 'pwd' | 'otp' | 'recovery' | 'mail';

/** Who makes a call, as they are at the time of the call. */
export interface Caller {
  /** The user, or the owner of the API key. */
  readonly userId: string;
  /** What can be ended to refuse the caller: the session, or the API key. */
  readonly sessionId: string;
  /** An API key has permissions of its own and is never let in for being the user. */
  readonly kind: 'session' | 'api_key';
  readonly permissions: ReadonlySet<Permission>;
  /** When the user proved who they are, milliseconds since 1970; undefined for an API key, whose user did not. */
  readonly signInMs: number | undefined;
  /** With the API key itself as the bearer token, not an access token in its place: what bounds such a token. */
  readonly apiKey?: ApiKeyBounds;
}

/** What bounds the access tokens that an API key is exchanged for. */
export interface ApiKeyBounds {
  /** The owner's role at the time of the call. */
  readonly ownerRole: Role;
  /** When the key stops working, milliseconds since 1970; null for never. */
  readonly expireMs: number | null;
}

/** Where a call comes from, as far as it is known. */
export interface Peer {
  /** IP address, in the canonical form of its family; IPv4 that is mapped into IPv6 as IPv4. */
  readonly address: string;
  /** The header user-agent, at most 256 code points of one line; '' without. */
  readonly userAgent: string;
}
