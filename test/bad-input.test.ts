import { randomUUID } from 'node:crypto';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { create, type DescMethodUnary, toBinary, toJsonString } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { dumpButCounts } from './support/dump.ts';
import { grpc } from './support/kith.ts';
import { envelope, rawProtocols } from './support/raw-protocols.ts';
import { type ServingProcess, startProcess } from './support/process.ts';
import { connectHttp2, http1Request, outcomeOf, type RawAnswer, sendHttp1, sendHttp2 } from './support/raw.ts';
import { signedIn } from './support/sign-in.ts';

const { createContact, updateContact, getContact, listContacts } = ContactService.method;
const { createUser, updateUser, getUser, listUsers } = UserService.method;
const { login, refreshAccessToken } = AuthService.method;

const ADMIN_PASSWORD = `admin-password-${randomUUID()}`;
const MESSAGE_BYTES_MAX = 1_048_576;

/** What came before the bad input. */
interface World {
  readonly address: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly id: string;
  readonly contact: { readonly id: string; readonly etag: string };
  readonly viewer: { readonly id: string; readonly accessToken: string };
  readonly pageTokens: {
    readonly users: string;
    readonly editors: string;
    readonly contacts: string;
    readonly viewers: string;
  };
}

let kith: ServingProcess;
let database: TestDatabase;
let world: World;

const MALFORMED = 'InvalidArgument MALFORMED_REQUEST';
const INVALID = 'InvalidArgument FIELDS_INVALID';
const UNKNOWN_FIELD = 'InvalidArgument FIELD_UNKNOWN';
const TOO_LARGE = 'ResourceExhausted REQUEST_TOO_LARGE';
const UNSUPPORTED = 'Unimplemented ENCODING_UNSUPPORTED';
const NO_METHOD = 'Unimplemented METHOD_UNKNOWN';
const PAGE_TOKEN = 'InvalidArgument PAGE_TOKEN_INVALID';
const EMPTY = 'InvalidArgument CONTACT_EMPTY';

/** A message, sent in every protocol. */
type MessageCase = readonly [
  name: string,
  outcome: string,
  method: DescMethodUnary,
  bytes: string | Uint8Array | ((world: World) => string | Uint8Array),
];

const bytes = (...values: (number | string)[]) =>
  Buffer.concat(values.map((value) => (typeof value === 'string' ? Buffer.from(value) : Buffer.from([value]))));

/** Protobuf: field 1 of CreateContactRequest is given_name, 5 emails, 9 birthday, 11 starred; 100 is none. */
const BINARY: readonly MessageCase[] = [
  ['a tag that is cut', MALFORMED, createContact, bytes(0x80)],
  ['a varint that is cut', MALFORMED, createContact, bytes(0x58, 0x80)],
  ['a varint of eleven bytes', MALFORMED, createContact, bytes(0x58, ...Array<number>(10).fill(0xff), 1)],
  ['a length beyond the end', MALFORMED, createContact, bytes(0x0a, 5, 'A')],
  ['a length of 4 GiB', MALFORMED, createContact, bytes(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 'A')],
  ['a negative length', MALFORMED, createContact, bytes(0x0a, ...Array<number>(9).fill(0xff), 1, 'A')],
  ['field number 0', MALFORMED, createContact, bytes(0, 0)],
  ['a field number above 2^29', MALFORMED, createContact, bytes(0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 1)],
  ['wire type 6', MALFORMED, createContact, bytes(0x0e)],
  ['wire type 7', MALFORMED, createContact, bytes(0x0f)],
  ['a text as a varint', MALFORMED, createContact, bytes(0x08, 1)],
  ['a bool as fixed32', MALFORMED, createContact, bytes(0x0a, 1, 'A', 0x5d, 1, 0, 0, 0)],
  ['a group that does not end', MALFORMED, createContact, bytes(0xa3, 6)],
  ['a group that ends before it begins', MALFORMED, createContact, bytes(0xa4, 6)],
  ['a group that ends as another', MALFORMED, createContact, bytes(0xa3, 6, 0xac, 6)],
  ['a group', MALFORMED, createContact, bytes(0x0a, 1, 'A', 0xa3, 6, 0xa4, 6)],
  [
    '100,000 groups one inside the other',
    MALFORMED,
    createContact,
    Buffer.concat([Buffer.alloc(200_000, bytes(0xa3, 6)), Buffer.alloc(200_000, bytes(0xa4, 6))]),
  ],
  ['an unknown field', UNKNOWN_FIELD, createContact, bytes(0x0a, 1, 'A', 0xa0, 6, 1)],
  ['an unknown field further down', UNKNOWN_FIELD, createContact, bytes(0x2a, 12, 0x0a, 7, 'a@b.com', 0xa0, 6, 1)],
  [
    'an unknown field in an update',
    UNKNOWN_FIELD,
    updateContact,
    bytes(0x3a, 14, 0x0a, 12, 0x0a, 7, 'a@b.com', 0xa0, 6, 1),
  ],
  ['the largest field number', UNKNOWN_FIELD, createContact, bytes(0xf8, 0xff, 0xff, 0xff, 0x0f, 1)],
  ['a text that is not UTF-8', MALFORMED, createContact, bytes(0x0a, 2, 0xc3, 0x28)],
  ['a text in overlong UTF-8', MALFORMED, createContact, bytes(0x0a, 2, 0xc0, 0x80)],
  ['a surrogate in UTF-8', MALFORMED, createContact, bytes(0x0a, 3, 0xed, 0xa0, 0x80)],
  ['a text further down that is not UTF-8', MALFORMED, createContact, bytes(0x2a, 4, 0x0a, 2, 0xff, 0xfe)],
  ['JSON that is said to be protobuf', MALFORMED, createContact, '{"givenName":"A"}'],
  ['words that are said to be protobuf', MALFORMED, createContact, 'hello'], // "h": a text in place of a number
  ['10,000 emails', INVALID, createContact, Buffer.alloc(110_000, bytes(0x2a, 9, 0x0a, 7, 'a@b.com'))],
  ['500,000 emails without anything', INVALID, createContact, Buffer.alloc(1_000_000, bytes(0x2a, 0))],
  ['a message above the limit', TOO_LARGE, createContact, Buffer.alloc(MESSAGE_BYTES_MAX + 1)],
  ['an enum number that is not defined', INVALID, listUsers, bytes(0x18, 99)],
  ['a negative enum number', INVALID, listUsers, bytes(0x18, ...Array<number>(9).fill(0xff), 1)],
  ['a negative page size', INVALID, listUsers, bytes(0x08, ...Array<number>(9).fill(0xff), 1)],
];

