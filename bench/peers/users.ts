import { create, type DescMessage, type DescMethodUnary, type Message, type MessageShape } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Metadata } from '@grpc/grpc-js';
import { fastify as createFastify, type FastifyRequest } from 'fastify';
import {
  ActivityService,
  type WatchUserActivityRequest,
  WatchUserActivityResponseSchema,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  ContactService,
  type CreateContactRequest,
  CreateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import {
  type GetUserRequest,
  GetUserResponseSchema,
  type ListUsersRequest,
  ListUsersRequestSchema,
  ListUsersResponseSchema,
  UserService,
} from '../../gen/kith/user/v1/user_service_pb.ts';
import type { Caller, Permission } from '../../src/kernel/access.ts';
import { watchActivities } from '../../src/activity/activity.ts';
import { fromWatch, toWatchMessage } from '../../src/activity/messages.ts';
import { createContact } from '../../src/contacts/contacts.ts';
import { createResponse, fromCreate } from '../../src/contacts/messages.ts';
import { createRequestValidator } from '../../src/rpc/validate.ts';
import { authenticate } from '../../src/identity/sessions/sessions.ts';
import { fromList, toUserMessage, toUserPage } from '../../src/identity/users/messages.ts';
import { getUser, listUsers } from '../../src/identity/users/users.ts';
import { openApp } from './app.ts';
import { serveGrpcJs } from './grpc-js.ts';

/** The same calls over grpc-js: the same tokens, rules of the contract and store. */
export async function usersWithGrpcJs(): Promise<string> {
  const app = await openApp();
  const validator = createRequestValidator([UserService, ContactService, ActivityService]);
  const identify = async (schema: DescMessage, request: Message, metadata: Metadata): Promise<Caller> => {
    const caller = await authenticate(app, tokenOf(metadata.get('authorization')[0]?.toString()));
    const checked = validator.validate(schema, request);
    if (checked.kind !== 'valid') throw checked.error ?? new Error('invalid');
    return caller;
  };
  const route = <M extends DescMethodUnary>(
    method: M,
    answer: (request: MessageShape<M['input']>, caller: Caller) => Promise<MessageShape<M['output']>>,
  ) => ({
    method,
    async handle(request: Message, metadata: Metadata): Promise<Message> {
      return answer(request as MessageShape<M['input']>, await identify(method.input, request, metadata));
    },
  });
  const watch = ActivityService.method.watchUserActivity;
  return serveGrpcJs([
    route(UserService.method.getUser, async ({ userId }: GetUserRequest, caller) => {
      allow(caller, 'users.read');
      return create(GetUserResponseSchema, { user: toUserMessage(await getUser(app, userId)) });
    }),
    route(UserService.method.listUsers, async (request: ListUsersRequest, caller) => {
      allow(caller, 'users.read');
      return create(ListUsersResponseSchema, toUserPage(await listUsers(app, caller, fromList(request))));
    }),
    route(ContactService.method.createContact, async (request: CreateContactRequest, caller) => {
      allow(caller, 'contacts.write');
      return createContact(app, caller, fromCreate(request), createResponse);
    }),
    {
      method: watch,
      async *handle(request, metadata, signal) {
        const caller = await identify(watch.input, request, metadata);
        allow(caller, 'activity.read');
        for await (const message of watchActivities(
          app,
          caller,
          fromWatch(request as WatchUserActivityRequest),
          signal,
        )) {
          yield create(WatchUserActivityResponseSchema, toWatchMessage(message));
        }
      },
    },
  ]);
}

const text = { type: 'string' };
const shortText = { type: 'string', maxLength: 200 };
const USER = {
  type: 'object',
  properties: Object.fromEntries(
    ['id', 'username', 'email', 'name', 'role', 'state', 'createTime', 'updateTime', 'etag'].map((name) => [
      name,
      text,
    ]),
  ),
};

/** The same calls as plain JSON over HTTP/1.1 with Fastify: the same tokens and store, rules as JSON schemas. */
export async function usersWithFastify(): Promise<string> {
  const app = await openApp();
  const fastify = createFastify();
  const callerOf = ({ headers }: FastifyRequest) => authenticate(app, tokenOf(headers.authorization));
  fastify.post(
    '/users/get',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          required: ['userId'],
          properties: { userId: { type: 'string', format: 'uuid' } },
        },
        response: { 200: { type: 'object', properties: { user: USER } } },
      },
    },
    async (request) => {
      allow(await callerOf(request), 'users.read');
      return { user: shown(await getUser(app, (request.body as { userId: string }).userId)) };
    },
  );
  fastify.post(
    '/users/list',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          properties: { pageSize: { type: 'integer', minimum: 0 }, pageToken: { type: 'string', maxLength: 2048 } },
        },
        response: {
          200: { type: 'object', properties: { users: { type: 'array', items: USER }, nextPageToken: text } },
        },
      },
    },
    async (request) => {
      const caller = await callerOf(request);
      allow(caller, 'users.read');
      const asked = create(ListUsersRequestSchema, request.body as object);
      const { items, nextPageToken } = await listUsers(app, caller, fromList(asked));
      return { users: items.map(shown), nextPageToken };
    },
  );
  fastify.post(
    '/contacts/create',
    {
      schema: {
        body: {
          type: 'object',
          properties: {
            givenName: shortText,
            familyName: shortText,
            emails: { type: 'array', maxItems: 20, items: { type: 'object', properties: { address: shortText } } },
          },
        },
        response: {
          200: {
            type: 'object',
            properties: {
              contact: {
                type: 'object',
                properties: { id: text, givenName: text, familyName: text, etag: text, createTime: text },
              },
            },
          },
        },
      },
    },
    async (request) => {
      const caller = await callerOf(request);
      allow(caller, 'contacts.write');
      const asked = create(CreateContactRequestSchema, request.body as object);
      const { contact } = await createContact(app, caller, fromCreate(asked), createResponse);
      const { id, givenName, familyName, etag, createTime } = contact!;
      return { contact: { id, givenName, familyName, etag, createTime: timestampDate(createTime!).toISOString() } };
    },
  );
  return fastify.listen({ host: '127.0.0.1', port: 0 });
}

/** A user as plain JSON shows them. */
export function shown(user: Awaited<ReturnType<typeof getUser>>): object {
  const { id, username, email, name, role, state, createMs, updateMs, etag } = user;
  return {
    id,
    username,
    email,
    name,
    role,
    state,
    createTime: new Date(createMs).toISOString(),
    updateTime: new Date(updateMs).toISOString(),
    etag,
  };
}

function allow(caller: Caller, permission: Permission): void {
  if (!caller.permissions.has(permission)) throw new Error(`the caller lacks ${permission}`);
}

function tokenOf(header: string | undefined): string {
  const token = /^bearer +([\w.~+/-]+=*)$/i.exec(header ?? '')?.[1];
  if (token === undefined) throw new Error('the call is not signed');
  return token;
}
