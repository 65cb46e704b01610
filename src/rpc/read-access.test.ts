import { create, createFileRegistry, type DescMethod, type Message } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { createContextValues, type HandlerContext } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService, SigningKeyState } from '../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { ContactSchema } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserSchema } from '../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../services.ts';
import type { Caller, Permission } from '../kernel/access.ts';
import { readAccessRules } from './access.ts';
import { setCaller } from './caller.ts';
import { answerWhatMayBeRead } from './read-access.ts';

const rules = readAccessRules(SERVICES, []);

const ME = '01900000-0000-7000-8000-00000000000a';
const OTHER = '01900000-0000-7000-8000-00000000000b';

function callerWith(kind: Caller['kind'], ...permissions: Permission[]): Caller {
  return { userId: ME, sessionId: OTHER, kind, permissions: new Set(permissions), signInMs: undefined };
}

/** What a caller is answered when the implementation answers this. */
async function answered(method: DescMethod, caller: Caller, answer: unknown, request: object = {}): Promise<unknown> {
  const implementation = { [method.localName]: async () => answer };
  const wrapped = answerWhatMayBeRead([method], implementation, rules)[method.localName] as (
    request: object,
    context: HandlerContext,
  ) => Promise<unknown>;
  const values = createContextValues();
  setCaller(values, caller);
  return wrapped(request, { values } as HandlerContext);
}

const user = (id: string): Message => create(UserSchema, { id, username: 'ada', email: 'ada@example.org', etag: '1' });
const contact = create(ContactSchema, { id: OTHER, givenName: 'Grace', etag: '1' });
const contactLeft = create(ContactSchema, { id: OTHER, etag: '1' });
const userLeft = (id: string) => create(UserSchema, { id, etag: '1' });

describe('an answer holds what the caller may read', () => {
  test.each<[string, DescMethod, Caller, unknown, unknown]>([
    [
      'a contact, to a key that writes contacts alone',
      ContactService.method.updateContact,
      callerWith('api_key', 'contacts.write', 'users.read'),
      { contact },
      { contact: contactLeft },
    ],
    [
      'a contact, to a key that reads them too',
      ContactService.method.updateContact,
      callerWith('api_key', 'contacts.write', 'contacts.read'),
      { contact },
      { contact },
    ],
    [
      'another user, to a key that writes users alone',
      UserService.method.updateUser,
      callerWith('api_key', 'users.write'),
      { user: user(OTHER) },
      { user: userLeft(OTHER) },
    ],
    [
      'its owner, to a key that writes users alone',
      UserService.method.updateUser,
      callerWith('api_key', 'users.write'),
      { user: user(ME) },
      { user: userLeft(ME) },
    ],
    [
      'the caller, to a key',
      AuthService.method.userMe,
      callerWith('api_key', 'contacts.read'),
      { user: user(ME), permissions: [3] },
      { user: userLeft(ME), permissions: [3] },
    ],
    ['the caller, to a user', AuthService.method.userMe, callerWith('session'), { user: user(ME) }, { user: user(ME) }],
    [
      'another user, to a user who writes users alone',
      UserService.method.createUser,
      callerWith('session', 'users.write'),
      { user: user(OTHER) },
      { user: userLeft(OTHER) },
    ],
    [
      'the users themselves, to a user who writes users alone',
      UserService.method.deleteUser,
      callerWith('session', 'users.write'),
      { user: user(ME) },
      { user: user(ME) },
    ],
    [
      'activities, to a key that records them alone',
      ActivityService.method.recordUserActivity,
      callerWith('api_key', 'activity.record'),
      { activities: [{ id: 'a', userId: OTHER, action: 'x', details: 'y' }, { id: 'b' }] },
      { activities: [{ id: 'a' }, { id: 'b' }] },
    ],
    [
      'a signing key, to a user who rotates keys alone',
      SigningKeyService.method.rotateSigningKey,
      callerWith('session', 'signing_keys.write'),
      { signingKey: { kid: 'a', state: SigningKeyState.PENDING } },
      { signingKey: { kid: 'a' } },
    ],
    [
      'sessions, to a key that reads credentials and no users',
      SessionService.method.listSessions,
      callerWith('api_key', 'credentials.read'),
      { sessions: [{ id: 'a', address: '192.0.2.1' }] },
      { sessions: [{ id: 'a', address: '192.0.2.1' }] },
    ],
    ['nothing, where that is the answer', ContactService.method.createContact, callerWith('api_key'), {}, {}],
  ])('%s', async (_, method, caller, answer, expected) => {
    const output = (value: unknown) => create(method.output, value as Record<string, unknown>);
    expect(output(await answered(method, caller, answer))).toEqual(output(expected));
  });

  test('of oneself, to a user who asks for the own id', async () => {
    const { updateUser } = UserService.method;
    const answer = { user: user(OTHER) };
    expect(await answered(updateUser, callerWith('session'), answer, { userId: ME })).toEqual(answer);
    for (const [caller, userId] of [
      [callerWith('session'), OTHER],
      [callerWith('api_key'), ME],
    ] as const) {
      expect(await answered(updateUser, caller, answer, { userId })).toMatchObject({ user: userLeft(OTHER) });
    }
  });

  test('and what it was made of stays as it is: others are answered the same message', async () => {
    const before = create(ContactSchema, contact);
    await answered(ContactService.method.updateContact, callerWith('api_key', 'contacts.write'), { contact });
    expect(contact).toEqual(before);
    expect(contact.givenName).toBe('Grace');
  });
});