const contact = (fields: object) => JSON.stringify({ givenName: 'A', ...fields });
const user = (fields: object) => {
  const username = `u${randomUUID()}`;
  return JSON.stringify({ username, email: `${username}@example.org`, name: 'A', password: 'of nobody', ...fields });
};
const copies = (length: number, entry: object) => Array.from({ length }, () => entry);
const primaries = (...entries: object[]) => entries.map((entry) => ({ ...entry, primary: true }));

const JSON_TEXTS: readonly MessageCase[] = [
  ...[
    '',
    ' ',
    '{',
    '[]',
    'null',
    '"x"',
    '1',
    '{"givenName":}',
    '{"givenName":"A"',
    '{"givenName":"A"} {}',
    "{'givenName':'A'}",
    '{"givenName":"A"}//',
    '{"givenName":"A",}',
    '{"starred":NaN}',
    '{"givenName":"a\nb"}',
    '{"givenName":"a\0b"}',
    '{"givenName":"\\x41"}',
  ].map((text): MessageCase => [`JSON that is none: ${JSON.stringify(text)}`, MALFORMED, createContact, text]),
  ...[
    contact({ givenNam: 'B' }),
    contact({ emails: [{ address: 'a@b.com', x: 1 }] }),
    contact({ $typeName: 'x' }),
    contact({ '[kith.access.v1.required_permission]': 1 }),
    '{"givenName":"A","__proto__":{"starred":true}}',
    '{"givenName":"A","constructor":{"prototype":{"starred":true}}}',
    '{"givenName":"A","toString":"B"}',
    '{"emails":[{"address":"a@b.com","__proto__":{"primary":true}}]}',
  ].map((text): MessageCase => [`a field that is none: ${text}`, MALFORMED, createContact, text]),
  ['a field twice', MALFORMED, createContact, '{"givenName":"A","givenName":"B"}'],
  ['a field twice, once in escapes', MALFORMED, createContact, '{"givenName":"A","given\\u004eame":"B"}'],
  ['a field twice, in snake and camel case', MALFORMED, createContact, '{"givenName":"A","given_name":"B"}'],
  ['a field twice further down', MALFORMED, createContact, '{"emails":[{"address":"a@b.com","address":"c@d.com"}]}'],
  ['a field with a name of 500,000 letters', MALFORMED, createContact, contact({ ['x'.repeat(500_000)]: 1 })],
  ...[
    contact({ givenName: 1 }),
    contact({ givenName: ['A'] }),
    contact({ givenName: {} }),
    contact({ starred: 'true' }),
    contact({ starred: 1 }),
    contact({ emails: {} }),
    contact({ emails: [null] }),
    contact({ emails: ['a@b.com'] }),
    contact({ birthday: '2000-01-01' }),
  ].map((text): MessageCase => [`a value of another type: ${text}`, MALFORMED, createContact, text]),
  ['100,000 lists one inside the other', MALFORMED, createContact, '['.repeat(100_000) + ']'.repeat(100_000)],
  ['100,000 lists that do not end', MALFORMED, createContact, '['.repeat(100_000)],
  [
    '100,000 objects one inside the other',
    MALFORMED,
    createContact,
    `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
  ],
  ['depth inside a field', MALFORMED, createContact, `{"emails":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ['bytes that are not UTF-8', MALFORMED, createContact, bytes('{"givenName":"', 0xc3, 0x28, '"}')],
  ['UTF-16', MALFORMED, createContact, Buffer.from(`\ufeff${contact({})}`, 'utf16le')],
  ['protobuf that is said to be JSON', MALFORMED, createContact, bytes(0x0a, 1, 'A')],
  ...['\\ud800', '\\udc00', 'a\\udbffb', '\\udc00\\ud800'].map(
    (text): MessageCase => [`a lone surrogate: ${text}`, MALFORMED, createContact, `{"givenName":"${text}"}`],
  ),
  ...['\\u0000', '\\u0007', '\\u001b[31m', '\\u007f', '\\u0085', '\\u2028', '\\u202e', '\\u2066', '\\ufffd'].flatMap(
    (text): MessageCase[] => [
      [`${text} in a name`, INVALID, createContact, `{"givenName":"a${text}b"}`],
      [`${text} in notes`, INVALID, createContact, `{"givenName":"A","notes":"a${text}b"}`],
      [`${text} in a query`, INVALID, listContacts, `{"query":"a${text}b"}`],
    ],
  ),
  ...[
    '1.5',
    '"1.5"',
    '1e100',
    '1e400',
    '2147483648',
    '"2147483648"',
    '4294967297',
    'true',
    '"ten"',
    '""',
    '" 10 "',
    '[]',
    '"Infinity"',
  ].map((value): MessageCase => [`page_size ${value}`, MALFORMED, listUsers, `{"pageSize":${value}}`]),
  ...['-1', '"-1"', '-1e0', '-2147483648'].map(
    (value): MessageCase => [`page_size ${value}`, INVALID, listUsers, `{"pageSize":${value}}`],
  ),
  ...['10', '"10"', '1e1', '10.0', 'null', '2147483647'].map(
    (value): MessageCase => [`page_size ${value}, which is allowed,`, 'ok', listUsers, `{"pageSize":${value}}`],
  ),
  ['a byte order mark, which is allowed,', 'ok', listUsers, '\ufeff{}'],
  ['a role that is none', MALFORMED, createUser, user({ role: 'ROLE_KING' })],
  ['a role in lower case', MALFORMED, createUser, user({ role: 'role_admin' })],
  ['a role as a text of a number', MALFORMED, createUser, user({ role: '3' })],
  ['a role that is a fraction', MALFORMED, createUser, user({ role: 1.5 })],
  ['a role by a number that is none', INVALID, createUser, user({ role: 99 })],
  ['no role in an update', INVALID, updateUser, ({ id: userId }) => JSON.stringify({ userId, role: 0 })],
  [
    'deleting by an update',
    INVALID,
    updateUser,
    ({ id: userId }) => JSON.stringify({ userId, state: 'USER_STATE_DELETED' }),
  ],
  ...['', ' ', '   \u00a0\u3000'].map(
    (name): MessageCase => [`a user with the name ${JSON.stringify(name)}`, INVALID, createUser, user({ name })],
  ),
  ...['ab', 'a b', 'a@example.org', '-ab', 'ab\nc', 'äbc', 'a'.repeat(65), "a'--"].map(
    (username): MessageCase => [`the username ${JSON.stringify(username)}`, INVALID, createUser, user({ username })],
  ),
  ...[
    '',
    'x',
    'a@',
    '@b.com',
    'a b@c.com',
    'a@b\n.com',
    'a@bücher.example',
    `${'a'.repeat(250)}@b.com`,
    'a@b@c.com',
  ].map((email): MessageCase => [`the email address ${JSON.stringify(email)}`, INVALID, createUser, user({ email })]),
  // An address book keeps what it is given, as long as it is a line with an @.
  ...['', 'x', 'a@b\n.com', 'a@\u202eb.com', `${'a'.repeat(320)}@b.com`].map(
    (email): MessageCase => [
      `a contact with the email address ${JSON.stringify(email)}`,
      INVALID,
      createContact,
      contact({ emails: [{ address: email }] }),
    ],
  ),
  ...['short', 'x'.repeat(129), 'with a \u0000 inside'].map(
    (password): MessageCase => [`the password ${JSON.stringify(password)}`, INVALID, createUser, user({ password })],
  ),
  ...[
    '',
    '\u200b',
    'example.org\nhttp://a',
    'http://a\u202eb',
    'http://example.org/\u0001',
    `http://example.org/${'x'.repeat(2048)}`,
  ].map(
    (url): MessageCase => [
      `the URL ${JSON.stringify(url).slice(0, 60)}`,
      INVALID,
      createContact,
      contact({ urls: [{ url }] }),
    ],
  ),
  ...[
    { month: 2, day: 30 },
    { year: 2023, month: 2, day: 29 },
    { year: 1900, month: 2, day: 29 },
    { month: 4, day: 31 },
    { month: 13, day: 1 },
    { month: 0, day: 1 },
    { month: 1, day: 0 },
    { month: 1, day: -1 },
    { year: 0, month: 1, day: 1 },
    { year: 10_000, month: 1, day: 1 },
    { day: 1 },
    { year: 1815, day: 1 },
    {},
  ].map(
    (birthday): MessageCase => [
      `the birthday ${JSON.stringify(birthday)}`,
      INVALID,
      createContact,
      contact({ birthday }),
    ],
  ),
  [
    'two primary emails',
    INVALID,
    createContact,
    contact({ emails: primaries({ address: 'a@b.com' }, { address: 'c@d.com' }) }),
  ],
  ['two primary phones', INVALID, createContact, contact({ phones: primaries({ number: '1' }, { number: '2' }) })],
  ['two primary URLs', INVALID, createContact, contact({ urls: primaries({ url: 'http://a' }, { url: 'http://b' }) })],
  ['two primary addresses', INVALID, createContact, contact({ addresses: primaries({ city: 'A' }, { city: 'B' }) })],
  ['a phone number of nothing', INVALID, createContact, contact({ phones: [{ number: ' ' }] })],
  ['an address of nothing', INVALID, createContact, contact({ addresses: [{ type: 'home' }] })],
  ['21 phones', INVALID, createContact, contact({ phones: copies(21, { number: '1' }) })],
  ['10,000 emails that are none', INVALID, createContact, contact({ emails: copies(10_000, { address: 'x' }) })],
  ['a name of 201 letters', INVALID, createContact, contact({ givenName: 'x'.repeat(201) })],
  ['notes of 900,000 letters', INVALID, createContact, contact({ notes: 'x'.repeat(900_000) })],
  ['notes above the limit of a message', TOO_LARGE, createContact, contact({ notes: 'x'.repeat(2_000_000) })],
  ['a contact of nothing', EMPTY, createContact, '{}'],
  [
    'a contact that shows nothing',
    EMPTY,
    createContact,
    contact({ givenName: '\u3164', familyName: '\uFE0F', company: '\u2800' }),
  ],
  ['a contact of blanks', EMPTY, createContact, contact({ givenName: ' ', company: '\u00a0\u3000' })],
  ['a contact of notes alone', EMPTY, createContact, contact({ givenName: '', notes: 'x' })],
  [
    'an update that leaves nothing',
    EMPTY,
    updateContact,
    (w) => JSON.stringify({ contactId: w.contact.id, givenName: '' }),
  ],
  ['a request id that is none', INVALID, createContact, contact({ requestId: '1' })],
  ...['', 'x', '1', '{}', '../../x', "' or 1=1 --", '%', '00000000-0000-0000-0000-00000000000g'].flatMap(
    (id): MessageCase[] => [
      [`a contact with the id ${JSON.stringify(id)}`, INVALID, getContact, JSON.stringify({ contactId: id })],
      [`a user with the id ${JSON.stringify(id)}`, INVALID, getUser, JSON.stringify({ userId: id })],
    ],
  ),
  ['an empty etag', INVALID, updateContact, (w) => JSON.stringify({ contactId: w.contact.id, etag: '', notes: 'x' })],
  [
    'a long etag',
    INVALID,
    updateContact,
    (w) => JSON.stringify({ contactId: w.contact.id, etag: 'x'.repeat(65), notes: 'x' }),
  ],
  [
    'another etag',
    'Aborted ETAG_MISMATCH',
    updateContact,
    (w) => JSON.stringify({ contactId: w.contact.id, etag: '\u0000', notes: 'x' }),
  ],
  ...['x', '!', '🦉', 'AAAA', 'A'.repeat(2048), '\u0000', "' or 1=1 --", '../..'].flatMap(
    (pageToken): MessageCase[] => [
      [
        `the page token ${JSON.stringify(pageToken).slice(0, 20)}`,
        PAGE_TOKEN,
        listUsers,
        JSON.stringify({ pageToken }),
      ],
      [
        `the page token ${JSON.stringify(pageToken).slice(0, 20)} of contacts`,
        PAGE_TOKEN,
        listContacts,
        JSON.stringify({ pageToken }),
      ],
    ],
  ),
  ['a page token above the limit', INVALID, listUsers, JSON.stringify({ pageToken: 'A'.repeat(2049) })],
  [
    'a page token that is cut',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.users.slice(0, -4) }),
  ],
  [
    'a page token without its key',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.users.slice(0, 22) }),
  ],
  [
    'a page token with another key',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens, viewer }) => JSON.stringify({ pageToken: rewritten(pageTokens.users, [viewer.id]) }),
  ],
  [
    'a page token of another list',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.contacts }),
  ],
  [
    'a page token of users for contacts',
    PAGE_TOKEN,
    listContacts,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.users }),
  ],
  [
    'a page token of another caller',
    PAGE_TOKEN,
    listContacts,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.viewers }),
  ],
  [
    'a page token of another role',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.editors }),
  ],
  [
    'a page token with another query',
    PAGE_TOKEN,
    listUsers,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.users, query: 'a' }),
  ],
  [
    'a page token of the contacts that are not starred',
    PAGE_TOKEN,
    listContacts,
    ({ pageTokens }) => JSON.stringify({ pageToken: pageTokens.contacts, starred: false }),
  ],
  ['a query of 101 letters', INVALID, listUsers, JSON.stringify({ query: 'x'.repeat(101) })],
  ['a query that is SQL, which is allowed,', 'ok', listUsers, JSON.stringify({ query: "%' or 1=1 --" })],
  ['a query of the last code point, which is allowed,', 'ok', listUsers, JSON.stringify({ query: '\u{10ffff}' })],
  [
    'a query that folds to many letters, which is allowed,',
    'ok',
    listContacts,
    JSON.stringify({ query: '\ufdfa'.repeat(100) }),
  ],
  ['no identifier', INVALID, login, JSON.stringify({ password: 'x' })],
  ['no password', INVALID, login, JSON.stringify({ identifier: 'admin' })],
  ['a password of 60 kB', INVALID, login, JSON.stringify({ identifier: 'admin', password: 'x'.repeat(60_000) })],
  ['a password of 1 MB', TOO_LARGE, login, JSON.stringify({ identifier: 'admin', password: 'x'.repeat(1_000_000) })],
  [
    'somebody unknown',
    'Unauthenticated CREDENTIALS_INVALID',
    login,
    JSON.stringify({ identifier: "' or 1=1 --", password: 'x' }),
  ],
  ['no refresh token', 'Unauthenticated REFRESH_TOKEN_INVALID', refreshAccessToken, '{}'],
  [
    'a refresh token that is none',
    'Unauthenticated REFRESH_TOKEN_INVALID',
    refreshAccessToken,
    JSON.stringify({ refreshToken: 'kith_rt_x' }),
  ],
  [
    'a refresh token that is cut',
    'Unauthenticated REFRESH_TOKEN_INVALID',
    refreshAccessToken,
    (w) => JSON.stringify({ refreshToken: w.refreshToken.slice(0, -2) }),
  ],
  [
    'an access token as a refresh token',
    INVALID,
    refreshAccessToken,
    (w) => JSON.stringify({ refreshToken: w.accessToken }),
  ],
];

