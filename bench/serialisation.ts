import { gzipSync } from 'node:zlib';
import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type Message,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { WatchUserActivityResponseSchema } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { GetUserResponseSchema, ListUsersResponseSchema } from '../gen/kith/user/v1/user_service_pb.ts';
import type { Activity } from '../src/activity/activity.ts';
import { toWatchMessage } from '../src/activity/messages.ts';
import { toUserMessage, toUserPage } from '../src/identity/users/messages.ts';
import type { User } from '../src/identity/users/user.ts';
import { shown } from './peers/users.ts';
import { quantile } from './report.ts';

/** A message, and the plain object that a service without a contract would send. */
export interface Sample {
  readonly name: string;
  readonly schema: DescMessage;
  readonly message: Message;
  readonly plain: object;
}

/** A way to put a sample into bytes and to get it out of them again. */
interface Format {
  readonly name: string;
  readonly encode: (sample: Sample) => Uint8Array;
  readonly decode: (sample: Sample, bytes: Uint8Array) => unknown;
}

const FORMATS: readonly Format[] = [
  {
    name: 'protobuf',
    encode: ({ schema, message }) => toBinary(schema, message),
    decode: ({ schema }, bytes) => fromBinary(schema, bytes),
  },
  {
    name: 'protobuf as JSON',
    encode: ({ schema, message }) => Buffer.from(toJsonString(schema, message)),
    decode: ({ schema }, bytes) => fromJsonString(schema, textOf(bytes)),
  },
  {
    name: 'plain JSON',
    encode: ({ plain }) => Buffer.from(JSON.stringify(plain)),
    decode: (_, bytes) => JSON.parse(textOf(bytes)),
  },
];

/** How long a round takes for each task, about, and the time until a task is compiled, milliseconds. */
const ROUND_MS = 20;
const WARM_UP_MS = 200;

/** What one sample takes in one format, microseconds. */
interface Cost {
  readonly encode: number;
  readonly decode: number;
}

/** Sizes of the same data in different formats, and how long Node takes to write and read it, in so many rounds of all in turn. */
export function serialisationLines(rounds: number): string[] {
  const measured = samples().map((sample) => ({ sample, costs: costsOf(sample, rounds) }));
  const share = (of: keyof Cost) => {
    const shares = measured.map(({ costs }) => costs.at(-1)![of] / costs[0]![of]);
    return `${Math.min(...shares).toFixed(2)} to ${Math.max(...shares).toFixed(2)}`;
  };
  return [
    '## Size and serialisation of the same data',
    '',
    '| data | format | bytes | with gzip | encode, µs | decode, µs |',
    '| --- | --- | ---: | ---: | ---: | ---: |',
    ...measured.flatMap(({ sample, costs }) =>
      FORMATS.map(({ name, encode }, i) => {
        const bytes = encode(sample);
        const sizes = [bytes, gzipSync(bytes)].map(({ length }) => length.toLocaleString('en'));
        const { encode: encoding, decode: decoding } = costs[i]!;
        return `| ${sample.name} | ${name} | ${sizes.join(' | ')} | ${encoding.toFixed(2)} | ${decoding.toFixed(2)} |`;
      }),
    ),
    '',
    `Encoding is from a message or plain object to the bytes that are sent, decoding the way back; plain JSON is neither checked nor given types. Protobuf takes about half the bytes of JSON until they are compressed. It is not the faster one in Node: Protobuf-ES is JavaScript, JSON is written and read by the engine, and plain JSON takes ${share('encode')} of the time of protobuf to encode and ${share('decode')} to decode.`,
    '',
  ];
}

