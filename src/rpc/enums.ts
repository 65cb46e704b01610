import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import {
  isRole,
  type Permission as DomainPermission,
  PERMISSIONS_OF_ROLE,
  type Role as DomainRole,
  ROLES,
} from '../kernel/access.ts';

/** The name in the contract, without its prefix: `SIGNING_KEYS_READ` of `signing_keys.read`. */
type ContractName<Name extends string> = Name extends `${infer Resource}.${infer Action}`
  ? `${Uppercase<Resource>}_${Uppercase<Action>}`
  : Uppercase<Name>;

function contractName<Name extends string>(name: Name): ContractName<Name> {
  return name.replace('.', '_').toUpperCase() as ContractName<Name>;
}

// A name that the contract lacks does not compile.
const ROLE_NUMBERS: ReadonlyMap<DomainRole, Role> = new Map(ROLES.map((name) => [name, Role[contractName(name)]]));
const PERMISSION_NUMBERS: ReadonlyMap<DomainPermission, Permission> = new Map(
  [...PERMISSIONS_OF_ROLE.admin].map((name) => [name, Permission[contractName(name)]]),
);
const PERMISSION_NAMES: ReadonlyMap<Permission, DomainPermission> = new Map(
  [...PERMISSION_NUMBERS].map(([name, number]) => [number, name]),
);

/** ROLE_UNSPECIFIED for a role that is not known, such as a later version's. */
export function toRole(role: DomainRole): Role {
  return isRole(role) ? ROLE_NUMBERS.get(role)! : Role.UNSPECIFIED;
}

/** Undefined for ROLE_UNSPECIFIED. */
export function fromRole(role: Role | undefined): DomainRole | undefined {
  return ROLES.find((name) => ROLE_NUMBERS.get(name) === role);
}

/** In the order of their numbers. */
export function toPermissions(permissions: ReadonlySet<DomainPermission>): Permission[] {
  return [...permissions].map((name) => PERMISSION_NUMBERS.get(name)!).toSorted((a, b) => a - b);
}

/** Undefined for PERMISSION_UNSPECIFIED. */
export function fromPermission(permission: Permission): DomainPermission | undefined {
  return PERMISSION_NAMES.get(permission);
}