/** A page token that keeps its MAC but not what that is over. */
function rewritten(pageToken: string, key: readonly string[]): string {
  const mac = Buffer.from(pageToken, 'base64url').subarray(0, 16);
  return Buffer.concat([mac, Buffer.from(JSON.stringify(key))]).toString('base64url');
}

const MESSAGE = bytes(0x0a, 1, 'A');
const BOMB = Buffer.alloc(20_000_000);

/** The body of a call over gRPC and gRPC-Web. */
type BodyCase = readonly [name: string, outcome: string, body: Uint8Array, headers?: Record<string, string>];

const BODIES: readonly (readonly [
  name: string,
  outcome: string,
  body: Uint8Array,
  headers?: Record<string, string>,
])[] = [
  ['no message', MALFORMED, Buffer.alloc(0)],
  ['two messages', MALFORMED, Buffer.concat([envelope(MESSAGE), envelope(MESSAGE)])],
  ['100 messages', MALFORMED, Buffer.alloc(800, envelope(MESSAGE))],
  ['a message and some bytes', MALFORMED, Buffer.concat([envelope(MESSAGE), bytes('xyz')])],
  ['half an envelope', MALFORMED, bytes(0, 0, 0)],
  ['a message without an envelope', TOO_LARGE, bytes('hello')],
  ['a length beyond the body', MALFORMED, bytes(0, 0, 0, 0, 9, 0x0a, 1, 'A')],
  ['a length inside the message', MALFORMED, bytes(0, 0, 0, 0, 1, 0x0a, 1, 'A')],
  ['a length of 4 GiB', TOO_LARGE, bytes(0, 0xff, 0xff, 0xff, 0xff, 0x0a, 1, 'A')],
  ['a length above the limit', TOO_LARGE, bytes(0, 0, 0x10, 0, 1, 0x0a, 1, 'A')],
  ['the flag of compression without a compression', MALFORMED, envelope(MESSAGE, 1)],
  ['every flag', MALFORMED, envelope(MESSAGE, 0xff)],
  ['the flag of compression with identity', MALFORMED, envelope(MESSAGE, 1), { 'grpc-encoding': 'identity' }],
  ['gzip that is none', MALFORMED, envelope(MESSAGE, 1), { 'grpc-encoding': 'gzip' }],
  ['gzip that is cut', MALFORMED, envelope(gzipSync(MESSAGE).subarray(0, -4), 1), { 'grpc-encoding': 'gzip' }],
  [
    'gzip with more behind it',
    MALFORMED,
    envelope(Buffer.concat([gzipSync(MESSAGE), MESSAGE]), 1),
    { 'grpc-encoding': 'gzip' },
  ],
  ['gzip of 20 MB', TOO_LARGE, envelope(gzipSync(BOMB), 1), { 'grpc-encoding': 'gzip' }],
  ['brotli of 20 MB', TOO_LARGE, envelope(brotliCompressSync(BOMB), 1), { 'grpc-encoding': 'br' }],
  ['an unknown compression', UNSUPPORTED, envelope(MESSAGE, 1), { 'grpc-encoding': 'lzma' }],
  [
    'a compression with a name of 8,000 letters',
    UNSUPPORTED,
    envelope(MESSAGE, 1),
    { 'grpc-encoding': 'x'.repeat(8000) },
  ],
  ...['', 'x', '-1S', '1', '1 S', '1e3S', '999999999S'].map(
    (timeout): BodyCase => [
      `grpc-timeout ${JSON.stringify(timeout)}`,
      MALFORMED,
      envelope(MESSAGE),
      { 'grpc-timeout': timeout },
    ],
  ),
  ['a deadline that is over', 'DeadlineExceeded DEADLINE_EXCEEDED', envelope(MESSAGE), { 'grpc-timeout': '0n' }],
];

