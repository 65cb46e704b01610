import { randomUUID, randomUUIDv7 } from 'node:crypto';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  fromJsonString,
  type Message,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { DatabaseSync } from 'node:sqlite';
import { Client as PgClient } from 'pg';
import { describe, expect, test } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { etagOf } from '../src/storage/etag.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Generator, generator } from './support/generator.ts';
import { type Kith, startKith } from './support/kith.ts';

/** How many requests, half of them on each database. */
const REQUESTS = Number(process.env['KITH_TEST_REQUESTS'] ?? 5000);
const SEED = Number(process.env['KITH_TEST_SEED'] ?? 1);

/** A row of `users` or `contacts`, by column. */
type Row = Readonly<Record<string, unknown>>;
type Rows = ReadonlyMap<string, Row>;

/** What a call may write when it is answered. */
interface Effect {
  readonly table: 'users' | 'contacts';
  /** Adds one row and touches no other. */
  readonly creates?: boolean;
  /** Columns that it writes in any case. */
  readonly always?: readonly string[];
  /** Columns that it writes when the request has the field. */
  readonly fields?: Readonly<Record<string, readonly string[]>>;
}

/** What users change of themselves, beside the name. */
const OWN_FIELDS = ['locale', 'time_zone', 'avatar_url'];
const METADATA = ['public_metadata', 'private_metadata'];
/** The fields of a contact that are in a column of their name. */
const CONTACT_COLUMNS = new Set(
  'given_name family_name company job_title emails phones addresses urls birthday notes starred uid'.split(' '),
);
const DELETION = ['delete_ms', 'purge_ms', 'update_ms', 'revision'];

/** The methods that write users and contacts, how often each is called, and what it may write: written down a second time. */
const METHODS: readonly { method: DescMethodUnary; weight: number; effect: Effect }[] = [
  {
    method: UserService.method.updateUser,
    weight: 30,
    effect: {
      table: 'users',
      always: ['update_ms', 'revision'],
      fields: {
        name: ['name', 'name_key'],
        username: ['username', 'username_key'],
        email: ['email', 'email_key', 'email_verified_ms'],
        role: ['role'],
        state: ['state', 'session_epoch'],
        email_verified: ['email_verified_ms'],
        ...Object.fromEntries([...OWN_FIELDS, 'external_id', ...METADATA].map((name) => [name, [name]])),
      },
    },
  },
  {
    method: ContactService.method.updateContact,
    weight: 30,
    effect: {
      table: 'contacts',
      always: ['update_ms', 'revision', 'sort_key', 'bytes'],
      fields: Object.fromEntries(
        ContactService.method.updateContact.input.fields
          .filter(({ name }) => !['contact_id', 'etag', 'phone_region'].includes(name))
          .map(({ name }) => [name, [CONTACT_COLUMNS.has(name) ? name : 'details']]),
      ),
    },
  },
  { method: UserService.method.createUser, weight: 10, effect: { table: 'users', creates: true } },
  { method: ContactService.method.createContact, weight: 8, effect: { table: 'contacts', creates: true } },
  {
    method: UserService.method.setUserPassword,
    weight: 6,
    effect: { table: 'users', always: ['password_hash', 'must_change_password', 'session_epoch'] },
  },
  {
    method: AuthService.method.changePassword,
    weight: 2,
    effect: { table: 'users', always: ['password_hash', 'session_epoch'] },
  },
  ...(
    [
      [UserService.method.deleteUser, 3],
      [UserService.method.undeleteUser, 6],
    ] as const
  ).map(([method, weight]) => ({
    method,
    weight,
    effect: { table: 'users', always: [...DELETION, 'state', 'undelete_state', 'session_epoch'] } as const,
  })),
  ...(
    [
      [ContactService.method.deleteContact, 3],
      [ContactService.method.undeleteContact, 6],
    ] as const
  ).map(([method, weight]) => ({
    method,
    weight,
    effect: { table: 'contacts', always: [...DELETION, 'deleted'] } as const,
  })),
];

