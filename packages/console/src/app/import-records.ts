import { type DescField, type DescMessage, fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { type ImportedUser, ImportedUserSchema } from '@kith/client/users';
import { readCsv } from './csv.ts';

/** A record of a file of users, or why it is none. */
export type ImportRecord = { readonly line: number } & (
  | { readonly user: ImportedUser }
  | { readonly problem: 'not-json' | 'not-object' | 'unknown-field' | 'unread' | 'cells'; readonly about: string }
);

/** The fields that a record may have, as the contract calls them. */
export const USER_FIELDS: readonly string[] = ImportedUserSchema.fields.map(({ name }) => name);

/** Other names that exports give to columns, without blanks and signs. */
const SYNONYMS: Readonly<Record<string, string>> = {
  id: 'user_id',
  uuid: 'user_id',
  login: 'username',
  mail: 'email',
  emailaddress: 'email',
  fullname: 'name',
  displayname: 'name',
  hash: 'password_hash',
  createdat: 'create_time',
  created: 'create_time',
  language: 'locale',
  timezone: 'time_zone',
};

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');

/** The field that a name most likely means; undefined where none is like it. */
export function fieldOf(name: string): string | undefined {
  const wanted = plain(name);
  return USER_FIELDS.find((field) => plain(field) === wanted) ?? SYNONYMS[wanted];
}

/** The records of JSON, one a line, as `kith users import` takes them. */
export function* readJsonLines(text: string): Generator<ImportRecord> {
  for (const [i, written] of text.split('\n').entries()) {
    if (written.trim() === '') continue;
    const line = i + 1;
    let record: unknown;
    try {
      record = JSON.parse(written);
    } catch {
      yield { line, problem: 'not-json', about: written.slice(0, 40) };
      continue;
    }
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      yield { line, problem: 'not-object', about: written.slice(0, 40) };
      continue;
    }
    yield toRecord(line, Object.entries(record) as [string, JsonValue][]);
  }
}

/** The names of the columns, and how many rows there are besides. */
export function readHeader(text: string): readonly string[] {
  const [header] = readCsv(text);
  return header?.cells.map((cell) => cell.trim()) ?? [];
}

/** The records of CSV. `fields`: what each column holds; '' for one that is left out. An empty cell is an absent field. */
export function* readCsvRecords(text: string, fields: readonly string[]): Generator<ImportRecord> {
  const rows = readCsv(text);
  rows.next();
  for (const { line, cells } of rows) {
    if (cells.length !== fields.length) {
      yield { line, problem: 'cells', about: `${cells.length} / ${fields.length}` };
      continue;
    }
    const entries = cells.flatMap((cell, i): [string, JsonValue][] =>
      cell === '' || fields[i] === '' ? [] : [[fields[i]!, cell]],
    );
    yield toRecord(line, entries);
  }
}

function toRecord(line: number, entries: readonly [name: string, value: JsonValue][]): ImportRecord {
  const message: JsonObject = {};
  for (const [name, value] of entries) {
    const field = fieldNamed(ImportedUserSchema, name);
    if (field === undefined) return { line, problem: 'unknown-field', about: name };
    message[field.jsonName] = typeof value === 'string' ? valueOf(field, value) : value;
  }
  try {
    return { line, user: fromJson(ImportedUserSchema, message) };
  } catch (thrown) {
    return {
      line,
      problem: 'unread',
      about: (thrown as Error).message.replace(/^.*?field [\w.]*\./, '').slice(0, 120),
    };
  }
}

function fieldNamed({ fields }: DescMessage, name: string): DescField | undefined {
  const wanted = plain(name);
  return fields.find((field) => plain(field.name) === wanted);
}

/** A text as JSON has it: words of enums may be short, "editor". What does not fit stays as it is, and is refused then. */
function valueOf(field: DescField, text: string): JsonValue {
  if (field.fieldKind === 'enum') {
    const word = text.trim().toUpperCase();
    const found = field.enum.values.find(({ name, localName }) => name === word || localName.toUpperCase() === word);
    return found?.name ?? text;
  }
  if (field.fieldKind === 'scalar' && /^(true|false)$/i.test(text.trim()) && field.name === 'must_change_password')
    return text.trim().toLowerCase() === 'true';
  return text;
}
