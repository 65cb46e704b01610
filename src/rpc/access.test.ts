import {
  create,
  createFileRegistry,
  type DescService,
  fromBinary,
  type MessageInitShape,
  setExtension,
  toBinary,
} from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  type FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
} from '@bufbuild/protobuf/wkt';
import { createContextValues, type HandlerContext } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { access, AccessSchema, required_permission } from '../../gen/kith/access/v1/access_pb.ts';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import { createAccessCheck, createAccessGate, readAccessRules } from './access.ts';
import { AccessDeclarationError } from './access-declaration-error.ts';

interface FieldDeclaration {
  readonly name: string;
  readonly type?: Type;
  readonly typeName?: string;
  readonly optional?: boolean;
  readonly repeated?: boolean;
  readonly oneof?: boolean;
  readonly requires?: Permission;
}

interface Declaration {
  /** Absent: no option at all. */
  readonly access?: MessageInitShape<typeof AccessSchema>;
  readonly fields?: readonly FieldDeclaration[];
  /** Of the message that fields of the type `.test.Inner` hold. */
  readonly inner?: readonly FieldDeclaration[];
  readonly clientStreaming?: boolean;
  readonly serverStreaming?: boolean;
}

const { USERS_READ, USERS_WRITE, UNSPECIFIED } = Permission;
const UNKNOWN = 99 as Permission;
const string = { type: Type.STRING };
const signedIn = { rule: { case: 'signedIn', value: true } } as const;
const usersWrite = { rule: { case: 'permission', value: USERS_WRITE } } as const;
const guarded = { name: 'role', optional: true, requires: USERS_WRITE };
const inner = { name: 'inner', type: Type.MESSAGE, typeName: '.test.Inner' };

