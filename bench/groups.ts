import { randomUUIDv7 } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { getCall, grpcCall, grpcWebCall, jsonCall, protoCall, type Signed } from './calls.ts';
import type { Amount, Request } from './load.ts';
import type { Recording } from './recording.ts';
import type { Seed } from './seed.ts';

/** A server, and how it is asked. */
export interface Variant {
  readonly name: string;
  readonly server: string;
  readonly request: Request;
  readonly http: 1 | 2;
  readonly isOurs?: boolean;
  readonly amount?: Partial<Amount>;
  /** So many messages of a watch are waited for, which does not end by itself. */
  readonly messages?: number;
  /** Activities are recorded, each of which counts as a request. */
  readonly recording?: Recording;
}

/** Variants that do the same work. */
export interface Group {
  readonly title: string;
  /** What each call counts as. */
  readonly unit: string;
  /** How many of the unit a request is. */
  readonly each?: number;
  /** Nothing is aimed at here: measured for a shorter time. */
  readonly isMinor?: boolean;
  readonly variants: readonly Variant[];
}

/** A ratio of medians that is to be reached. */
export interface Target {
  readonly group: string;
  readonly ours: string;
  readonly peer: string;
  readonly atLeast: number;
}

/** The transport alone. */
export function echoGroups(): Group[] {
  const method = UserService.method.getUser;
  const fields = { userId: randomUUIDv7() };
  const json = jsonCall(method, fields);
  const plain = jsonCall(method, fields, {}, '/users/get');
  return [
    {
      title: 'Echo over gRPC',
      unit: 'requests/s',
      variants: [
        { name: 'bare node:http2', server: 'echo-http2', http: 2, request: grpcCall(method, fields) },
        { name: 'Kith', server: 'echo-fast-path', http: 2, request: grpcCall(method, fields), isOurs: true },
        { name: 'grpc-js', server: 'echo-grpc-js', http: 2, request: grpcCall(method, fields) },
        { name: 'nice-grpc', server: 'echo-nice-grpc', http: 2, request: grpcCall(method, fields) },
        { name: 'connect-fastify', server: 'echo-connect', http: 2, request: grpcCall(method, fields) },
      ],
    },
    {
      title: 'Echo over HTTP/1.1',
      unit: 'requests/s',
      variants: [
        { name: 'bare node:http, JSON', server: 'echo-http1', http: 1, request: { ...plain, path: '/' } },
        { name: 'Fastify, JSON', server: 'echo-fastify', http: 1, request: plain },
        { name: 'Kith, Connect JSON', server: 'echo-fast-path', http: 1, request: json, isOurs: true },
        {
          name: 'Kith, Connect binary',
          server: 'echo-fast-path',
          http: 1,
          request: protoCall(method, fields),
          isOurs: true,
        },
        {
          name: 'Kith, gRPC-Web',
          server: 'echo-fast-path',
          http: 1,
          request: grpcWebCall(method, fields),
          isOurs: true,
        },
        {
          name: 'Kith, Connect GET',
          server: 'echo-fast-path',
          http: 1,
          request: getCall(method, fields),
          isOurs: true,
        },
        { name: 'connect-fastify, Connect JSON', server: 'echo-connect', http: 1, request: json },
      ],
    },
    {
      title: 'Echo over HTTP/1.1, with one line a call in the log',
      unit: 'requests/s',
      variants: [
        { name: 'Fastify, JSON', server: 'echo-fastify-log', http: 1, request: plain },
        { name: 'Kith, Connect JSON', server: 'echo-fast-path-log', http: 1, request: json, isOurs: true },
      ],
    },
    {
      title: 'Echo over HTTP/2',
      unit: 'requests/s',
      isMinor: true,
      variants: [
        { name: 'Kith, Connect JSON', server: 'echo-fast-path', http: 2, request: json, isOurs: true },
        {
          name: 'Kith, Connect binary',
          server: 'echo-fast-path',
          http: 2,
          request: protoCall(method, fields),
          isOurs: true,
        },
        {
          name: 'Kith, gRPC-Web',
          server: 'echo-fast-path',
          http: 2,
          request: grpcWebCall(method, fields),
          isOurs: true,
        },
      ],
    },
  ];
}

/** Many small messages to those who only read. */
export function streamGroups(quick: boolean): Group[] {
  const group = (title: string, streams: number, messages: number): Group => {
    const request = grpcCall(ActivityService.method.watchUserActivity, { afterCursor: String(messages) });
    const amount = { connections: 1, streams, requests: streams };
    return {
      title,
      unit: 'messages/s',
      each: messages,
      variants: [
        { name: 'Kith', server: 'echo-fast-path', http: 2, request, amount, isOurs: true },
        { name: 'grpc-js', server: 'echo-grpc-js', http: 2, request, amount },
        { name: 'connect-fastify', server: 'echo-connect', http: 2, request, amount },
      ],
    };
  };
  const scale = quick ? 8 : 1;
  return [
    group('Server streaming over gRPC, one stream', 1, 200_000 / scale),
    group('Server streaming over gRPC, 100 streams', 100, 4000 / scale),
  ];
}