test('a message with an id that does not say who may read it keeps the server from starting', () => {
  const file = create(FileDescriptorProtoSchema, {
    name: 'thing.proto',
    package: 'test',
    syntax: 'proto3',
    messageType: [
      { name: 'Request' },
      { name: 'Thing', field: [{ name: 'id', number: 1, type: Type.STRING, label: Label.OPTIONAL }] },
      {
        name: 'Response',
        field: [{ name: 'thing', number: 1, type: Type.MESSAGE, typeName: '.test.Thing', label: Label.OPTIONAL }],
      },
    ],
    service: [{ name: 'Things', method: [{ name: 'Get', inputType: '.test.Request', outputType: '.test.Response' }] }],
  });
  const service = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService('test.Things')!;
  const access = {
    kind: 'permission',
    permission: 'users.read',
    selfField: undefined,
    takesFreshSignIn: false,
  } as const;
  expect(() =>
    answerWhatMayBeRead(service.methods, { get: () => ({}) }, { of: () => ({ access, guarded: [] }) }),
  ).toThrow('test.Thing does not declare who may read it');
});

test('methods that only readers are let in to are left as they are', () => {
  const { listUsers } = UserService.method;
  const implementation = { listUsers: () => ({}) };
  const wrapped = answerWhatMayBeRead([listUsers], implementation, rules);
  expect(wrapped).toEqual(implementation);
});

describe('a field with a read_permission is answered to callers with that permission alone', () => {
  const whole = create(UserSchema, { id: ME, name: 'Ada', privateMetadata: '{"plan":"pro"}', etag: '1' });
  const rest = create(UserSchema, { id: ME, name: 'Ada', etag: '1' });
  const signedIn = (value: Message) => ({ outcome: { case: 'signedIn', value: { user: value } } });
  test.each<[string, DescMethod, Caller, unknown, unknown]>([
    ['reading it', UserService.method.getUser, callerWith('session', 'users.read'), { user: whole }, { user: whole }],
    ['its owner', UserService.method.getUser, callerWith('session'), { user: whole }, { user: rest }],
    ['the caller', AuthService.method.userMe, callerWith('session'), { user: whole }, { user: rest }],
    ['whoever signs in', AuthService.method.login, callerWith('session'), signedIn(whole), signedIn(rest)],
    [
      'one who writes and does not read',
      UserService.method.updateUser,
      callerWith('session', 'users.write'),
      { user: whole },
      { user: rest },
    ],
    ['many', UserService.method.listUsers, callerWith('api_key', 'users.read'), { users: [whole] }, { users: [whole] }],
  ])('%s', async (_, method, caller, answer, expected) => {
    const output = (value: unknown) => create(method.output, value as Record<string, unknown>);
    expect(output(await answered(method, caller, answer, { userId: ME }))).toEqual(output(expected));
    expect(whole.privateMetadata).toBe('{"plan":"pro"}');
  });
});