const REFUSED: readonly [what: string, why: string, declaration: Declaration][] = [
  ['no option', 'does not declare who may call it', {}],
  ['an option that is empty', 'nobody may call it', { access: {} }],
  ['public: false', 'nobody may call it', { access: { rule: { case: 'public', value: false } } }],
  ['signed_in: false', 'nobody may call it', { access: { rule: { case: 'signedIn', value: false } } }],
  ['PERMISSION_UNSPECIFIED', 'nobody may call it', { access: { rule: { case: 'permission', value: UNSPECIFIED } } }],
  [
    'a permission that this server does not know',
    'nobody may call it',
    { access: { rule: { case: 'permission', value: UNKNOWN } } },
  ],
  [
    'public with self_field',
    'self_field goes with a permission only',
    { access: { rule: { case: 'public', value: true }, selfField: 'id' }, fields: [{ name: 'id' }] },
  ],
  [
    'signed_in with self_field',
    'self_field goes with a permission only',
    { access: { rule: { case: 'signedIn', value: true }, selfField: 'id' }, fields: [{ name: 'id' }] },
  ],
  [
    'self_field alone',
    'self_field goes with a permission only',
    { access: { selfField: 'id' }, fields: [{ name: 'id' }] },
  ],
  ['self_field without such a field', 'is not a string', { access: { ...usersWrite, selfField: 'id' } }],
  [
    'self_field by its JSON name',
    'is not a string',
    { access: { ...usersWrite, selfField: 'userId' }, fields: [{ name: 'user_id' }] },
  ],
  ...(
    [
      ['a number', { type: Type.INT64 }],
      ['bytes', { type: Type.BYTES }],
      ['a message', { type: Type.MESSAGE, typeName: '.test.Inner' }],
      ['an enum', { type: Type.ENUM, typeName: '.test.Kind' }],
      ['a list of strings', { ...string, repeated: true }],
    ] as const
  ).map(([what, field]): [string, string, Declaration] => [
    `self_field that is ${what}`,
    'is not a string',
    { access: { ...usersWrite, selfField: 'id' }, fields: [{ name: 'id', ...field }] },
  ]),
  [
    'self_field with a client stream',
    'is not a string of its one request',
    { access: { ...usersWrite, selfField: 'id' }, fields: [{ name: 'id' }], clientStreaming: true },
  ],
  [
    'public with api_keys',
    'api_keys goes with signed_in only',
    { access: { rule: { case: 'public', value: true }, apiKeys: true } },
  ],
  ['a permission with api_keys', 'api_keys goes with signed_in only', { access: { ...usersWrite, apiKeys: true } }],
  ['api_keys alone', 'api_keys goes with signed_in only', { access: { apiKeys: true } }],
  [
    'public with fresh_sign_in',
    'fresh_sign_in takes a caller',
    { access: { rule: { case: 'public', value: true }, freshSignIn: true } },
  ],
  ['fresh_sign_in alone', 'nobody may call it', { access: { freshSignIn: true } }],
  [
    'fresh_sign_in with api_keys',
    'fresh_sign_in keeps out the API keys that api_keys lets in',
    { access: { ...signedIn, freshSignIn: true, apiKeys: true } },
  ],
  [
    'public with a guarded field',
    'no field of it can require a permission',
    { access: { rule: { case: 'public', value: true } }, fields: [guarded] },
  ],
  [
    'a guarded field that is not optional',
    'test.Request.role requires a permission, so it must be optional',
    { access: usersWrite, fields: [{ name: 'role', requires: USERS_WRITE }] },
  ],
  [
    'a guarded list',
    'so it must be optional',
    { access: usersWrite, fields: [{ name: 'role', repeated: true, requires: USERS_WRITE }] },
  ],
  [
    'a guarded field with PERMISSION_UNSPECIFIED',
    'requires an unknown permission',
    { access: usersWrite, fields: [{ ...guarded, requires: UNSPECIFIED }] },
  ],
  [
    'a guarded field with a permission that this server does not know',
    'requires an unknown permission',
    { access: usersWrite, fields: [{ ...guarded, requires: UNKNOWN }] },
  ],
  [
    'a guarded field inside another message',
    'test.Inner.role requires a permission, which only fields of the request itself can',
    { access: usersWrite, fields: [inner], inner: [guarded] },
  ],
  [
    'a guarded field inside the messages of a list',
    'which only fields of the request itself can',
    { access: usersWrite, fields: [{ ...inner, repeated: true }], inner: [guarded] },
  ],
  [
    'a guarded field inside a message that holds itself',
    'which only fields of the request itself can',
    { access: usersWrite, fields: [inner], inner: [{ ...inner, name: 'again' }, guarded] },
  ],
  [
    'a guarded field of a request that can hold a request',
    'which only fields of the request itself can',
    { access: usersWrite, fields: [guarded, { ...inner, typeName: '.test.Request' }] },
  ],
];

describe('a server does not start with a method that declares', () => {
  test.each(REFUSED)('%s', (_, why, declaration) => {
    const start = () => readAccessRules([serviceOf(declaration)], []);
    expect(start).toThrow(AccessDeclarationError);
    expect(start).toThrow(why);
    expect(start).toThrow(/test\.(Service\/Call|Request|Inner)/);
  });
});

const ACCEPTED: readonly [what: string, declaration: Declaration, access: object][] = [
  ['public', { access: { rule: { case: 'public', value: true } } }, { kind: 'public' }],
  ['signed_in', { access: signedIn }, { kind: 'signed_in', withApiKeys: false, takesFreshSignIn: false }],
  [
    'signed_in with api_keys',
    { access: { ...signedIn, apiKeys: true } },
    { kind: 'signed_in', withApiKeys: true, takesFreshSignIn: false },
  ],
  [
    'signed_in with fresh_sign_in',
    { access: { ...signedIn, freshSignIn: true } },
    { kind: 'signed_in', withApiKeys: false, takesFreshSignIn: true },
  ],
  [
    'a permission',
    { access: usersWrite },
    { kind: 'permission', permission: 'users.write', selfField: undefined, takesFreshSignIn: false },
  ],
  [
    'a permission or self with fresh_sign_in',
    { access: { ...usersWrite, selfField: 'id', freshSignIn: true }, fields: [{ name: 'id' }] },
    {
      kind: 'permission',
      permission: 'users.write',
      selfField: expect.objectContaining({ name: 'id' }),
      takesFreshSignIn: true,
    },
  ],
  [
    'a permission or self',
    {
      access: { rule: { case: 'permission', value: USERS_READ }, selfField: 'id' },
      fields: [{ name: 'other' }, { name: 'id' }],
    },
    {
      kind: 'permission',
      permission: 'users.read',
      selfField: expect.objectContaining({ name: 'id' }),
      takesFreshSignIn: false,
    },
  ],
  [
    'a permission on a stream',
    { access: usersWrite, clientStreaming: true, serverStreaming: true },
    { kind: 'permission', permission: 'users.write', selfField: undefined, takesFreshSignIn: false },
  ],
];

