import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { changeEachRow } from './rows.ts';

/**
 * Stores the responses to request ids in protobuf's binary format, base64: until now they were
 * JSON of what had been created. The fields and their numbers are those of the contract at this
 * point; they stay as they are here when the contract gets more.
 */
export function migration(): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema.alterTable('requests').renameColumn('answer', 'response').execute();
      const columns = ['caller_id', 'request_id', 'method', 'response'] as const;
      await changeEachRow<Row>(db, 'requests', { key: ['caller_id', 'request_id'], columns }, (row) =>
        convert(db, row),
      );
    },
  };
}

type Row = {
  readonly caller_id: string;
  readonly request_id: string;
  readonly method: string;
  readonly response: string;
};

async function convert(db: Kysely<never>, { caller_id, request_id, method, response }: Row): Promise<void> {
  const key = sql`caller_id = ${caller_id} and request_id = ${request_id}`;
  const encode = RESPONSES[method];
  if (encode === undefined) {
    await sql`delete from requests where ${key}`.execute(db); // no version wrote one
    return;
  }
  const converted = encode(JSON.parse(response)).toString('base64');
  await sql`update requests set response = ${converted} where ${key}`.execute(db);
}

/** Writes a value as a field of a message; nothing if the value is absent or the default. */
type Field = (value: unknown) => Buffer;

const NOTHING = Buffer.alloc(0);

/** https://protobuf.dev/programming-guides/encoding/ */
const VARINT = 0;
const DELIMITED = 2;

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

function delimited(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | DELIMITED), varint(bytes.length), bytes]);
}

const text =
  (number: number): Field =>
  (value) =>
    typeof value === 'string' && value !== '' ? delimited(number, Buffer.from(value)) : NOTHING;

/** Of a field with presence: 0 is written too. */
const integer =
  (number: number): Field =>
  (value) =>
    typeof value === 'number' ? Buffer.concat([varint((number << 3) | VARINT), varint(value)]) : NOTHING;

const flag =
  (number: number): Field =>
  (value) =>
    value === true ? integer(number)(1) : NOTHING;

/** An enum whose values count from 1 in this order. */
const choice =
  (number: number, names: readonly string[]): Field =>
  (value) => {
    const index = names.indexOf(String(value));
    return index < 0 ? NOTHING : integer(number)(index + 1);
  };

const message =
  (number: number, fields: Readonly<Record<string, Field>>): Field =>
  (value) =>
    typeof value === 'object' && value !== null ? delimited(number, written(fields, value)) : NOTHING;

const list =
  (item: Field): Field =>
  (value) =>
    Array.isArray(value) ? Buffer.concat(value.map(item)) : NOTHING;

const textMap =
  (number: number): Field =>
  (value) =>
    list(message(number, { 0: text(1), 1: text(2) }))(Object.entries(value ?? {}));

/** Milliseconds since 1970 as a google.protobuf.Timestamp. */
const time =
  (number: number): Field =>
  (value) => {
    if (typeof value !== 'number') return NOTHING;
    const seconds = Math.floor(value / 1000);
    const nanos = (value - seconds * 1000) * 1_000_000;
    const parts = [seconds === 0 ? NOTHING : integer(1)(seconds), nanos === 0 ? NOTHING : integer(2)(nanos)];
    return delimited(number, Buffer.concat(parts));
  };

function written(fields: Readonly<Record<string, Field>>, value: object): Buffer {
  return Buffer.concat(Object.entries(fields).map(([name, field]) => field(Reflect.get(value, name))));
}

const USER = {
  id: text(1),
  username: text(2),
  email: text(3),
  name: text(4),
  role: choice(5, ['viewer', 'editor', 'admin']),
  state: choice(6, ['active', 'suspended', 'deleted']),
  createMs: time(7),
  updateMs: time(8),
  deleteMs: time(9),
  purgeMs: time(10),
  etag: text(11),
};

const ADDRESS = {
  street: text(1),
  city: text(2),
  region: text(3),
  postalCode: text(4),
  country: text(5),
  type: text(6),
  primary: flag(7),
};

const CONTACT = {
  id: text(1),
  givenName: text(2),
  familyName: text(3),
  company: text(4),
  jobTitle: text(5),
  emails: list(message(6, { address: text(1), type: text(2), primary: flag(3) })),
  phones: list(message(7, { number: text(1), type: text(2), primary: flag(3) })),
  addresses: list(message(8, ADDRESS)),
  urls: list(message(9, { url: text(1), type: text(2), primary: flag(3) })),
  birthday: message(10, { year: integer(1), month: integer(2), day: integer(3) }),
  notes: text(11),
  starred: flag(12),
  createMs: time(13),
  updateMs: time(14),
  deleteMs: time(15),
  purgeMs: time(16),
  etag: text(17),
};

const ACTIVITY = {
  id: text(1),
  userId: text(2),
  actorId: text(3),
  actorSessionId: text(4),
  action: text(5),
  details: text(6),
  attributes: textMap(7),
  eventMs: time(8),
  recordMs: time(9),
};

/** The responses of the methods that take a request id. Each has one field, with what was created. */
const RESPONSES: Readonly<Record<string, Field>> = {
  CreateUser: message(1, USER),
  CreateContact: message(1, CONTACT),
  RecordUserActivity: list(message(1, ACTIVITY)),
};
