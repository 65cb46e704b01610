/** What a user is trusted with. */
export const ROLES = ['viewer', 'editor', 'admin'] as const;
export type Role = (typeof ROLES)[number];

const VIEWER = ['contacts.read', 'contacts.write'] as const;
const EDITOR = [...VIEWER, 'users.read', 'activity.read', 'activity.record', 'revocations.read'] as const;
const ADMIN = [
  ...EDITOR,
  'users.write',
  'roles.write',
  'credentials.read',
  'credentials.write',
  'signing_keys.read',
  'signing_keys.write',
  'server.read',
  'server.write',
] as const;

/** What a caller can be allowed, by the names of `kith.access.v1.Permission`. */
export type Permission = (typeof ADMIN)[number];

/** What each role allows: the one table that says so, of the server and of other services. */
export const PERMISSIONS_OF_ROLE: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  viewer: new Set(VIEWER),
  editor: new Set(EDITOR),
  admin: new Set(ADMIN),
};

/** The role, or undefined if it is none of those above, such as one of a later version. */
export function roleNamed(name: unknown): Role | undefined {
  return ROLES.find((role) => role === name);
}
