import { isRole, type Role as DomainRole, type Permission as DomainPermission, ROLES } from '../kernel/access.ts';
import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';

const ROLE_MESSAGES = {
  viewer: Role.VIEWER,
  editor: Role.EDITOR,
  admin: Role.ADMIN,
} satisfies Record<DomainRole, Role>;

const PERMISSION_MESSAGES = {
  'users.read': Permission.USERS_READ,
  'users.write': Permission.USERS_WRITE,
  'roles.write': Permission.ROLES_WRITE,
  'credentials.read': Permission.CREDENTIALS_READ,
  'credentials.write': Permission.CREDENTIALS_WRITE,
  'contacts.read': Permission.CONTACTS_READ,
  'contacts.write': Permission.CONTACTS_WRITE,
  'activity.read': Permission.ACTIVITY_READ,
  'activity.record': Permission.ACTIVITY_RECORD,
  'revocations.read': Permission.REVOCATIONS_READ,
  'signing_keys.read': Permission.SIGNING_KEYS_READ,
  'signing_keys.write': Permission.SIGNING_KEYS_WRITE,
  'server.read': Permission.SERVER_READ,
  'server.write': Permission.SERVER_WRITE,
} satisfies Record<DomainPermission, Permission>;

/** ROLE_UNSPECIFIED for a role that is not known, such as a later version's. */
export function toRole(role: DomainRole): Role {
  return isRole(role) ? ROLE_MESSAGES[role] : Role.UNSPECIFIED;
}

/** Undefined for ROLE_UNSPECIFIED. */
export function fromRole(role: Role | undefined): DomainRole | undefined {
  return ROLES.find((name) => ROLE_MESSAGES[name] === role);
}

/** In the order of their numbers. */
export function toPermissions(permissions: ReadonlySet<DomainPermission>): Permission[] {
  return [...permissions].map((name) => PERMISSION_MESSAGES[name]).toSorted((a, b) => a - b);
}

/** Undefined for PERMISSION_UNSPECIFIED. */
export function fromPermission(permission: Permission): DomainPermission | undefined {
  return (Object.keys(PERMISSION_MESSAGES) as DomainPermission[]).find(
    (name) => PERMISSION_MESSAGES[name] === permission,
  );
}
