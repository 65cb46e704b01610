import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  hasOption,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import {
  always_answered as alwaysAnsweredOption,
  read_access as readAccessOption,
  read_permission as readPermissionOption,
} from '../../gen/kith/access/v1/access_pb.ts';
import type { Caller, Permission } from '../kernel/access.ts';
import { pick } from '../kernel/pick.ts';
import type { Access, AccessRules } from './access.ts';
import { AccessDeclarationError } from './access-declaration-error.ts';
import { callerOf } from './caller.ts';
import { fromPermission } from './enums.ts';
import { wrapMethods } from './implementation.ts';
import { optionOf } from '../scan/option.ts';

/** What implements a service, as ConnectRouter.service takes it. */
type Implementation = Readonly<Record<string, unknown>>;
type Fields = Readonly<Record<string, unknown>>;

/**
 * Has a service answer what each caller may read (kith.access.v1.read_access and read_permission),
 * whatever its implementation answers: a caller who may write, and not read, gets the fields that
 * everybody is answered. Only methods of which that can be true are wrapped.
 *
 * Throws AccessDeclarationError for a method whose answers cannot be kept to it, and for
 * a message with a field `id` in an answer that does not declare who may read it.
 */
export function answerWhatMayBeRead(
  methods: readonly DescMethod[],
  implementation: Implementation,
  rules: AccessRules,
): Implementation {
  return wrapMethods(methods, implementation, (method, call) => {
    const { access } = rules.of(method);
    const keep = keeperOfMethod(method, access);
    const withhold = withholderOfMethod(method, access);
    if (keep === undefined && withhold === undefined) return undefined;
    return (request, context) => {
      const caller = access.kind === 'public' ? undefined : callerOf(context);
      const answer = call(request, context);
      const isKept = keep === undefined || caller === undefined || !keep.isNeededFor(caller, request as Fields);
      const isWithheld = withhold !== undefined && !withhold.needed.every((each) => caller?.permissions.has(each));
      if (isKept && !isWithheld) return answer;
      const shown = (given: Fields): Fields => {
        const kept = isKept || caller === undefined ? given : keep.keep(given, caller);
        return isWithheld ? withhold.withhold(kept, caller?.permissions ?? NO_PERMISSIONS) : kept;
      };
      return Promise.resolve(answer).then((given) => shown(given as Fields));
    };
  });
}

const NO_PERMISSIONS: ReadonlySet<Permission> = new Set();

/** How read_access is kept in the answers of a method; undefined where everybody who is let in may read all of it. */
function keeperOfMethod(method: DescMethod, access: Access) {
  // What a public method answers, its caller has proved to be theirs.
  if (access.kind === 'public') return undefined;
  requireReadAccess(method.output);
  const held: readonly Permission[] = access.kind === 'permission' ? [access.permission] : [];
  const needed = permissionsIn(method.output).filter((permission) => !held.includes(permission));
  if (needed.length === 0 || (access.kind === 'signed_in' && !access.withApiKeys)) return undefined;
  requireUnary(method);
  return {
    keep: keeperOf(method.output),
    isNeededFor: (caller: Caller, request: Fields) =>
      !isSelf(access, caller, request) && !needed.every((permission) => caller.permissions.has(permission)),
  };
}

/** How read_permission is kept in the answers of a method; undefined where everybody who is let in has it. */
function withholderOfMethod(method: DescMethod, access: Access) {
  const withhold = withholderOf(method.output);
  const held = access.kind === 'permission' && access.selfField === undefined ? [access.permission] : [];
  const needed = readPermissionsIn(method.output).filter((permission) => !held.includes(permission));
  if (withhold === undefined || needed.length === 0) return undefined;
  requireUnary(method);
  return { withhold, needed };
}

function requireUnary({ methodKind, parent, name }: DescMethod): void {
  if (methodKind === 'unary') return;
  throw new AccessDeclarationError(
    `${parent.typeName}/${name}: who may read is kept in the answers of unary methods only`,
  );
}

/** Whether a user asks about themselves. An API key is not the user. */
function isSelf(access: Access, caller: Caller, request: Fields): boolean {
  if (caller.kind !== 'session') return false;
  if (access.kind === 'signed_in') return true;
  const field = access.kind === 'permission' ? access.selfField : undefined;
  return field !== undefined && request[field.localName] === caller.userId;
}

/** A copy of a message, or of what one is made of, without what the caller may not read. */
type Keep = (message: Fields, caller: Caller) => Message;

function keeperOf(desc: DescMessage): Keep {
  const own = readAccessOf(desc);
  const inner = desc.fields.flatMap((field) => {
    const { message } = field;
    if (message === undefined || permissionsIn(message).length === 0) return [];
    if (field.oneof !== undefined || field.fieldKind === 'map' || messagesIn(message).includes(desc)) {
      const name = `${desc.typeName}.${field.name}`;
      throw new AccessDeclarationError(
        `${name}: read_access is not kept in oneofs, maps and messages that hold themselves`,
      );
    }
    return [{ name: field.localName, keep: keeperOf(message), isList: field.fieldKind === 'list' }];
  });
  return (message, caller) => {
    if (own !== undefined && !mayRead(own, message, caller)) return create(desc, pick(message, own.always));
    const copy: Record<string, unknown> = pick(
      message,
      desc.members.map(({ localName }) => localName),
    );
    for (const { name, keep, isList } of inner) {
      const value = copy[name];
      if (value === undefined) continue;
      copy[name] = isList ? (value as Fields[]).map((item) => keep(item, caller)) : keep(value as Fields, caller);
    }
    return create(desc, copy);
  };
}

