import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  hasOption,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { ContextValues, HandlerContext } from '@connectrpc/connect';
import {
  access as accessOption,
  required_permission as requiredPermissionOption,
} from '../../gen/kith/access/v1/access_pb.ts';
import { type Caller, type Permission, permissionMissing, permissionName } from '../kernel/access.ts';
import { ageOf, type Clock } from '../kernel/clock.ts';
import { Failure } from '../kernel/failure.ts';
import { AccessDeclarationError } from './access-declaration-error.ts';
import { type Check, findHeader } from '../../packages/connect-fast/src/index.ts';
import { findCaller, setCaller } from './caller.ts';
import { fromPermission } from './enums.ts';
import { optionOf } from '../scan/option.ts';

/** Who may call a method, as the contract declares it. */
export type Access =
  | { readonly kind: 'public' }
  | { readonly kind: 'signed_in'; readonly withApiKeys: boolean; readonly takesFreshSignIn: boolean }
  | {
      readonly kind: 'permission';
      readonly permission: Permission;
      readonly selfField: DescField | undefined;
      readonly takesFreshSignIn: boolean;
    };

/** What makes a sign-in a fresh one. */
export interface Freshness extends Pick<Clock, 'now'> {
  /** How old it may be, milliseconds. */
  readonly maxAgeMs: number;
}

/** Fields of a request that take a permission of their own. */
interface GuardedField {
  readonly field: DescField;
  readonly permission: Permission;
}

interface Rule {
  readonly access: Access;
  readonly guarded: readonly GuardedField[];
}

/** The access rules of all methods that are served. */
export interface AccessRules {
  of(method: DescMethod): Rule;
}

/**
 * Reads who may call what from the descriptors. Methods of `publicServices`,
 * third-party contracts that cannot carry the option, are open to anyone.
 *
 * Throws AccessDeclarationError for a method without a usable declaration.
 */
export function readAccessRules(services: readonly DescService[], publicServices: readonly DescService[]): AccessRules {
  const rules = new Map<DescMethod, Rule>();
  for (const service of publicServices) {
    for (const method of service.methods) rules.set(method, { access: { kind: 'public' }, guarded: [] });
  }
  for (const service of services) {
    for (const method of service.methods) rules.set(method, readRule(method));
  }
  return {
    of(method) {
      const rule = rules.get(method);
      if (rule === undefined) throw new AccessDeclarationError(`${nameOf(method)} is not served`);
      return rule;
    },
  };
}

function readRule(method: DescMethod): Rule {
  const access = readAccess(method);
  const guarded = method.input.fields
    .filter((field) => hasOption(field, requiredPermissionOption))
    .map((field) => guard(field));
  if (access.kind === 'public' && guarded.length > 0) {
    throw new AccessDeclarationError(`${nameOf(method)} is public, so no field of it can require a permission`);
  }
  refuseGuardedInside(method.input);
  return { access, guarded };
}

/** A call is checked for the fields of the request itself: a requirement further down would be ignored. */
function refuseGuardedInside(input: DescMessage): void {
  const messages = new Set<DescMessage>();
  const addMessagesOf = ({ fields }: DescMessage): void => {
    for (const { message } of fields) {
      if (message === undefined || messages.has(message)) continue;
      messages.add(message);
      addMessagesOf(message);
    }
  };
  addMessagesOf(input);
  const guarded = [...messages]
    .flatMap(({ fields }) => fields)
    .find((field) => hasOption(field, requiredPermissionOption));
  if (guarded === undefined) return;
  throw new AccessDeclarationError(
    `${guarded.parent.typeName}.${guarded.name} requires a permission, which only fields of the request itself can`,
  );
}

function readAccess(method: DescMethod): Access {
  if (!hasOption(method, accessOption)) {
    throw new AccessDeclarationError(`${nameOf(method)} does not declare who may call it: add (kith.access.v1.access)`);
  }
  const { rule, selfField, apiKeys: withApiKeys, freshSignIn: takesFreshSignIn } = optionOf(method, accessOption);
  const refuse = (why: string): never => {
    throw new AccessDeclarationError(`${nameOf(method)}: ${why}`);
  };
  if (selfField !== '' && rule.case !== 'permission') refuse('self_field goes with a permission only');
  if (withApiKeys && rule.case !== 'signedIn') refuse('api_keys goes with signed_in only');
  if (takesFreshSignIn && rule.case === 'public') refuse('fresh_sign_in takes a caller, and public has none');
  if (takesFreshSignIn && withApiKeys) refuse('fresh_sign_in keeps out the API keys that api_keys lets in');
  switch (rule.case) {
    case 'public':
      if (!rule.value) break;
      return { kind: 'public' };
    case 'signedIn':
      if (!rule.value) break;
      return { kind: 'signed_in', withApiKeys, takesFreshSignIn };
    case 'permission': {
      const permission = fromPermission(rule.value);
      if (permission === undefined) break;
      return { kind: 'permission', permission, selfField: findSelfField(method, selfField), takesFreshSignIn };
    }
    default:
  }
  throw new AccessDeclarationError(`${nameOf(method)}: its (kith.access.v1.access) says nobody may call it`);
}