/** Who calls. */
interface Caller {
  readonly name: string;
  readonly id: string;
  readonly accessToken: string;
  /** Whom the caller may write to: themselves alone, viewers and nobody's role, or everybody. */
  readonly reach: 'self' | 'viewers' | 'all';
}

describe.each(databases)('on $name', (kind) => {
  test('no request changes a field that is protected from it', { timeout: 600_000 }, async () => {
    await using database = await kind.create();
    await using kith = await startKith({ database, env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
    await using reader = await openReader(database);
    const random = generator(SEED);
    const callers = await makeCallers(kith);
    const admin = callers.find(({ name }) => name === 'an admin')!;
    const world = await makeWorld(kith, callers);
    const untouched = await rest(reader);

    const counts = new Map<string, number>();
    let before = await read(reader);
    for (let i = 0; i < REQUESTS / 2; i++) {
      const { method, effect } = weighted(random);
      const caller = random.pick(
        effect.table === 'users'
          ? [...callers, ...callers.filter(({ reach }) => reach === 'viewers'), admin, admin, admin]
          : callers,
      );
      const request = makeRequest(random, method, world.poolFor(random, caller, effect.table, before));
      const status = await send(kith, method, caller, request);
      const after = await read(reader);
      const wrong = violations({ method, effect, caller, status, sent: request.sent, before, after });
      expect(wrong, `seed ${SEED}, request ${i}: ${caller.name} calls ${method.name} with ${request.shown}`).toEqual(
        [],
      );
      const key = `${method.name} ${status === 200 ? 'ok' : 'refused'}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      before = after;
    }

    // Of each some went through and some did not: else this shows nothing.
    for (const { method } of METHODS) {
      expect(counts.get(`${method.name} refused`) ?? 0, `${method.name} refused`).toBeGreaterThan(0);
      if (method === AuthService.method.changePassword) continue; // nobody here knows a password
      expect(counts.get(`${method.name} ok`) ?? 0, `${method.name} ok`).toBeGreaterThan(0);
    }
    expect(await rest(reader)).toEqual(untouched);
    expect(await database.faults()).toEqual([]);
  });
});

async function makeCallers(kith: Kith): Promise<Caller[]> {
  const signedIn = [
    ['a viewer', await kith.user(Role.VIEWER)],
    ['another viewer', await kith.user(Role.VIEWER)],
    ['an editor', await kith.user(Role.EDITOR)],
    ['an admin', await kith.user(Role.ADMIN)],
  ] as const;
  return [
    { name: 'nobody', id: randomUUIDv7(), accessToken: '', reach: 'self' },
    ...signedIn.map(([name, { user, accessToken }]) => ({
      name,
      id: user.id,
      accessToken,
      reach: name === 'an admin' ? ('all' as const) : ('self' as const),
    })),
    await makeKey(kith, 'a key that writes users', 'viewers', [Permission.USERS_WRITE, Permission.CONTACTS_WRITE]),
    await makeKey(kith, 'a key that writes users and roles', 'all', [
      Permission.USERS_WRITE,
      Permission.ROLES_WRITE,
      Permission.CONTACTS_WRITE,
    ]),
  ];
}

async function makeKey(kith: Kith, name: string, reach: Caller['reach'], permissions: Permission[]): Promise<Caller> {
  const { user, accessToken } = await kith.user(Role.ADMIN);
  const { secret } = await kith.client(ApiKeyService, accessToken).createApiKey({ name, permissions });
  return { name, id: user.id, accessToken: secret, reach };
}

/** What requests are made of. */
interface Pool {
  readonly ids: readonly string[];
  readonly etags: readonly string[];
  readonly serial: () => number;
}

async function makeWorld(kith: Kith, callers: readonly Caller[]) {
  const { accessToken } = await kith.admin();
  const users = kith.client(UserService, accessToken);
  const victims: string[] = [];
  for (let i = 0; i < 6; i++) victims.push((await users.createUser(newUser(i))).user!.id);
  for (const { accessToken: own } of callers) {
    if (own === '') continue;
    const contacts = kith.client(ContactService, own);
    for (const givenName of ['Ada', 'Grace', 'Edsger']) await contacts.createContact({ givenName });
  }
  let count = 0;
  return {
    /** An admin may suspend or delete others: those who make the calls are left alone, so that they can go on. */
    poolFor(random: Generator, caller: Caller, table: Effect['table'], { users: userRows, contacts }: Snapshot): Pool {
      const contactIds = (isOwn: boolean) =>
        [...contacts.values()]
          .filter((row) => (row['owner_id'] === caller.id) === isOwn)
          .slice(0, 6)
          .map((row) => String(row['id']));
      const userIds =
        caller.reach !== 'self' ? victims : [...Array(5).fill(caller.id), ...[...userRows.keys()].slice(0, 8)];
      const [likely, others] =
        table === 'users' ? [userIds, contactIds(true)] : [contactIds(true), [...contactIds(false), ...userIds]];
      const id: string = random.pick(likely.length === 0 || random.below(4) === 0 ? [...likely, ...others] : likely);
      const row = userRows.get(id) ?? contacts.get(id);
      return {
        ids: [id, id, id, id, id, id, id.toUpperCase(), randomUUIDv7(), random.text(12), `${id}\0`, ''],
        etags: [
          'x',
          '',
          ...(row ? [etagOf({ revision: Number(row['revision']), update_ms: Number(row['update_ms']) })] : []),
        ],
        serial: () => count++,
      };
    },
  };
}

function newUser(i: number) {
  const username = `victim${i}.${randomUUID()}`;
  const role = [Role.VIEWER, Role.VIEWER, Role.VIEWER, Role.VIEWER, Role.EDITOR, Role.ADMIN][i]!;
  return { username, email: `${username}@example.org`, name: 'Victim', role, password: 'a good password' };
}

interface Snapshot {
  readonly users: Rows;
  readonly contacts: Rows;
}

/** All rows of a table, read beside the server on one connection. */
type Reader = (table: string) => Promise<Row[]>;

async function openReader({ url }: TestDatabase): Promise<Reader & AsyncDisposable> {
  if (url.startsWith('sqlite:')) {
    const file = new DatabaseSync(url.slice('sqlite:'.length), { readOnly: true });
    const select = async (table: string) => file.prepare(`select * from ${table}`).all() as Row[];
    return Object.assign(select, { [Symbol.asyncDispose]: async () => file.close() });
  }
  const client = new PgClient({ connectionString: url });
  await client.connect();
  const select = async (table: string) => (await client.query<Row>(`select * from ${table}`)).rows;
  return Object.assign(select, { [Symbol.asyncDispose]: () => client.end() });
}

async function read(reader: Reader): Promise<Snapshot> {
  const byId = (rows: Row[]) => new Map(rows.map((row) => [String(row['id']), row]));
  return { users: byId(await reader('users')), contacts: byId(await reader('contacts')) };
}

/** What none of these methods writes at all. */
async function rest(reader: Reader): Promise<object> {
  const rows: Record<string, Row[]> = {};
  for (const table of ['signing_keys', 'second_factors', 'recovery_codes', 'api_keys']) {
    // When a key was last used is noted in the background.
    rows[table] = (await reader(table)).map((row) => ({ ...row, last_used_ms: null }));
  }
  return rows;
}

function weighted(random: Generator) {
  let left = random.below(METHODS.reduce((sum, { weight }) => sum + weight, 0));
  return METHODS.find(({ weight }) => (left -= weight) < 0)!;
}

interface Request {
  readonly body: string | Uint8Array;
  /** What a reader of the contract makes of the body; undefined when nothing. */
  readonly sent: Message | undefined;
  readonly shown: string;
}

function makeRequest(random: Generator, { input }: DescMethodUnary, pool: Pool): Request {
  const message = makeMessage(random, input, pool);
  return random.below(2) === 0 ? asJson(random, input, message) : asBinary(random, input, message);
}

function makeMessage(random: Generator, desc: DescMessage, pool: Pool): Message {
  const message = create(desc);
  const reflected = reflect(desc, message);
  for (const field of desc.fields) {
    if (random.below(100) >= likelihood(field)) continue;
    if (field.name === 'password' && reflected.get(desc.field['passwordHash'] ?? field) !== '') continue;
    switch (field.fieldKind) {
      case 'scalar':
        reflected.set(field, typeof reflected.get(field) === 'boolean' ? true : textFor(random, field, pool));
        break;
      case 'enum':
        reflected.set(field, random.pick([1, 2, 1, 2, 1, 2, 1, 2, 3, 3, 0, 4, 99, -1]));
        break;
      case 'message':
        reflected.set(field, reflect(field.message, makeMessage(random, field.message, pool)));
        break;
      case 'list':
        if (field.listKind !== 'message') break;
        for (let i = random.below(3); i > 0; i--) {
          reflected.get(field).add(reflect(field.message, makeMessage(random, field.message, pool)));
        }
        break;
      case 'map':
        break;
    }
  }
  return message;
}

/** Of a hundred requests, how many have the field: enough that some are answered. */
function likelihood(field: DescField): number {
  if (field.proto.proto3Optional) return field.name === 'etag' ? 15 : 35;
  if (REQUIRED.includes(field.name)) return 97;
  return field.name === 'primary' ? 10 : 35;
}

const REQUIRED = (
  'user_id contact_id username email name password current_password new_password given_name address number street url ' +
  'year month day'
).split(' ');

const HASH = '$pbkdf2-sha256$1000$cGFzc2xpYiBwYmtkZjL/..8$MwkpNX/HZtw5CbLKIZ731YdW/Y0NlfwXEeJUdoN8TEM';

/** Mostly what the field is for. */
function textFor(random: Generator, field: DescField, pool: Pool): unknown {
  if (field.name === 'year') return 1990 + random.below(20);
  if (field.name === 'month' || field.name === 'day') return 1 + random.below(13);
  if (random.below(40) === 0) return random.text(20);
  const serial = pool.serial();
  switch (field.name) {
    case 'user_id':
    case 'contact_id':
      return random.pick(pool.ids);
    case 'etag':
      return random.pick(pool.etags);
    case 'request_id':
      return random.pick([randomUUID(), randomUUID(), '00000000-0000-4000-8000-000000000000']);
    case 'username':
      return `fuzz${serial}`;
    case 'email':
    case 'address':
      return `fuzz${serial}@example.org`;
    case 'password':
    case 'new_password':
      return random.pick([`a good password ${serial}`, `a good password ${serial}`, `fuzz${serial}`, 'password123']);
    case 'current_password':
      return 'not the password';
    case 'password_hash':
      return random.pick([HASH, HASH, HASH, HASH.replace('1000', '9999999'), 'x']);
    case 'number':
      return `+44 ${serial}`;
    case 'external_id':
      return random.pick([`Ext|${serial}`, `Ext|${serial}`, 'Ext|of several', '']);
    case 'public_metadata':
    case 'private_metadata':
      return random.pick([`{"plan":"p${serial}"}`, `{"a":{"b":${serial}}}`, '{"plan":null}', '[]', '{', '']);
    case 'locale':
      return random.pick(['de', 'pt-br', 'de-de-de', '']);
    case 'time_zone':
      return random.pick(['Europe/Berlin', 'Asia/Kolkata', 'Mars/Olympus_Mons', '']);
    case 'avatar_url':
      return random.pick([`https://example.org/${serial}.png`, `http://example.org/${serial}.png`, '']);
    case 'url':
      return `https://example.org/${serial}`;
    default:
      return `Text ${serial}`;
  }
}

/** Names of columns, of fields of other messages, and of what objects have in JavaScript. */
const OTHER_NAMES = (
  'passwordHash password_hash sessionEpoch session_epoch mustChangePassword must_change_password ' +
  'createTime create_ms deleteTime purgeTime revision ownerId owner_id userId permissions id role roles ' +
  'state deleted undelete_state last_sign_in_ms isAdmin user contact __proto__ constructor prototype ' +
  'toString $set user.role user[role] ROLE 1 99 '
).split(' ');

const OTHER_VALUES: readonly unknown[] = [
  'ROLE_ADMIN',
  'USER_STATE_DELETED',
  'x',
  '',
  3,
  0,
  true,
  null,
  { role: 'ROLE_ADMIN', passwordHash: 'x' },
  ['ROLE_ADMIN'],
  {},
];

function asJson(random: Generator, desc: DescMessage, message: Message): Request {
  let body: string;
  try {
    body = JSON.stringify(toJson(desc, message, { useProtoFieldName: random.below(3) === 0 }));
  } catch {
    body = '{}'; // an enum of no name
  }
  // As text, so that a name may come twice and __proto__ is one like others.
  for (let i = Math.max(0, random.below(9) - 6); i > 0; i--) {
    const extra = `${JSON.stringify(random.pick(OTHER_NAMES))}:${JSON.stringify(random.pick(OTHER_VALUES))}`;
    if (body === '{}') body = `{${extra}}`;
    else body = random.below(2) === 0 ? `{${extra},${body.slice(1)}` : `${body.slice(0, -1)},${extra}}`;
  }
  return { body, sent: parsed(() => fromJsonString(desc, body)), shown: body };
}

function asBinary(random: Generator, desc: DescMessage, message: Message): Request {
  let body = toBinary(desc, message);
  for (let i = Math.max(0, random.below(9) - 6); i > 0; i--) {
    const writer = new BinaryWriter();
    const number = 1 + random.below(random.below(4) === 0 ? 2000 : 20);
    switch (random.below(4)) {
      case 0:
        writer.tag(number, WireType.Varint).uint32(random.below(5));
        break;
      case 1:
        writer.tag(number, WireType.Bit64).fixed64(1n);
        break;
      default: // perhaps a field once more: the last one counts
        writer.tag(number, WireType.LengthDelimited).string(random.pick(['ROLE_ADMIN', 'x', '\u0008\u0003', '']));
    }
    const extra = writer.finish();
    body = random.below(2) === 0 ? Buffer.concat([extra, body]) : Buffer.concat([body, extra]);
  }
  if (random.below(25) === 0) body = body.subarray(0, random.below(body.length + 1));
  return {
    body,
    sent: parsed(() => fromBinary(desc, body)),
    shown: `${Buffer.from(body).toString('hex')} (binary)`,
  };
}

function parsed(read: () => Message): Message | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The HTTP status: Connect's are one to one with codes. */
async function send(kith: Kith, method: DescMethodUnary, caller: Caller, { body }: Request): Promise<number> {
  const response = await fetch(`${kith.address}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: {
      'content-type': typeof body === 'string' ? 'application/json' : 'application/proto',
      ...(caller.accessToken && { authorization: `Bearer ${caller.accessToken}` }),
    },
    body: Buffer.from(body),
  });
  await response.arrayBuffer();
  return response.status;
}

interface Outcome {
  readonly method: DescMethodUnary;
  readonly effect: Effect;
  readonly caller: Caller;
  readonly status: number;
  readonly sent: Message | undefined;
  readonly before: Snapshot;
  readonly after: Snapshot;
}

/** What was written that may not be, as sentences. */
function violations({ method, effect, caller, status, sent, before, after }: Outcome): string[] {
  const found: string[] = [];
  if (status >= 500) found.push(`it was answered with ${status}`);
  const answered = status === 200;
  if (answered && sent === undefined) found.push('what cannot be read was answered');
  if (answered && sent?.$unknown !== undefined) found.push('an unknown field was taken');
  const asked = sent as unknown as Readonly<Record<string, unknown>> | undefined;
  const target =
    method === AuthService.method.changePassword
      ? caller.id
      : String(asked?.['userId'] ?? asked?.['contactId']).toLowerCase();

  for (const table of ['users', 'contacts'] as const) {
    const isDue = answered && effect.table === table;
    const [old, now] = [before[table], after[table]];
    for (const id of old.keys()) if (!now.has(id)) found.push(`${table} ${id} is gone`);
    const added = [...now.values()].filter((row) => !old.has(String(row['id'])));
    // None when the request id was used before.
    if (added.length > (isDue && effect.creates ? 1 : 0)) found.push(`${added.length} rows more in ${table}`);
    for (const row of added) found.push(...wrongIn(row, table, caller, asked));

    for (const [id, row] of old) {
      const changed = Object.keys(row).filter((column) => row[column] !== now.get(id)?.[column]);
      if (changed.length === 0) continue;
      const permitted = isDue && !effect.creates && id === target ? columnsOf(effect, method, caller, sent) : [];
      const beyond = changed.filter((column) => !permitted.includes(column));
      if (beyond.length > 0) found.push(`${table} ${id}: ${beyond.join()} changed, ${permitted.join()} may`);
      if (table === 'contacts' && row['owner_id'] !== caller.id) found.push(`contact ${id} belongs to another`);
      if (table === 'users' && !isInReach(caller, row))
        found.push(`user ${id}, ${String(row['role'])}, is out of reach`);
    }
  }
  return found;
}

function isInReach({ reach, id }: Caller, user: Row): boolean {
  return reach === 'all' || (reach === 'viewers' ? user['role'] === 'viewer' : user['id'] === id);
}

function columnsOf(effect: Effect, method: DescMethodUnary, caller: Caller, sent: Message | undefined): string[] {
  const reflected = sent && reflect(method.input, sent);
  const present = method.input.fields.filter((field) => reflected?.isSet(field)).map(({ name }) => name);
  const updatable = { self: ['name', ...OWN_FIELDS], viewers: present.filter((name) => name !== 'role'), all: present }[
    caller.reach
  ];
  const own = method === UserService.method.updateUser ? updatable : present;
  return [
    ...(effect.always ?? []),
    ...present.filter((name) => own.includes(name)).flatMap((name) => effect.fields?.[name] ?? []),
  ];
}

/** What a new row has that nobody could ask for, or has not as it was asked for. */
function wrongIn(
  row: Row,
  table: string,
  caller: Caller,
  asked: Readonly<Record<string, unknown>> | undefined,
): string[] {
  const roles = ['viewer', 'viewer', 'editor', 'admin'];
  const due: Row =
    table === 'contacts'
      ? { owner_id: caller.id, deleted: 0, delete_ms: null, purge_ms: null, revision: 1 }
      : {
          role: caller.reach === 'all' ? roles[Number(asked?.['role'] ?? 0)] : 'viewer',
          state: 'active',
          undelete_state: null,
          must_change_password: asked?.['mustChangePassword'] ? 1 : 0,
          session_epoch: 0,
          last_sign_in_ms: null,
          delete_ms: null,
          purge_ms: null,
          revision: 1,
        };
  const wrong = Object.keys(due).filter((column) => String(row[column]) !== String(due[column]));
  const hash = row['password_hash'];
  if (table === 'users' && hash !== HASH && !String(hash).startsWith('$argon2id$v=19$m=64,t=1,p=1$')) {
    wrong.push('password_hash');
  }
  return wrong.map((column) => `the new row of ${table} has ${column} ${String(row[column])}`);
}