/** A message without the fields whose read_permission is not among these; the message itself where that is all of it. */
type Withhold = (message: Fields, permissions: ReadonlySet<Permission>) => Fields;

/** Undefined for a type that holds no such field. */
function withholderOf(desc: DescMessage): Withhold | undefined {
  if (readPermissionsIn(desc).length === 0) return undefined;
  const guarded = desc.fields.flatMap((field) => {
    const permission = readPermissionOf(field);
    return permission === undefined ? [] : [{ name: field.localName, permission }];
  });
  const inner = desc.fields.flatMap((field) => {
    if (field.message === undefined || readPermissionsIn(field.message).length === 0) return [];
    if (field.fieldKind === 'map' || messagesIn(field.message).includes(desc)) {
      const name = `${desc.typeName}.${field.name}`;
      throw new AccessDeclarationError(
        `${name}: read_permission is not kept in maps and messages that hold themselves`,
      );
    }
    return [{ field, withhold: withholderOf(field.message)! }];
  });
  return (message, permissions) => {
    const changes: Record<string, unknown> = {};
    for (const { name, permission } of guarded) {
      if (message[name] !== undefined && message[name] !== '' && !permissions.has(permission)) changes[name] = '';
    }
    for (const { field, withhold } of inner) {
      const { oneof, localName } = field;
      const holder = oneof === undefined ? undefined : (message[oneof.localName] as OneofValue | undefined);
      const value = oneof === undefined ? message[localName] : holder?.case === localName ? holder.value : undefined;
      if (value === undefined) continue;
      const kept = Array.isArray(value)
        ? (value as Fields[]).map((item) => withhold(item, permissions))
        : withhold(value as Fields, permissions);
      const isSame = Array.isArray(kept) ? kept.every((item, i) => item === (value as Fields[])[i]) : kept === value;
      if (isSame) continue;
      if (oneof === undefined) changes[localName] = kept;
      else changes[oneof.localName] = { case: localName, value: kept };
    }
    if (Object.keys(changes).length === 0) return message;
    const members = desc.members.map(({ localName }) => localName);
    return create(desc, { ...pick(message, members), ...changes });
  };
}

interface OneofValue {
  readonly case: string | undefined;
  readonly value?: unknown;
}

/** All permissions that it takes to read the guarded fields of a message with whatever it can hold. */
function readPermissionsIn(desc: DescMessage): Permission[] {
  const declared = messagesIn(desc).flatMap(({ fields }) => fields.map(readPermissionOf));
  return [...new Set(declared.filter((permission) => permission !== undefined))];
}

function readPermissionOf(field: DescField): Permission | undefined {
  if (!hasOption(field, readPermissionOption)) return undefined;
  const permission = fromPermission(optionOf(field, readPermissionOption));
  if (permission !== undefined && field.scalar === ScalarType.STRING && field.fieldKind === 'scalar') return permission;
  throw new AccessDeclarationError(`${field.parent.typeName}.${field.name}: read_permission is for texts`);
}

/** What a message declares about who may read it. */
interface ReadAccess {
  readonly permission: Permission;
  readonly ownerField: DescField | undefined;
  /** The local names of the fields that everybody is answered. */
  readonly always: readonly string[];
}

function mayRead({ permission, ownerField }: ReadAccess, message: Fields, caller: Caller): boolean {
  if (caller.permissions.has(permission)) return true;
  return ownerField !== undefined && caller.kind === 'session' && message[ownerField.localName] === caller.userId;
}

/** All permissions that it takes to read a message with whatever it can hold. */
function permissionsIn(desc: DescMessage): Permission[] {
  const declared = messagesIn(desc).map((message) => readAccessOf(message)?.permission);
  return [...new Set(declared.filter((permission) => permission !== undefined))];
}

function requireReadAccess(desc: DescMessage): void {
  for (const message of messagesIn(desc)) {
    if (readAccessOf(message) !== undefined || message.fields.every(({ name }) => name !== 'id')) continue;
    throw new AccessDeclarationError(
      `${message.typeName} does not declare who may read it: add (kith.access.v1.read_access)`,
    );
  }
}

/** A message type, and all those that it can hold. */
const messagesIn = remembered((desc): readonly DescMessage[] => {
  const found = new Set<DescMessage>();
  const add = (each: DescMessage): void => {
    found.add(each);
    for (const { message } of each.fields) if (message !== undefined && !found.has(message)) add(message);
  };
  add(desc);
  return [...found];
});

/** Of each type, what a function says of it is worked out once: those of users and contacts are in most answers. */
function remembered<T>(of: (desc: DescMessage) => T): (desc: DescMessage) => T {
  const known = new WeakMap<DescMessage, { readonly value: T }>();
  return (desc) => {
    let found = known.get(desc);
    if (found === undefined) known.set(desc, (found = { value: of(desc) }));
    return found.value;
  };
}

const readAccessOf = remembered((desc): ReadAccess | undefined => {
  if (!hasOption(desc, readAccessOption)) return undefined;
  const option = optionOf(desc, readAccessOption);
  const permission = fromPermission(option.permission);
  if (permission === undefined) throw new AccessDeclarationError(`${desc.typeName}: its read_access says nobody may`);
  const ownerField = desc.fields.find(({ name }) => name === option.ownerField);
  if (option.ownerField !== '' && ownerField === undefined) {
    throw new AccessDeclarationError(`${desc.typeName}: owner_field ${option.ownerField} is not a field of it`);
  }
  const always = desc.fields.filter((field) => optionOf(field, alwaysAnsweredOption));
  return { permission, ownerField, always: always.map(({ localName }) => localName) };
});
