/** What a user is trusted with. */
export type Role = 'viewer' | 'editor' | 'admin';

const VIEWER = ['contacts.read', 'contacts.write'];
const EDITOR = [...VIEWER, 'users.read', 'activity.read', 'activity.record', 'revocations.read'];

/** What each role allows, as `kith.access.v1.Permission` says. */
export const PERMISSIONS_OF_ROLE: Readonly<Record<Role, ReadonlySet<string>>> = {
  viewer: new Set(VIEWER),
  editor: new Set(EDITOR),
  admin: new Set([
    ...EDITOR,
    'users.write',
    'roles.write',
    'credentials.read',
    'credentials.write',
    'signing_keys.read',
    'signing_keys.write',
    'server.read',
    'server.write',
  ]),
};

/** The role, or undefined when it is none of those above. */
export function roleNamed(name: unknown): Role | undefined {
  return typeof name === 'string' && Object.hasOwn(PERMISSIONS_OF_ROLE, name) ? (name as Role) : undefined;
}
