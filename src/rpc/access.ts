import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { HandlerContext, Interceptor } from '@connectrpc/connect';
import { access as accessOption, requires as requiresOption } from '../../gen/kith/access/v1/access_pb.ts';
import { type Caller, type Permission, permissionMissing, permissionName } from '../access.ts';
import { Failure } from '../failure.ts';
import { CallContext } from '../lane/context.ts';
import { findCaller, setCaller } from './caller.ts';
import { fromPermission } from './enums.ts';

/** Who may call a method, as the contract declares it. */
export type Access =
  | { readonly kind: 'public' }
  | { readonly kind: 'signed_in' }
  | { readonly kind: 'permission'; readonly permission: Permission; readonly selfField: DescField | undefined };

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

/** A contract that cannot be served safely. The process must not start. */
export class AccessDeclarationError extends Error {
  override readonly name = 'AccessDeclarationError';
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
  const guarded = method.input.fields.filter((field) => hasOption(field, requiresOption)).map((field) => guard(field));
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
  const guarded = [...messages].flatMap(({ fields }) => fields).find((field) => hasOption(field, requiresOption));
  if (guarded === undefined) return;
  throw new AccessDeclarationError(
    `${guarded.parent.typeName}.${guarded.name} requires a permission, which only fields of the request itself can`,
  );
}

function readAccess(method: DescMethod): Access {
  if (!hasOption(method, accessOption)) {
    throw new AccessDeclarationError(`${nameOf(method)} does not declare who may call it: add (kith.access.v1.access)`);
  }
  const { rule, selfField } = getOption(method, accessOption);
  if (selfField !== '' && rule.case !== 'permission') {
    throw new AccessDeclarationError(`${nameOf(method)}: self_field goes with a permission only`);
  }
  switch (rule.case) {
    case 'public':
    case 'signedIn':
      if (!rule.value) break;
      return { kind: rule.case === 'public' ? 'public' : 'signed_in' };
    case 'permission': {
      const permission = fromPermission(rule.value);
      if (permission === undefined) break;
      return { kind: 'permission', permission, selfField: findSelfField(method, selfField) };
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
  const permission = fromPermission(getOption(field, requiresOption));
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
 * runs before the body is read, so a stranger's upload is not.
 *
 * Throws access_token_missing, what `authenticate` throws, permission_missing.
 */
export function createAccessGate(
  rules: AccessRules,
  authenticate: (accessToken: string) => Promise<Caller>,
): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const { method, values } = context;
    const { access } = rules.of(method);
    if (access.kind === 'public') return;
    const written = context instanceof CallContext ? context.headerOf('authorization') : undefined;
    const caller = await authenticate(bearerToken(written ?? context.requestHeader.get('authorization')));
    setCaller(values, caller);
    if (access.kind === 'permission' && access.selfField === undefined) requirePermission(caller, access.permission);
  };
}

/**
 * The whole check, with the message: for unary calls and streams alike, on the
 * method descriptor and never on the URL. Throws permission_missing and
 * field_needs_permission.
 */
export function createAccessInterceptor(rules: AccessRules): Interceptor {
  return (next) => (request) => {
    const rule = rules.of(request.method);
    if (rule.access.kind === 'public') return next(request);
    const caller = findCaller(request.contextValues);
    if (caller === undefined) throw new Error('the access gate did not run');
    if (!request.stream) {
      authorize(rule, caller, request.method.input, request.message);
      return next(request);
    }
    return next({ ...request, message: authorizeEach(rule, caller, request.method.input, request.message) });
  };
}

async function* authorizeEach<T extends Message>(
  rule: Rule,
  caller: Caller,
  desc: DescMessage,
  messages: AsyncIterable<T>,
): AsyncIterable<T> {
  for await (const message of messages) {
    authorize(rule, caller, desc, message);
    yield message;
  }
}

function authorize({ access, guarded }: Rule, caller: Caller, desc: DescMessage, message: Message | undefined): void {
  if (access.kind === 'permission' && !caller.permissions.has(access.permission)) {
    const { selfField } = access;
    const named = selfField !== undefined && message !== undefined ? reflect(desc, message).get(selfField) : undefined;
    const isSelf = typeof named === 'string' && named.toLowerCase() === caller.userId;
    if (!isSelf) requirePermission(caller, access.permission);
  }
  if (message === undefined || guarded.length === 0) return;
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

function requirePermission(caller: Caller, permission: Permission): void {
  if (!caller.permissions.has(permission)) throw permissionMissing(permission);
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
