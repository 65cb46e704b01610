import type { DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { UsageError } from '../command.ts';
import { fieldJson } from '../resources/fields.ts';
import { didYouMean } from '../suggest.ts';
import { readLines } from '../terminal/lines.ts';
import { readCsv } from './csv.ts';

/** A record of a file as a request, or why it is none. */
export type Row =
  | { readonly line: number; readonly request: JsonObject }
  | { readonly line: number; readonly problem: string };

export type Format = 'jsonl' | 'csv';

export const FORMATS: readonly Format[] = ['jsonl', 'csv'];

/** The format that the name of a file says; undefined where it says none. */
export function formatOf(file: string): Format | undefined {
  if (/\.csv$/i.test(file)) return 'csv';
  return /\.(jsonl|ndjson|json)$/i.test(file) ? 'jsonl' : undefined;
}

/** What `--map COLUMN=FIELD` says, by the column. Throws UsageError. */
export function columnMap(given: readonly string[]): Map<string, string> {
  return new Map(
    given.map((text) => {
      const at = text.lastIndexOf('=');
      if (at < 1) throw new UsageError(`--map takes COLUMN=FIELD, not ${JSON.stringify(text)}`);
      return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    }),
  );
}

/** The records of JSON, one a line, each as the request has it; words of enums may be short: `"role": "editor"`. */
export async function* readJsonRecords(bytes: AsyncIterable<Uint8Array>, schema: DescMessage): AsyncGenerator<Row> {
  let line = 0;
  for await (const text of readLines(bytes)) {
    line += 1;
    if (text.trim() === '') continue;
    yield jsonRow(line, text, schema);
  }
}

function jsonRow(line: number, text: string, schema: DescMessage): Row {
  try {
    const record = JSON.parse(text) as JsonValue;
    if (typeof record !== 'object' || record === null || Array.isArray(record))
      return { line, problem: 'is not an object: {...}' };
    const request = Object.entries(record).map(([name, value]): [string, JsonValue] => {
      const field = fieldNamed(schema, name);
      if (field === undefined) throw new UsageError(unknownField(name, schema));
      return [
        field.jsonName,
        field.enum !== undefined && typeof value === 'string' ? fieldJson(field, [value]) : value,
      ];
    });
    return { line, request: Object.fromEntries(request) };
  } catch (error) {
    return { line, problem: error instanceof SyntaxError ? `is not JSON: ${error.message}` : (error as Error).message };
  }
}

/**
 * The records of CSV, whose first row names the field of each column. `map` names the field of columns that are called
 * otherwise, by the column; `-` leaves a column out. An empty cell is an absent field. Throws UsageError for a column that is
 * no field.
 */
export async function* readCsvRecords(
  bytes: AsyncIterable<Uint8Array>,
  schema: DescMessage,
  map: ReadonlyMap<string, string>,
): AsyncGenerator<Row> {
  let fields: (ReturnType<typeof fieldNamed> | 'none')[] | undefined;
  for await (const { line, cells } of readCsv(decoded(bytes))) {
    if (fields === undefined) {
      const unused = new Set(map.keys());
      fields = cells.map((column) => {
        unused.delete(column.trim());
        const name = map.get(column.trim()) ?? column.trim();
        if (name === '-') return 'none';
        const field = fieldNamed(schema, name);
        if (field !== undefined) return field;
        throw new UsageError(
          `${unknownField(name, schema)}. --map '${column.trim()}=FIELD' names its field, --map '${column.trim()}=-' leaves it out`,
        );
      });
      const [first] = unused;
      if (first !== undefined) throw new UsageError(`there is no column ${JSON.stringify(first)} to --map`);
      continue;
    }
    yield csvRow(line, cells, fields);
  }
}

function csvRow(
  line: number,
  cells: readonly string[],
  fields: readonly (ReturnType<typeof fieldNamed> | 'none')[],
): Row {
  if (cells.length !== fields.length)
    return { line, problem: `has ${cells.length} cells, and the first row ${fields.length}` };
  try {
    const request: JsonObject = {};
    cells.forEach((cell, i) => {
      const field = fields[i];
      if (cell !== '' && field !== undefined && field !== 'none') request[field.jsonName] = fieldJson(field, [cell]);
    });
    return { line, request };
  } catch (error) {
    return { line, problem: (error as Error).message.replace(/^--/, '') };
  }
}

function fieldNamed({ fields }: DescMessage, name: string) {
  const wanted = name.replaceAll(/[-_ ]/g, '').toLowerCase();
  return fields.find((field) => field.name.replaceAll('_', '') === wanted);
}

function unknownField(name: string, { fields }: DescMessage): string {
  const names = fields.map((field) => field.name);
  return `there is no field ${JSON.stringify(name)}${didYouMean(name, names) || `; there is ${names.join(', ')}`}`;
}

async function* decoded(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for await (const chunk of bytes) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}