describe('a server starts with a method that declares', () => {
  test.each(ACCEPTED)('%s', (_, declaration, expected) => {
    const service = serviceOf(declaration);
    expect(readAccessRules([service], []).of(service.methods[0]!)).toEqual({ access: expected, guarded: [] });
  });

  test.each([
    ['optional', { optional: true }],
    ['one of several', { oneof: true }],
    ['a message', { type: Type.MESSAGE, typeName: '.test.Inner' }],
  ])('a guarded field that is %s', (_, field) => {
    const service = serviceOf({
      access: { rule: { case: 'signedIn', value: true } },
      fields: [{ name: 'free' }, { name: 'role', requires: USERS_WRITE, ...field }],
    });
    expect(readAccessRules([service], []).of(service.methods[0]!).guarded).toEqual([
      { field: expect.objectContaining({ name: 'role' }), permission: 'users.write' },
    ]);
  });
});

test('one bad method among good ones keeps the server from starting', () => {
  const services = [AuthService, UserService, ContactService];
  expect(() => readAccessRules(services, [])).not.toThrow();
  expect(() => readAccessRules([...services, serviceOf({})], [])).toThrow(AccessDeclarationError);
});

test('methods of a third-party contract are public without the option, and only when they are named so', () => {
  const service = serviceOf({});
  expect(readAccessRules([], [service]).of(service.methods[0]!)).toEqual({ access: { kind: 'public' }, guarded: [] });
});

test('a method that is not served has no rule rather than an open one', () => {
  const rules = readAccessRules([AuthService], []);
  expect(() => rules.of(UserService.method.getUser)).toThrow(AccessDeclarationError);
});