function findSelfField(method: DescMethod, name: string): DescField | undefined {
  if (name === '') return undefined;
  const field = method.input.fields.find((candidate) => candidate.name === name);
  if (field?.scalar !== ScalarType.STRING || field.fieldKind !== 'scalar' || isClientStream(method)) {
    throw new AccessDeclarationError(`${nameOf(method)}: self_field ${name} is not a string of its one request`);
  }
  return field;
}

function isClientStream({ methodKind }: DescMethod): boolean {
  return methodKind === 'client_streaming' || methodKind === 'bidi_streaming';
}

function guard(field: DescField): GuardedField {
  const permission = fromPermission(optionOf(field, requiredPermissionOption));
  if (permission === undefined) {
    throw new AccessDeclarationError(`${field.parent.typeName}.${field.name} requires an unknown permission`);
  }
  // Zero and absent look alike in any other field, so that setting it to zero would go unseen.
  if (field.presence !== FeatureSet_FieldPresence.EXPLICIT) {
    throw new AccessDeclarationError(
      `${field.parent.typeName}.${field.name} requires a permission, so it must be optional`,
    );
  }
  return { field, permission };
}

/**
 * The part of the check that needs no message, for Connect's request gate: it
 * runs before the body is read, so a stranger's upload is not. A promise only where
 * `authenticate` gives one.
 *
 * Throws access_token_missing, what `authenticate` throws, session_required,
 * permission_missing, fresh_sign_in_required.
 */
export function createAccessGate(
  rules: AccessRules,
  authenticate: (accessToken: string) => Caller | Promise<Caller>,
  freshness: Freshness,
): (context: HandlerContext) => void | Promise<void> {
  return (context) => {
    const { method, values } = context;
    const { access } = rules.of(method);
    if (access.kind === 'public') return;
    const caller = authenticate(bearerToken(findHeader(context, 'authorization') ?? null));
    if (!(caller instanceof Promise)) return pass(access, caller, values, freshness);
    return caller.then((known) => pass(access, known, values, freshness));
  };
}

function pass(access: Access, caller: Caller, values: ContextValues, freshness: Freshness): void {
  setCaller(values, caller);
  if (access.kind === 'permission' && access.selfField !== undefined) return; // the message decides
  requireAccess(access, caller, false, freshness);
}

/**
 * The part of the check that needs the message, after the gate: for unary calls and streams alike, on the
 * method descriptor and never on the URL. Throws permission_missing, fresh_sign_in_required and
 * field_needs_permission.
 */
export function createAccessCheck(rules: AccessRules, freshness: Freshness): Check {
  return ({ method, values }, message) => {
    const { access, guarded } = rules.of(method);
    if (access.kind === 'public') return;
    const caller = findCaller(values);
    if (caller === undefined) throw new Error('the access gate did not run');
    if (access.kind === 'permission' && access.selfField !== undefined) {
      // A string of the message itself, as findSelfField saw to. Reflection takes longer than all else here.
      const named = (message as unknown as Readonly<Record<string, unknown>>)[access.selfField.localName];
      requireAccess(access, caller, named === caller.userId, freshness);
    }
    if (guarded.length > 0) requireFieldPermissions(guarded, caller, method.input, message);
  };
}

function requireFieldPermissions(
  guarded: readonly GuardedField[],
  caller: Caller,
  desc: DescMessage,
  message: Message,
): void {
  const reflected = reflect(desc, message);
  for (const { field, permission } of guarded) {
    if (reflected.isSet(field) && !caller.permissions.has(permission)) {
      const name = permissionName(permission);
      throw new Failure('field_needs_permission', `setting ${field.name} takes ${name}`, {
        field: field.name,
        permission: name,
      });
    }
  }
}

function requireAccess(access: Access, caller: Caller, isSelf: boolean, { maxAgeMs, now }: Freshness): void {
  if (access.kind === 'public') return;
  if (access.kind === 'permission') {
    // What an API key may is what it was given: that it acts for the user is not enough.
    const isLetIn = isSelf && caller.kind === 'session';
    if (!isLetIn && !caller.permissions.has(access.permission)) throw permissionMissing(access.permission);
  } else if (!access.withApiKeys && caller.kind !== 'session') {
    throw new Failure('session_required', 'an API key cannot make this call: sign in');
  }
  if (!access.takesFreshSignIn) return;
  if (caller.kind !== 'session' || caller.signInMs === undefined || ageOf(caller.signInMs, now()) > maxAgeMs) {
    const maxAgeSeconds = String(Math.floor(maxAgeMs / 1000));
    throw new Failure('fresh_sign_in_required', `the call takes a sign-in within ${maxAgeSeconds} s: sign in again`, {
      max_age_seconds: maxAgeSeconds,
    });
  }
}

/** RFC 6750, 2.1. The scheme is compared regardless of case (RFC 9110, 11.1). */
function bearerToken(written: string | null): string {
  const match = /^bearer +([\w.~+/-]+=*)$/i.exec(written ?? '');
  if (match?.[1] !== undefined) return match[1];
  throw written !== null
    ? new Failure('access_token_invalid', 'authorization must be: Bearer ACCESS_TOKEN')
    : new Failure('access_token_missing', 'sign in, and send authorization: Bearer ACCESS_TOKEN');
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