/** In the order of the formats. */
function costsOf(sample: Sample, rounds: number): Cost[] {
  const tasks = FORMATS.flatMap(({ encode, decode }) => {
    const bytes = encode(sample);
    return [() => encode(sample), () => decode(sample, bytes)].map((task) => ({ task, runs: [] as number[] }));
  });
  const times = tasks.map(({ task }) => Math.ceil((ROUND_MS * timesWithin(task, WARM_UP_MS)) / WARM_UP_MS));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { task, runs }] of tasks.entries()) runs.push(microsOf(task, times[i]!));
  }
  const medians = tasks.map(({ runs }) => quantile(runs, 0.5));
  return FORMATS.map((_, i) => ({ encode: medians[2 * i]!, decode: medians[2 * i + 1]! }));
}

function timesWithin(task: () => unknown, ms: number): number {
  const endMs = performance.now() + ms;
  let times = 0;
  for (; performance.now() < endMs; times++) last = task();
  return times;
}

/** What came out last; otherwise the engine may leave out what nobody uses. */
let last: unknown;

/** Microseconds that each of so many runs takes. */
function microsOf(task: () => unknown, times: number): number {
  const startMs = performance.now();
  for (let n = 0; n < times; n++) last = task();
  const micros = (performance.now() - startMs) * 1000;
  if (last === undefined) throw new Error('nothing came out');
  return micros / times;
}

/** A response with one user, one with 20 and one message of a stream. */
export function samples(): Sample[] {
  const users = Array.from({ length: 20 }, (_, n) => userOf(n));
  const [user] = users;
  const nextPageToken = Buffer.alloc(54, 'next').toString('base64url');
  const activity = activityOf();
  const { eventMs, recordMs, ...others } = activity;
  const cursor = Buffer.alloc(40, 'cursor').toString('base64url');
  return [
    {
      name: 'GetUser',
      schema: GetUserResponseSchema,
      message: create(GetUserResponseSchema, { user: toUserMessage(user!) }),
      plain: { user: shown(user!) },
    },
    {
      name: 'ListUsers, 20',
      schema: ListUsersResponseSchema,
      message: create(ListUsersResponseSchema, toUserPage({ items: users, nextPageToken, total: undefined })),
      plain: { users: users.map(shown), nextPageToken },
    },
    {
      name: 'WatchUserActivity, one',
      schema: WatchUserActivityResponseSchema,
      message: create(WatchUserActivityResponseSchema, toWatchMessage({ activity, cursor, isCaughtUp: false })),
      plain: {
        activity: {
          ...others,
          eventTime: new Date(eventMs).toISOString(),
          recordTime: new Date(recordMs).toISOString(),
        },
        cursor,
      },
    },
  ];
}

function userOf(n: number): User {
  return {
    id: `018cc251-f400-7000-8000-${String(n).padStart(12, '0')}`,
    username: `ada.lovelace.${n}`,
    email: `ada.lovelace.${n}@example.org`,
    name: 'Ada Lovelace',
    role: 'viewer',
    state: 'active',
    createMs: Date.UTC(2026, 0, 1) + n * 86_400_123,
    updateMs: Date.UTC(2026, 5, 1) + n * 3_600_123,
    deleteMs: null,
    purgeMs: null,
    lastSignInMs: null,
    externalId: '',
    publicMetadata: '',
    privateMetadata: '',
    locale: '',
    timeZone: '',
    avatarUrl: '',
    emailVerifiedMs: undefined,
    etag: `1-${(Date.UTC(2026, 5, 1) + n * 3_600_123).toString(36)}`,
  };
}

function activityOf(): Activity {
  const userId = '018cc251-f400-7000-8000-000000000001';
  return {
    id: '018cc251-f400-7000-8002-000000000001',
    userId,
    actorId: userId,
    actorSessionId: '018cc251-f400-7000-8003-000000000001',
    action: 'page.viewed',
    details: '',
    attributes: { page: '/documents/analytical-engine' },
    eventMs: Date.UTC(2026, 5, 1, 12, 30, 15, 250),
    recordMs: Date.UTC(2026, 5, 1, 12, 30, 15, 750),
  };
}

function textOf(bytes: Uint8Array): string {
  return (bytes as Buffer).toString('utf8');
}
