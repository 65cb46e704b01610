import { identifierKey, searchTerm, wordTerms } from '../../kernel/text.ts';
import type { UserTable } from '../../storage/schema.ts';

/** What is stored of a field beside its value, which is in the column of the same name as it is. */
interface StoredField {
  /** The unique column that holds the field as identifierKey. */
  readonly keyColumn?: 'username_key' | 'email_key';
  /** What finds the user in a search. */
  readonly terms?: (value: string) => readonly string[];
}

/** Every field of a user that can be set, in the order in which an activity names them. */
const FIELDS = {
  username: { keyColumn: 'username_key', terms: (username) => [searchTerm(username)] },
  email: { keyColumn: 'email_key', terms: (email) => [searchTerm(email)] },
  name: { terms: wordTerms },
  role: {},
  state: {},
} as const satisfies { readonly [Name in keyof UserTable]?: StoredField };
type Field = keyof typeof FIELDS;

const FIELD_LIST = Object.entries(FIELDS) as readonly [Field, StoredField][];

/** The names of the fields, which are those of their columns. */
export const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[];

/** The fields of a user that can be set. */
export type UserFields = Readonly<Pick<UserTable, Field>>;

/** The columns that hold the fields, and those that are derived from them. */
export type FieldColumns = UserFields & Pick<UserTable, 'username_key' | 'email_key'>;

export function toColumns(fields: UserFields): FieldColumns {
  const columns: Record<string, string> = {};
  for (const [name, { keyColumn }] of FIELD_LIST) {
    columns[name] = fields[name];
    if (keyColumn !== undefined) columns[keyColumn] = identifierKey(fields[name]);
  }
  return columns as unknown as FieldColumns;
}

const NO_FIELDS = Object.fromEntries(FIELD_NAMES.map((name) => [name, ''])) as unknown as UserFields;

export function toFields(row: UserFields): UserFields {
  const fields: Record<string, string> = { ...NO_FIELDS };
  for (const name of FIELD_NAMES) fields[name] = row[name];
  return fields as unknown as UserFields;
}

/** What finds a user with these fields. */
export function termsOf(fields: UserFields): string[] {
  return FIELD_LIST.flatMap(([name, { terms }]) => terms?.(fields[name]) ?? []);
}

/** The fields that differ. */
export function changedFields(fields: UserFields, others: UserFields): Field[] {
  return FIELD_NAMES.filter((name) => fields[name] !== others[name]);
}
