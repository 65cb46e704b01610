import { Failure } from './failure.ts';

/** What a user is trusted with. */
export const ROLES = ['viewer', 'editor', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** What a caller can be allowed. */
export type Permission =
  | 'users.read'
  | 'users.write'
  | 'contacts.read'
  | 'contacts.write'
  | 'activity.read'
  | 'activity.record';

const VIEWER = ['contacts.read', 'contacts.write'] as const;
const EDITOR = [...VIEWER, 'users.read', 'activity.read', 'activity.record'] as const;

/** What each role allows: the one table that says so. */
export const PERMISSIONS_OF_ROLE: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  viewer: new Set(VIEWER),
  editor: new Set(EDITOR),
  admin: new Set([...EDITOR, 'users.write'] as const),
};

/** The permission's name in the contract. */
export function permissionName(permission: Permission): string {
  return `PERMISSION_${permission.replace('.', '_').toUpperCase()}`;
}

/** The refusal of a caller who lacks a permission. */
export function permissionMissing(permission: Permission): Failure {
  const name = permissionName(permission);
  return new Failure('permission_missing', `the call takes ${name}`, { permission: name });
}

/** Who makes a call, as they are at the time of the call. */
export interface Caller {
  readonly userId: string;
  readonly sessionId: string;
  readonly permissions: ReadonlySet<Permission>;
}