describe('a caller', () => {
  const NOW_MS = 1_800_000_000_000;
  const MAX_AGE_MS = 600_000;
  const OWN_ID = '01900000-0000-7000-8000-00000000000a';
  const viewer: Caller = {
    userId: OWN_ID,
    sessionId: '01900000-0000-7000-8000-00000000000b',
    kind: 'session',
    permissions: new Set(['contacts.read']),
    signInMs: NOW_MS - MAX_AGE_MS,
  };
  const admin: Caller = { ...viewer, permissions: new Set(['users.write']) };
  const key: Caller = { ...viewer, kind: 'api_key', signInMs: undefined };
  const adminKey: Caller = { ...key, permissions: new Set(['users.write']) };
  const longAgo = (caller: Caller): Caller => ({ ...caller, signInMs: NOW_MS - MAX_AGE_MS - 1 });

  const byKey = { access: { ...signedIn, apiKeys: true } };
  const fresh = { access: { ...signedIn, freshSignIn: true } };
  const own = { access: { ...usersWrite, selfField: 'id' }, fields: [{ name: 'id' }] };
  const ownFresh = { ...own, access: { ...own.access, freshSignIn: true } };
  const writeFresh = { access: { ...usersWrite, freshSignIn: true } };

  test.each<[who: string, caller: Caller, what: string, declaration: Declaration, id: string, answer: string]>([
    ['with a session', viewer, 'signed_in', { access: signedIn }, '', 'ok'],
    ['with an API key', key, 'signed_in', { access: signedIn }, '', 'session_required'],
    ['with an API key of every permission', adminKey, 'signed_in', { access: signedIn }, '', 'session_required'],
    ['with an API key', key, 'signed_in with api_keys', byKey, '', 'ok'],
    ['with a session', viewer, 'signed_in with api_keys', byKey, '', 'ok'],
    ['who signed in just in time', viewer, 'fresh_sign_in', fresh, '', 'ok'],
    ['who signed in too long ago', longAgo(viewer), 'fresh_sign_in', fresh, '', 'fresh_sign_in_required'],
    ['with an API key', key, 'fresh_sign_in', fresh, '', 'session_required'],
    ['who signed in too long ago', longAgo(viewer), 'no fresh_sign_in', { access: signedIn }, '', 'ok'],
    ['with the permission', admin, 'a permission', { access: usersWrite }, '', 'ok'],
    ['without the permission', viewer, 'a permission', { access: usersWrite }, '', 'permission_missing'],
    ['with an API key that has the permission', adminKey, 'a permission', { access: usersWrite }, '', 'ok'],
    ['with an API key without', key, 'a permission', { access: usersWrite }, '', 'permission_missing'],
    ['who asks about themselves', viewer, 'self_field', own, OWN_ID, 'ok'],
    ['who asks about another', viewer, 'self_field', own, OWN_ID.replace('a', 'c'), 'permission_missing'],
    ['who asks about nobody', viewer, 'self_field', own, '', 'permission_missing'],
    ['with an API key that asks about its owner', key, 'self_field', own, OWN_ID, 'permission_missing'],
    ['with an API key that has the permission', adminKey, 'self_field', own, OWN_ID, 'ok'],
    ['with the permission and a fresh sign-in', admin, 'both', writeFresh, '', 'ok'],
    ['with the permission and no fresh sign-in', longAgo(admin), 'both', writeFresh, '', 'fresh_sign_in_required'],
    ['without the permission and no fresh sign-in', longAgo(viewer), 'both', writeFresh, '', 'permission_missing'],
    ['with an API key that has the permission', adminKey, 'both', writeFresh, '', 'fresh_sign_in_required'],
    ['who asks about themselves, fresh', viewer, 'self_field and fresh_sign_in', ownFresh, OWN_ID, 'ok'],
    [
      'who asks about themselves, too late',
      longAgo(viewer),
      'self_field and fresh_sign_in',
      ownFresh,
      OWN_ID,
      'fresh_sign_in_required',
    ],
    [
      'who asks about another, too late',
      longAgo(viewer),
      'self_field and fresh_sign_in',
      ownFresh,
      '',
      'permission_missing',
    ],
  ])('$0 where the method declares $2: $5', async (_who, caller, _what, declaration, id, answer) => {
    expect(await answerTo(caller, serviceOf(declaration), id)).toBe(answer);
  });

  test('is told how old a sign-in may be', async () => {
    const service = serviceOf(fresh);
    const call = callWith(longAgo(viewer), service, '');
    await expect(call).rejects.toMatchObject({
      reason: 'fresh_sign_in_required',
      metadata: { max_age_seconds: '600' },
    });
  });

  test.each([
    ['no authorization', undefined, 'access_token_missing'],
    ['an empty authorization', '', 'access_token_invalid'],
    ['another scheme', 'Basic dTpw', 'access_token_invalid'],
    ['a scheme alone', 'Bearer', 'access_token_invalid'],
    ['two tokens', 'Bearer a b', 'access_token_invalid'],
    ['two headers', 'Bearer a, Bearer b', 'access_token_invalid'],
    ['letters that no token has', 'Bearer a%20b', 'access_token_invalid'],
  ])('with %s is refused before the token is looked at', async (_, authorization, reason) => {
    const service = serviceOf(byKey);
    const authenticate = () => Promise.reject(new Error('looked at'));
    const gate = createAccessGate(readAccessRules([service], []), authenticate, { maxAgeMs: 0, now: () => NOW_MS });
    const headers = new Headers(authorization === undefined ? {} : { authorization });
    const pass = async () => gate(contextOf(service, headers));
    await expect(pass()).rejects.toMatchObject({ name: 'Failure', reason });
  });

  test.each([
    ['signed_in', { access: signedIn }],
    ['a permission', { access: usersWrite }],
    ['self_field', own],
  ])('whom no gate has let in is refused where the method declares %s', (_, declaration) => {
    const service = serviceOf(declaration);
    const context = contextOf(service, new Headers());
    const check = createAccessCheck(readAccessRules([service], []), { maxAgeMs: MAX_AGE_MS, now: () => NOW_MS });
    expect(() => check(context, create(context.method.input))).toThrow('the access gate did not run');
  });

  test.each([
    ['nothing of the message, which the gate decides', writeFresh, 1],
    ['self_field, which the message decides', ownFresh, 1],
  ])('is authorized once where the method declares %s', async (_, declaration, times) => {
    const service = serviceOf(declaration);
    const rules = readAccessRules([service], []);
    let asked = 0;
    const now = () => {
      asked++;
      return NOW_MS;
    };
    const context = contextOf(service, new Headers({ authorization: 'Bearer token' }));
    await createAccessGate(rules, () => admin, { maxAgeMs: MAX_AGE_MS, now })(context);
    await createAccessCheck(rules, { maxAgeMs: MAX_AGE_MS, now })(context, create(context.method.input));
    expect(asked).toBe(times);
  });

  /** Passes the gate, then the check, as a call does. */
  async function callWith(caller: Caller, service: DescService, id: string): Promise<void> {
    const rules = readAccessRules([service], []);
    const freshness = { maxAgeMs: MAX_AGE_MS, now: () => NOW_MS };
    const context = contextOf(service, new Headers({ authorization: 'Bearer token' }));
    await createAccessGate(rules, async () => caller, freshness)(context);
    await createAccessCheck(rules, freshness)(context, create(context.method.input, id === '' ? {} : { id }));
  }

  async function answerTo(caller: Caller, service: DescService, id: string): Promise<string> {
    try {
      await callWith(caller, service, id);
      return 'ok';
    } catch (error) {
      if (error instanceof Failure) return error.reason;
      throw error;
    }
  }
});