const CREATE = '/kith.contact.v1.ContactService/CreateContact';
const LIST = '/kith.user.v1.UserService/ListUsers';
const BODY = contact({});

const http1 = (method: string, path: string, headers: Record<string, string> = {}, body: string | Uint8Array = '') =>
  sendHttp1(
    world.address,
    http1Request(
      method,
      path,
      { authorization: `Bearer ${world.accessToken}`, 'content-type': 'application/json', ...headers },
      body,
    ),
  );
const post = (headers: Record<string, string>, body: string | Uint8Array = BODY) =>
  http1('POST', CREATE, headers, body);
const get = (query: string) => http1('GET', `${LIST}?${query}`, {});
const raw = (text: string | Uint8Array) => sendHttp1(world.address, text);
const http2 = async (headers: Record<string, string>, body: string | Uint8Array = BODY) => {
  await using session = await connectHttp2(world.address);
  const all = {
    ':path': CREATE,
    authorization: `Bearer ${world.accessToken}`,
    'content-type': 'application/json',
    ...headers,
  };
  return await sendHttp2(session, all, body);
};
const start = (rest: string) => () => raw(`POST ${CREATE} HTTP/1.1\r\nhost: localhost\r\n${rest}`);

/** HTTP that no client library would send. */
const HTTP: readonly (readonly [name: string, outcome: string, send: () => Promise<RawAnswer>])[] = [
  ...[
    'text/plain',
    'application/xml',
    'multipart/form-data; boundary=x',
    'application/json; charset=utf-16',
    'application/json; charset=latin1',
    'application/jsonx',
    'application/json, application/proto',
    'application/x-protobuf',
    'application/grpc+thrift',
    'application/grpc-web-text',
    'application/connect+json',
    'application/connect+proto',
    '',
    '///',
    'x'.repeat(5000),
  ].map(
    (type) =>
      [`content-type ${JSON.stringify(type).slice(0, 50)}`, UNSUPPORTED, () => post({ 'content-type': type })] as const,
  ),
  ['no content type', UNSUPPORTED, start('content-length: 2\r\n\r\n{}')],
  ['neither content type nor body', UNSUPPORTED, start('\r\n')],
  ['content-encoding gzip that is none', MALFORMED, () => post({ 'content-encoding': 'gzip' })],
  [
    'content-encoding gzip that is cut',
    MALFORMED,
    () => post({ 'content-encoding': 'gzip' }, gzipSync(BODY).subarray(0, -4)),
  ],
  ['content-encoding gzip of 20 MB', TOO_LARGE, () => post({ 'content-encoding': 'gzip' }, gzipSync(BOMB))],
  ['content-encoding br of 20 MB', TOO_LARGE, () => post({ 'content-encoding': 'br' }, brotliCompressSync(BOMB))],
  ['an unknown content-encoding', UNSUPPORTED, () => post({ 'content-encoding': 'lzma' })],
  ['gzip twice', UNSUPPORTED, () => post({ 'content-encoding': 'gzip, gzip' }, gzipSync(gzipSync(BODY)))],
  ['a body above the limit in chunks', TOO_LARGE, () => raw(chunked(2_000_000))],
  ...['x', '-1', '1.5', '1e3', '0x10', '', '99999999999'].map(
    (timeout) =>
      [
        `connect-timeout-ms ${JSON.stringify(timeout)}`,
        MALFORMED,
        () => post({ 'connect-timeout-ms': timeout }),
      ] as const,
  ),
  ['a deadline that is over', 'DeadlineExceeded DEADLINE_EXCEEDED', () => post({ 'connect-timeout-ms': '0' })],
  [
    'a deadline in 115 days, which is allowed,',
    'ok',
    () => http1('POST', LIST, { 'connect-timeout-ms': '9999999999' }, '{}'),
  ],
  [
    'a deadline in 11,000 years over gRPC, which is allowed,',
    'ok',
    () => http2({ ':path': LIST, 'content-type': 'application/grpc', 'grpc-timeout': '99999999H' }, envelope('')),
  ],
  ['GET without a query', UNSUPPORTED, () => get('')],
  ['GET without an encoding', UNSUPPORTED, () => get('message=%7B%7D')],
  ['GET with an unknown encoding', UNSUPPORTED, () => get('encoding=xml&message=%7B%7D')],
  ['GET without a message', MALFORMED, () => get('encoding=json')],
  ['GET with broken JSON', MALFORMED, () => get('encoding=json&message=%7B')],
  ['GET with broken percent-encoding', MALFORMED, () => get('encoding=json&message=%zz')],
  ['GET with a message that is not UTF-8', MALFORMED, () => get('encoding=json&message=%ff')],
  ['GET with broken protobuf', MALFORMED, () => get('encoding=proto&base64=1&message=gA')],
  ...['!!!', 'e', 'e30=e30=', 'e30===', 'e 30', '=', 'ééé'].map(
    (message) =>
      [
        `GET with base64 ${JSON.stringify(message)}`,
        MALFORMED,
        () => get(`encoding=json&base64=1&message=${encodeURIComponent(message)}`),
      ] as const,
  ),
  ['GET with base64=2', MALFORMED, () => get('encoding=json&base64=2&message=e30')],
  ['GET with gzip that is none', MALFORMED, () => get('encoding=json&compression=gzip&base64=1&message=e30')],
  [
    'GET with gzip of 8 MB',
    TOO_LARGE,
    () =>
      get(
        `encoding=json&compression=gzip&base64=1&message=${gzipSync(BOMB.subarray(0, 8_000_000)).toString('base64url')}`,
      ),
  ],
  ['GET with an unknown compression', UNSUPPORTED, () => get('encoding=json&compression=lzma&message=%7B%7D')],
  ...['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY', 'PROPFIND'].map(
    (method) => [`${method} for a write`, NO_METHOD, () => http1(method, CREATE, {}, BODY)] as const,
  ),
  ...['PUT', 'PATCH', 'OPTIONS', 'TRACE', 'FOO', 'get'].map(
    (method) => [`${method} for a write over HTTP/2`, NO_METHOD, () => http2({ ':method': method })] as const,
  ),
  ['HEAD for a write', 'HTTP 405', () => http2({ ':method': 'HEAD' }, '')],
  ['CONNECT', 'HTTP 0', () => raw('CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n')],
  ['a method that is none', MALFORMED, () => http1('FOO', CREATE)],
  ['a method in lower case', MALFORMED, () => http1('post', CREATE, {}, BODY)],
  ['an unknown method of a service', NO_METHOD, () => http1('POST', '/kith.user.v1.UserService/Nope', {}, '{}')],
  ['an unknown service', NO_METHOD, () => http1('POST', '/nope.v1.Nope/Nope', {}, '{}')],
  [
    'an unknown method over gRPC',
    NO_METHOD,
    () => http2({ ':path': '/nope.v1.Nope/Nope', 'content-type': 'application/grpc' }, envelope(MESSAGE)),
  ],
  [
    'an unknown method over gRPC-Web',
    NO_METHOD,
    () => http1('POST', '/nope.v1.Nope/Nope', { 'content-type': 'application/grpc-web' }, envelope(MESSAGE)),
  ],
  ['a path that cannot be decoded', MALFORMED, () => http1('POST', `${CREATE}%ff`, {}, BODY)],
  ['a path of 8,000 letters', NO_METHOD, () => http1('POST', `/${'x'.repeat(8000)}`, {}, BODY)],
  [
    'HTTP/1.0 without a host',
    MALFORMED,
    () => raw(`POST ${CREATE} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`),
  ],
  [
    'HTTP/1.1 without a host',
    MALFORMED,
    () => raw(`POST ${CREATE} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`),
  ],
  ...['', 'a b', '[::1', 'ho%zzst', 'localhost:99999', '/'].map(
    (host) => [`the host ${JSON.stringify(host)}`, MALFORMED, () => post({ host })] as const,
  ),
  ['HTTP/0.9', MALFORMED, () => raw(`GET ${CREATE}\r\n\r\n`)],
  ['HTTP/3.0', MALFORMED, () => raw(`POST ${CREATE} HTTP/3.0\r\nhost: localhost\r\n\r\n`)],
  ['TLS', MALFORMED, () => raw(Buffer.from('16030100a5010000a10303', 'hex'))],
  ['bytes', MALFORMED, () => raw(bytes(0xff, 0xfe, 0, 1, 2, 3, 13, 10, 13, 10))],
  ['a header of 20,000 letters', TOO_LARGE, () => post({ x: 'x'.repeat(20_000) })],
  ['3,000 headers', TOO_LARGE, start(`${'a: b\r\n'.repeat(3000)}\r\n`)],
  [
    'a token of 15,000 letters',
    'Unauthenticated ACCESS_TOKEN_INVALID',
    () => post({ authorization: `Bearer ${'x'.repeat(15_000)}` }),
  ],
  ['NUL in a header', MALFORMED, start('x: a\0b\r\n\r\n')],
  ['a folded header', MALFORMED, start('x: a\r\n b\r\n\r\n')],
  ['a blank before the colon', MALFORMED, start('x : a\r\n\r\n')],
  ['lines without carriage returns', MALFORMED, () => raw(`POST ${CREATE} HTTP/1.1\nhost: localhost\n\n`)],
  ['a negative length', MALFORMED, start('content-length: -1\r\n\r\n')],
  ['two lengths', MALFORMED, start('content-length: 1\r\ncontent-length: 2\r\n\r\n{}')],
  ['a length beside chunks', MALFORMED, start('content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n')],
  ['an unknown transfer encoding', MALFORMED, start('transfer-encoding: xchunked\r\n\r\n')],
  ['a chunk without a length', MALFORMED, () => raw(chunked(2).toString('latin1').replace('\r\n\r\n2', '\r\n\r\nzz'))],
];

