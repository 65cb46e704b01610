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
import { describe, expect, test } from 'vitest';
import { access, AccessSchema, Permission, requires } from '../../gen/kith/access/v1/access_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { AccessDeclarationError, readAccessRules } from './access.ts';

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
  ['signed_in', { access: { rule: { case: 'signedIn', value: true } } }, { kind: 'signed_in' }],
  ['a permission', { access: usersWrite }, { kind: 'permission', permission: 'users.write', selfField: undefined }],
  [
    'a permission or self',
    {
      access: { rule: { case: 'permission', value: USERS_READ }, selfField: 'id' },
      fields: [{ name: 'other' }, { name: 'id' }],
    },
    { kind: 'permission', permission: 'users.read', selfField: expect.objectContaining({ name: 'id' }) },
  ],
  [
    'a permission on a stream',
    { access: usersWrite, clientStreaming: true, serverStreaming: true },
    { kind: 'permission', permission: 'users.write', selfField: undefined },
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
      if (field.requires !== undefined) setExtension(options, requires, field.requires);
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