function contextOf(service: DescService, requestHeader: Headers): HandlerContext {
  return { method: service.methods[0]!, requestHeader, values: createContextValues() } as unknown as HandlerContext;
}

/** `test.Service` with one method `Call`, as protoc would describe it. */
function serviceOf({
  access: declared,
  fields = [],
  inner = [],
  clientStreaming,
  serverStreaming,
}: Declaration): DescService {
  const options = create(MethodOptionsSchema);
  if (declared !== undefined) setExtension(options, access, create(AccessSchema, declared));
  const file = create(FileDescriptorProtoSchema, {
    name: 'test.proto',
    package: 'test',
    syntax: 'proto3',
    enumType: [{ name: 'Kind', value: [{ name: 'KIND_UNSPECIFIED', number: 0 }] }],
    messageType: [messageOf('Request', fields), messageOf('Inner', inner), { name: 'Response' }],
    service: [
      {
        name: 'Service',
        method: [
          {
            name: 'Call',
            inputType: '.test.Request',
            outputType: '.test.Response',
            options,
            clientStreaming: clientStreaming ?? false,
            serverStreaming: serverStreaming ?? false,
          },
        ],
      },
    ],
  });
  // Through bytes, so that options arrive as they do from a generator: as fields unknown to the descriptor.
  const bytes = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] }));
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes)).getService('test.Service')!;
}

function messageOf(name: string, fields: readonly FieldDeclaration[]) {
  const inOneof = fields.filter(({ optional, oneof }) => optional || oneof);
  return {
    name,
    oneofDecl: inOneof.map((field) => ({ name: field.optional ? `_${field.name}` : 'choice' })),
    field: fields.map((field, i): MessageInitShape<typeof FieldDescriptorProtoSchema> => {
      const options = create(FieldOptionsSchema);
      if (field.requires !== undefined) setExtension(options, required_permission, field.requires);
      return {
        name: field.name,
        jsonName: field.name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
        number: i + 1,
        type: field.type ?? Type.STRING,
        ...(field.typeName !== undefined && { typeName: field.typeName }),
        label: field.repeated ? Label.REPEATED : Label.OPTIONAL,
        ...(inOneof.includes(field) && { oneofIndex: inOneof.indexOf(field), proto3Optional: field.optional ?? false }),
        options,
      };
    }),
  };
}