function chunked(length: number): Buffer {
  const headers = `host: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer ${world.accessToken}\r\n`;
  const body = `${length.toString(16)}\r\n${' '.repeat(length)}\r\n0\r\n\r\n`;
  return Buffer.from(`POST ${CREATE} HTTP/1.1\r\n${headers}transfer-encoding: chunked\r\n\r\n${body}`);
}

/** What nobody outside should see of the inside. */
const INSIDE =
  /node_modules|file:\/\/|\/src\/|\.[jt]s:\d|node:internal|sqlite|kysely|\bselect\b.+\bfrom\b|\binsert into\b|_terms\b|signing_keys|(?:username|email|sort)_key|password_hash|owner_id|argon2|FST_ERR|\bERR_[A-Z]/i;

/** Code and reason, and all that is wrong with an answer whatever it says. */
async function judged(answer: RawAnswer): Promise<string> {
  const { code, reason } = await outcomeOf(answer);
  const all = JSON.stringify([answer.headers, answer.trailers, answer.body.toString('latin1')]);
  const headers = JSON.stringify([answer.headers, answer.trailers]);
  const faults = [
    // What Connect maps UNIMPLEMENTED, DEADLINE_EXCEEDED to; 505 is HTTP's own.
    answer.status >= 500 && ![501, 504].includes(answer.status) && `status ${answer.status}`,
    ['Internal', 'Unknown', 'DataLoss'].includes(code) && 'a fault of the server',
    INSIDE.test(all) && `tells of the inside: ${INSIDE.exec(all)?.[0]}`,
    headers.length > 8192 && `headers of ${headers.length} bytes`,
  ].filter(Boolean);
  return [code, reason, ...faults].filter(Boolean).join(' ');
}

