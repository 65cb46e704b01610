/** What a user is trusted with. */
export const ROLES = ['viewer', 'editor', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** What a caller can be allowed. */
export type Permission = 'users.read' | 'users.write' | 'contacts.read' | 'contacts.write';

const OWN_CONTACTS = ['contacts.read', 'contacts.write'] as const;

/** What each role allows: the one table that says so. */
export const PERMISSIONS_OF_ROLE: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  viewer: new Set(OWN_CONTACTS),
  editor: new Set(['users.read', ...OWN_CONTACTS] as const),
  admin: new Set(['users.read', 'users.write', ...OWN_CONTACTS] as const),
};

/** Who makes a call, as they are at the time of the call. */
export interface Caller {
  readonly userId: string;
  readonly sessionId: string;
  readonly permissions: ReadonlySet<Permission>;
}
