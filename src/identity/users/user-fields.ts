import { identifierKey, SEARCH_VERSION, searchTerm, wordTerms } from '../../kernel/text.ts';
import type { UserTable } from '../../storage/schema.ts';
import { metadataTerms } from './metadata.ts';

/** How a field of a user is stored in a column. */
interface StoredField<Column extends keyof UserTable, Value> {
  readonly column: Column;
  readonly write: (value: Value) => UserTable[Column];
  readonly read: (stored: UserTable[Column]) => Value;
  /** The name of the field in the contract, which activities give. */
  readonly name: string;
  /** The unique column that holds the field as identifierKey. */
  readonly keyColumn?: 'username_key' | 'email_key';
  /** What finds the user in a search. */
  readonly terms?: (value: Value) => readonly string[];
}

/** A field that is stored as it is. */
function plain<Column extends keyof UserTable>(
  column: Column,
  more: Partial<StoredField<Column, UserTable[Column]>> = {},
): StoredField<Column, UserTable[Column]> {
  return { column, name: column, write: (value) => value, read: (stored) => stored, ...more };
}

function stored<Column extends keyof UserTable, Value>(field: StoredField<Column, Value>): StoredField<Column, Value> {
  return field;
}

/** Every field of a user that can be set, in the order in which an activity names them. */
const FIELDS = {
  username: plain('username', { keyColumn: 'username_key', terms: (username) => [searchTerm(username)] }),
  email: plain('email', { keyColumn: 'email_key', terms: (email) => [searchTerm(email)] }),
  name: plain('name', { terms: (name) => wordTerms(name) }),
  role: plain('role'),
  state: plain('state'),
  /** Null where it is empty: a unique column takes as many nulls as there are. */
  externalId: stored<'external_id', string>({
    column: 'external_id',
    name: 'external_id',
    write: (id) => (id === '' ? null : id),
    read: (id) => id ?? '',
  }),
  publicMetadata: plain('public_metadata', { terms: (text) => metadataTerms('public_metadata', text) }),
  privateMetadata: plain('private_metadata', { terms: (text) => metadataTerms('private_metadata', text) }),
  locale: plain('locale'),
  timeZone: plain('time_zone'),
  avatarUrl: plain('avatar_url'),
  emailVerifiedMs: stored<'email_verified_ms', number | undefined>({
    column: 'email_verified_ms',
    name: 'email_verified_time',
    write: (time) => time ?? null,
    read: (time) => time ?? undefined,
  }),
};
type Field = keyof typeof FIELDS;
type FieldColumn = (typeof FIELDS)[Field]['column'];

/** FIELDS as a list. Each field reads and writes its own column, which a type cannot say of all of them. */
const FIELD_LIST = Object.entries(FIELDS) as unknown as readonly [Field, StoredField<FieldColumn, unknown>][];

/** The columns of the fields. */
export const FIELD_COLUMNS = FIELD_LIST.map(([, { column }]) => column);

/** The fields of a user that can be set. */
export type UserFields = { readonly [Name in Field]: ReturnType<(typeof FIELDS)[Name]['read']> };

/** The columns that hold the fields. */
type StoredFields = Readonly<Pick<UserTable, FieldColumn>>;

/** The columns that hold the fields, and those that are derived from them. */
export type FieldColumns = StoredFields & Pick<UserTable, 'username_key' | 'email_key' | 'name_key' | 'search_version'>;

export function toColumns(fields: UserFields): FieldColumns {
  const columns: Record<string, unknown> = { name_key: nameKey(fields.name), search_version: SEARCH_VERSION };
  for (const [name, { column, write, keyColumn }] of FIELD_LIST) {
    columns[column] = write(fields[name]);
    if (keyColumn !== undefined) columns[keyColumn] = identifierKey(String(fields[name]));
  }
  return columns as unknown as FieldColumns;
}

/** What lists are sorted by. */
function nameKey(name: string): string {
  return searchTerm(name);
}

const NO_FIELDS = Object.fromEntries(FIELD_LIST.map(([name]) => [name, ''])) as unknown as UserFields;

export function toFields(row: StoredFields): UserFields {
  const fields: Record<string, unknown> = { ...NO_FIELDS };
  for (const [name, { column, read }] of FIELD_LIST) fields[name] = read(row[column]);
  return fields as unknown as UserFields;
}

/** What finds a user with these fields. */
export function termsOf(fields: UserFields): string[] {
  return FIELD_LIST.flatMap(([name, { terms }]) => terms?.(fields[name]) ?? []);
}

/** The names in the contract of the fields that differ. */
export function changedFields(fields: UserFields, others: UserFields): string[] {
  return FIELD_LIST.filter(([name]) => fields[name] !== others[name]).map(([, { name }]) => name);
}