describe.each(databases)('on $name', ({ create: createDatabase }) => {
  beforeAll(async () => {
    database = await createDatabase();
    kith = await startProcess({
      env: { ...database.env, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_LOG_LEVEL: 'trace' },
    });
    world = await makeWorld(kith.address);
  });
  afterAll(async () => {
    await kith[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('there are more than 60 cases of messages, of bodies and of HTTP together', () => {
    expect(BINARY.length + JSON_TEXTS.length).toBeGreaterThan(60);
    expect(BODIES.length).toBeGreaterThan(20);
    expect(HTTP.length).toBeGreaterThan(60);
  });

  describe.each([
    ['proto', BINARY],
    ['json', JSON_TEXTS],
  ] as const)('a message in %s', (format, cases) => {
    test.each(cases)('with %s is answered: %s', async (_, outcome, method, make) => {
      const before = await dumpButCounts(database);
      await using session = await connectHttp2(world.address);
      const payload = {
        method,
        format,
        bytes: typeof make === 'function' ? make(world) : make,
        headers: { authorization: `Bearer ${world.accessToken}` },
      };
      const answers: Record<string, string> = {};
      const taken = rawProtocols.filter((protocol) => protocol.takes(payload));
      for (const protocol of taken)
        answers[protocol.name] = await judged(await protocol.send({ address: world.address, session }, payload));
      expect(answers).toEqual(Object.fromEntries(taken.map(({ name }) => [name, outcome])));
      expect(await dumpButCounts(database)).toBe(before);
    });
  });

  const bodies = BODIES.map(([name, outcome, body, headers = {}]) => ({ name, outcome, body, more: headers }));

  test.each(bodies)('a body with $name is answered: $outcome', async ({ outcome, body, more }) => {
    const before = await database.dump();
    const headers = { ...more, te: 'trailers' };
    expect({
      gRPC: await judged(await http2({ ...headers, 'content-type': 'application/grpc+proto' }, body)),
      'gRPC over HTTP/1.1': await judged(await post({ ...headers, 'content-type': 'application/grpc' }, body)),
      'gRPC-Web': await judged(await post({ ...headers, 'content-type': 'application/grpc-web+proto' }, body)),
      'gRPC-Web over HTTP/2': await judged(await http2({ ...headers, 'content-type': 'application/grpc-web' }, body)),
    }).toEqual({ gRPC: outcome, 'gRPC over HTTP/1.1': outcome, 'gRPC-Web': outcome, 'gRPC-Web over HTTP/2': outcome });
    expect(await database.dump()).toBe(before);
  });

  test.each(HTTP)('HTTP with %s is answered: %s', async (_, outcome, send) => {
    const before = await database.dump();
    expect(await judged(await send())).toBe(outcome);
    expect(await database.dump()).toBe(before);
  });

  test('a request id with another request is refused, and what the first one made stays', async () => {
    const requestId = randomUUID();
    const first = await post({}, contact({ requestId }));
    expect(first.status).toBe(200);
    const before = await database.dump();
    expect(await judged(await post({}, contact({ requestId, notes: 'x' })))).toBe('InvalidArgument REQUEST_ID_REUSED');
    expect((await post({}, contact({ requestId }))).body.toString()).toBe(first.body.toString());
    expect(await database.dump()).toBe(before);
  });

  test('a misspelt field of a sign-in is named, and what follows is not', async () => {
    const LOGIN = '/kith.auth.v1.AuthService/Login';
    const misspelt = await outcomeOf(await http1('POST', LOGIN, {}, '{"identifier":"admin","pasword":"tell nobody"}'));
    expect(misspelt.message).toContain('"pasword"');
    expect(misspelt.message).not.toContain('tell nobody');
    const mistyped = await outcomeOf(await http1('POST', LOGIN, {}, '{"identifier":"admin","password":31415926}'));
    expect(mistyped.message).toContain('LoginRequest.password');
    expect(mistyped.message).not.toContain('31415926');
  });

  test('a request of 600 kB keeps nobody else waiting', async () => {
    const large = [Buffer.alloc(600_000, bytes(0x2a, 0)), Buffer.alloc(600_000, bytes(0x42, 2, 0x0a, 0))];
    await using session = await connectHttp2(world.address);
    const finished: string[] = [];
    await Promise.all([
      ...large.map(async (body) => {
        const answer = await post({ 'content-type': 'application/proto' }, body);
        finished.push(await judged(answer));
      }),
      sendHttp2(session, { ':path': '/healthz', ':method': 'GET' }).then(({ status }) =>
        finished.push(`healthz ${status}`),
      ),
    ]);
    expect(finished.toSorted()).toEqual([INVALID, INVALID, 'healthz 200']);
  });

  describe('2,000 mutations of valid requests', () => {
    test.each(mutated())(
      'of $method.name in $format are answered without a fault',
      async ({ method, format, request, count, seed }) => {
        await using session = await connectHttp2(world.address);
        const random = mulberry32(seed);
        const valid = create(method.input, request(world));
        const original =
          format === 'proto' ? toBinary(method.input, valid) : Buffer.from(toJsonString(method.input, valid));
        const faults: string[] = [];
        for (let i = 0; i < count; i++) {
          const mutant = mutate(original, random);
          const headers = { authorization: `Bearer ${world.accessToken}` };
          const protocol = rawProtocols[i % 4]!;
          const answer = await judged(
            await protocol.send({ address: world.address, session }, { method, format, bytes: mutant, headers }),
          );
          if (!/^(ok|(InvalidArgument|NotFound|Aborted|AlreadyExists|FailedPrecondition) [A-Z_]+)$/.test(answer)) {
            faults.push(`${protocol.name} ${mutant.toString('base64')}: ${answer}`);
          }
        }
        expect(faults).toEqual([]);
      },
    );
  });

  test('passwords and tokens reach neither answers that refuse them nor the log', async () => {
    const secrets = await sendSecrets();
    kith.kill('SIGTERM');
    const { stdout, stderr, code } = await kith.exited;
    expect(code).toBe(0);
    expect(stdout.split('\n').length).toBeGreaterThan(2000);
    const found = [...secrets, world.accessToken, world.refreshToken, world.viewer.accessToken, ADMIN_PASSWORD].filter(
      (secret) => stdout.includes(secret) || stderr.includes(secret),
    );
    expect(found).toEqual([]);
    expect(stdout).not.toContain('"level":"error"');
    expect(stderr).not.toMatch(/ +at .+:\d+:\d+/);
  });
});

async function makeWorld(address: string): Promise<World> {
  const auth = createClient(AuthService, grpc(address));
  const admin = await signedIn(auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
  const transport = grpc(address, admin.accessToken);
  const users = createClient(UserService, transport);
  const password = `password-${randomUUID()}`;
  for (const role of [Role.VIEWER, Role.EDITOR, Role.EDITOR]) {
    const username = `u${randomUUID()}`;
    await users.createUser({ username, email: `${username}@example.org`, name: 'Somebody', role, password });
  }
  const { users: viewers } = await users.listUsers({ roles: [Role.VIEWER] });
  const viewer = await signedIn(auth.login({ identifier: viewers[0]!.username, password }));
  const contacts = createClient(ContactService, transport);
  const contactsOfViewer = createClient(ContactService, grpc(address, viewer.accessToken));
  for (const givenName of ['Ada', 'Grace']) {
    await contacts.createContact({ givenName });
    await contactsOfViewer.createContact({ givenName });
  }
  const { contacts: mine, nextPageToken } = await contacts.listContacts({ pageSize: 1 });
  return {
    address,
    accessToken: admin.accessToken,
    refreshToken: admin.refreshToken,
    id: admin.user.id,
    contact: { id: mine[0]!.id, etag: mine[0]!.etag },
    viewer: { id: viewers[0]!.id, accessToken: viewer.accessToken },
    pageTokens: {
      users: (await users.listUsers({ pageSize: 1 })).nextPageToken,
      editors: (await users.listUsers({ pageSize: 1, roles: [Role.EDITOR] })).nextPageToken,
      contacts: nextPageToken,
      viewers: (await contactsOfViewer.listContacts({ pageSize: 1 })).nextPageToken,
    },
  };
}

/** As JSON, as far as it matters here. */
interface SignedInBody {
  readonly tokens: { readonly accessToken: string; readonly refreshToken: string };
}

/** Sends secrets where they belong and where they do not, and returns them. */
async function sendSecrets(): Promise<string[]> {
  const secrets: string[] = [];
  const secret = () => {
    const made = `s3cr3t${randomUUID().replaceAll('-', '')}`;
    secrets.push(made);
    return made;
  };
  const LOGIN = '/kith.auth.v1.AuthService/Login';
  const REFRESH = '/kith.auth.v1.AuthService/RefreshAccessToken';
  const CHANGE = '/kith.auth.v1.AuthService/ChangePassword';
  const CREATE_USER = '/kith.user.v1.UserService/CreateUser';
  const number = String(Math.floor(Math.random() * 1e9) + 1e9);
  secrets.push(number);
  const refused = [
    () => http1('POST', LOGIN, {}, JSON.stringify({ identifier: 'admin', password: secret() })),
    () => http1('POST', LOGIN, {}, JSON.stringify({ identifier: 'admin', password: secret().repeat(5) })),
    () => http1('POST', LOGIN, {}, `{"identifier":"admin","password":"${secret()}`),
    () => http1('POST', LOGIN, {}, `{"identifier":"admin","password":"${secret()}" x}`),
    () => http1('POST', LOGIN, {}, `{"password":"a"${secret()}`),
    () => http1('POST', LOGIN, {}, `{"password":${secret()}}`),
    () => http1('POST', LOGIN, {}, `{"password":["${secret()}"]}`),
    () => http1('POST', LOGIN, {}, `{"password":${number}}`),
    () => http1('POST', LOGIN, {}, secret()),
    () => http1('POST', LOGIN, { 'content-type': 'application/proto' }, secret()),
    () => http1('POST', LOGIN, { 'content-type': 'text/plain' }, secret()),
    () => http1('GET', `${LOGIN}?encoding=json&message=${encodeURIComponent(JSON.stringify({ password: secret() }))}`),
    () => http1('POST', `${LOGIN}?password=${secret()}`, {}, '{'),
    () => http1('POST', `/nope?access_token=${secret()}`, {}, '{}'),
    () => http1('POST', REFRESH, {}, JSON.stringify({ refreshToken: secret() })),
    () => http1('POST', REFRESH, {}, JSON.stringify({ refreshToken: `kith_rt_${secret()}` })),
    () => http1('POST', REFRESH, {}, `{"refreshToken":"${secret()}"`),
    () => http1('POST', CHANGE, {}, JSON.stringify({ currentPassword: secret(), newPassword: secret() })),
    () => http1('POST', CREATE_USER, {}, JSON.stringify({ username: '!', password: secret() })),
    () => http1('POST', LIST, { authorization: `Bearer ${secret()}` }, '{}'),
    () => http1('POST', LIST, { authorization: `Basic ${secret()}` }, '{}'),
    () => http1('POST', LIST, { authorization: secret(), 'content-type': 'application/grpc-web+proto' }, envelope('')),
    () =>
      http2({ ':path': LIST, authorization: `Bearer ${secret()}`, 'content-type': 'application/grpc' }, envelope('')),
    () => raw(`POST ${LOGIN} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret()}\r\nx : y\r\n\r\n`),
  ];
  for (const send of refused) {
    const answer = await send();
    const all = JSON.stringify([answer.headers, answer.trailers, answer.body.toString('latin1')]);
    expect(secrets.filter((sent) => all.includes(sent))).toEqual([]);
    expect(await judged(answer)).toMatch(/^[A-Z]\w+ [A-Z_]+$/);
  }
  const username = `u${randomUUID()}`;
  const password = secret();
  const made = JSON.stringify({ username, email: `${username}@example.org`, name: 'A', password });
  expect((await http1('POST', CREATE_USER, {}, made)).status).toBe(200);
  const signedIn = await http1('POST', LOGIN, {}, JSON.stringify({ identifier: username, password }));
  const { tokens } = (JSON.parse(signedIn.body.toString()) as { signedIn: SignedInBody }).signedIn;
  const authorization = `Bearer ${tokens.accessToken}`;
  const changed = await http1(
    'POST',
    CHANGE,
    { authorization },
    JSON.stringify({ currentPassword: password, newPassword: secret() }),
  );
  expect(changed.status).toBe(200);
  const refreshed = await http1('POST', REFRESH, {}, JSON.stringify({ refreshToken: tokens.refreshToken }));
  const { tokens: next } = JSON.parse(refreshed.body.toString()) as SignedInBody;
  return [...secrets, tokens.accessToken, tokens.refreshToken, next.accessToken, next.refreshToken];
}

interface Mutated {
  readonly method: DescMethodUnary;
  readonly format: 'proto' | 'json';
  readonly request: (world: World) => Record<string, unknown>;
  readonly count: number;
  readonly seed: number;
}

function mutated(): Mutated[] {
  const fields = {
    givenName: 'Ada',
    familyName: 'Lovelace',
    emails: [{ address: 'ada@example.org', type: 'work', primary: true }],
    phones: [{ number: '+49 30 123456' }],
    urls: [{ url: 'https://example.org/a?b=c' }],
    birthday: { year: 1815, month: 12, day: 10 },
    notes: 'Ω 🦉\nnotes',
    starred: true,
  };
  const requests: [DescMethodUnary, Mutated['request']][] = [
    [createContact, () => ({ ...fields, addresses: [{ city: 'London', country: 'GB' }] })],
    [
      updateContact,
      (w) => ({
        contactId: w.contact.id,
        etag: w.contact.etag,
        givenName: 'A',
        emails: { values: fields.emails },
        birthday: { value: fields.birthday },
      }),
    ],
    [
      updateUser,
      (w) => ({
        userId: w.viewer.id,
        name: 'Zoë',
        email: 'zoe@example.org',
        username: 'zoe-1',
        role: Role.EDITOR,
        state: 1,
      }),
    ],
    [
      listUsers,
      (w) => ({
        pageSize: 10,
        pageToken: w.pageTokens.users,
        query: 'a',
        roles: [Role.EDITOR],
        includeTotalSize: true,
      }),
    ],
  ];
  return requests.flatMap(([method, request], i) =>
    (['proto', 'json'] as const).map((format, j) => ({ method, format, request, count: 250, seed: 2 * i + j + 1 })),
  );
}

/** One to four changes: a bit flipped, a byte replaced, some left out, put in or repeated, the end cut off. */
function mutate(original: Uint8Array, random: () => number): Buffer {
  let mutant = Buffer.from(original);
  const below = (n: number) => Math.floor(random() * n);
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(mutant.length + 1);
    const length = 1 + below(8);
    const before = mutant.subarray(0, at);
    switch (below(6)) {
      case 0:
        if (at < mutant.length) mutant.writeUInt8(mutant.readUInt8(at) ^ (1 << below(8)), at);
        break;
      case 1:
        if (at < mutant.length) mutant.writeUInt8(below(256), at);
        break;
      case 2:
        mutant = Buffer.concat([before, mutant.subarray(at + length)]);
        break;
      case 3:
        mutant = Buffer.concat([before, Buffer.from(Array.from({ length }, () => below(256))), mutant.subarray(at)]);
        break;
      case 4:
        mutant = Buffer.concat([before, mutant.subarray(at, at + length), mutant.subarray(at)]);
        break;
      default:
        mutant = Buffer.from(before);
    }
  }
  return mutant;
}

/** A generator of numbers from 0 to 1 that gives the same ones for the same seed (Tommy Ettinger's Mulberry32). */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