/** Calls as they are in use: token, rules of the contract, a database. */
export function realGroups(seed: Seed, replay: Replay, quick: boolean): Group[] {
  const signed = signedBy(seed);
  const get = { userId: seed.idOf(500) };
  const list = { pageSize: 20 };
  const contact = {
    givenName: 'Ada',
    familyName: 'Lovelace',
    emails: [{ address: 'ada@example.org', primary: true }],
  };
  const group = (
    title: string,
    method: DescMethod,
    fields: object,
    path: string,
    amount: Partial<Amount> = {},
  ): Group[] => {
    const request = grpcCall(method, fields, signed);
    const json = jsonCall(method, fields, signed);
    return [
      {
        title: `${title} over gRPC`,
        unit: 'requests/s',
        isMinor: title !== 'GetUser',
        variants: [
          { name: 'Kith', server: 'kith', http: 2, request, amount, isOurs: true },
          { name: 'grpc-js', server: 'users-grpc-js', http: 2, request, amount },
          { name: 'connect-fastify', server: 'kith-connect', http: 2, request, amount },
        ],
      },
      {
        title: `${title} as JSON over HTTP/1.1`,
        unit: 'requests/s',
        isMinor: true,
        variants: [
          { name: 'Fastify', server: 'users-fastify', http: 1, request: { ...json, path }, amount },
          { name: 'Kith', server: 'kith', http: 1, request: json, amount, isOurs: true },
          { name: 'connect-fastify', server: 'kith-connect', http: 1, request: json, amount },
        ],
      },
    ];
  };
  return [
    ...group('GetUser', UserService.method.getUser, get, '/users/get'),
    ...group('ListUsers, 20 rows,', UserService.method.listUsers, list, '/users/list'),
    // A user has 25,000 contacts at the most, so not for as long as the others; with h2load over HTTP/1.1 as well.
    ...group('CreateContact', ContactService.method.createContact, contact, '/contacts/create', {
      requests: quick ? 300 : 800,
    }),
    watchGroup(signed, replay, 1),
    watchGroup(signed, replay, 10),
    recordGroup(seed),
  ];
}

/** Activities in messages of 100, each with an id of its own: a stream beside calls. */
function recordGroup(seed: Seed): Group {
  const request = grpcCall(ActivityService.method.recordUserActivity, { activities: [] }, signedBy(seed));
  const variant = (name: string, over: Recording['over'], atOnce: number): Variant => ({
    name,
    server: 'kith',
    http: 2,
    request,
    recording: { over, atOnce, accessToken: seed.accessToken, userId: seed.idOf(500), perMessage: 100 },
  });
  return {
    title: 'Recording activities over gRPC, 100 a message',
    unit: 'activities/s',
    isMinor: true,
    variants: [
      { ...variant('StreamUserActivity, one stream', 'stream', 1), isOurs: true },
      variant('RecordUserActivity, one call after the other', 'calls', 1),
      variant('RecordUserActivity, eight calls at once', 'calls', 8),
    ],
  };
}

/** GetUser over gRPC, of one of the users. */
export function getUserCall(seed: Seed): Request {
  return grpcCall(UserService.method.getUser, { userId: seed.idOf(500) }, signedBy(seed));
}

/** A log to be read again, from a cursor after which so many activities come. */
export interface Replay {
  readonly afterCursor: string;
  readonly messages: number;
}

function watchGroup(signed: Signed, { afterCursor, messages: activities }: Replay, streams: number): Group {
  const request = grpcCall(ActivityService.method.watchUserActivity, { afterCursor }, signed);
  // Each watch begins with a message that holds no activity.
  const messages = activities + 1;
  const amount = { streams };
  return {
    title: `WatchUserActivity over gRPC, ${activities.toLocaleString('en')} activities from the database, ${streams === 1 ? 'one stream' : `${streams} streams`}`,
    unit: 'messages/s',
    isMinor: true,
    variants: [
      { name: 'Kith', server: 'kith', http: 2, request, messages, amount, isOurs: true },
      { name: 'grpc-js', server: 'users-grpc-js', http: 2, request, messages, amount },
      { name: 'connect-fastify', server: 'kith-connect', http: 2, request, messages, amount },
    ],
  };
}

/** The same with PostgreSQL. */
export function postgresGroups(seed: Seed): Group[] {
  const request = grpcCall(UserService.method.getUser, { userId: seed.idOf(500) }, signedBy(seed));
  return [
    {
      title: 'GetUser on PostgreSQL over gRPC',
      unit: 'requests/s',
      isMinor: true,
      variants: [
        { name: 'Kith', server: 'kith-postgres', http: 2, request, isOurs: true },
        { name: 'grpc-js', server: 'users-grpc-js-postgres', http: 2, request },
        { name: 'connect-fastify', server: 'kith-connect-postgres', http: 2, request },
      ],
    },
  ];
}

function signedBy({ accessToken }: Seed): Signed {
  return { authorization: `Bearer ${accessToken}` };
}

export const TARGETS: readonly Target[] = [
  { group: 'Echo over gRPC', ours: 'Kith', peer: 'grpc-js', atLeast: 1.3 },
  { group: 'Echo over HTTP/1.1', ours: 'Kith, Connect JSON', peer: 'Fastify, JSON', atLeast: 0.7 },
  {
    group: 'Echo over HTTP/1.1, with one line a call in the log',
    ours: 'Kith, Connect JSON',
    peer: 'Fastify, JSON',
    atLeast: 1,
  },
  { group: 'Echo over HTTP/1.1', ours: 'Kith, Connect binary', peer: 'Kith, Connect JSON', atLeast: 1 },
  { group: 'Echo over HTTP/1.1', ours: 'Kith, gRPC-Web', peer: 'Kith, Connect JSON', atLeast: 1 },
  { group: 'Server streaming over gRPC, one stream', ours: 'Kith', peer: 'grpc-js', atLeast: 3 },
  { group: 'Server streaming over gRPC, 100 streams', ours: 'Kith', peer: 'grpc-js', atLeast: 1.3 },
  { group: 'GetUser over gRPC', ours: 'Kith', peer: 'grpc-js', atLeast: 1.3 },
  { group: 'GetUser over gRPC', ours: 'Kith', peer: 'connect-fastify', atLeast: 3 },
];
