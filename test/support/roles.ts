import { Permission, PermissionSchema, Role } from '../../gen/kith/access/v1/role_pb.ts';
import type { Permission as PermissionName, Role as RoleName } from '../../src/kernel/access.ts';

const VIEWER: readonly PermissionName[] = ['contacts.read', 'contacts.write'];
const EDITOR: readonly PermissionName[] = [
  ...VIEWER,
  'users.read',
  'activity.read',
  'activity.record',
  'revocations.read',
];
const ADMIN: readonly PermissionName[] = [
  ...EDITOR,
  'users.write',
  'roles.write',
  'credentials.read',
  'credentials.write',
  'signing_keys.read',
  'signing_keys.write',
  'server.read',
  'server.write',
];

/** What each role allows, written down a second time: tests judge the server's own table by it. */
export const ALLOWED: Readonly<Record<RoleName, readonly PermissionName[]>> = {
  viewer: VIEWER,
  editor: EDITOR,
  admin: ADMIN,
};

const BY_ROLE: ReadonlyMap<Role, readonly Permission[]> = new Map([
  [Role.VIEWER, toContract(VIEWER)],
  [Role.EDITOR, toContract(EDITOR)],
  [Role.ADMIN, toContract(ADMIN)],
]);

/** ALLOWED in the contract's terms, in the order of their numbers. Throws for ROLE_UNSPECIFIED. */
export function permissionsOf(role: Role): readonly Permission[] {
  const permissions = BY_ROLE.get(role);
  if (permissions === undefined) throw new Error(`no such role: ${role}`);
  return permissions;
}

function toContract(names: readonly PermissionName[]): readonly Permission[] {
  const values = names.map((name) => {
    const value = PermissionSchema.values.find(
      (one) => one.name === `PERMISSION_${name.replace('.', '_').toUpperCase()}`,
    );
    if (value === undefined) throw new Error(`${name} is not in the contract`);
    return value.number as Permission;
  });
  return values.toSorted((a, b) => a - b);
}

/** The name of a permission in the contract: `PERMISSION_USERS_READ`. */
export function permissionName(permission: Permission): string {
  return PermissionSchema.value[permission]!.name;
}
