import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { toJson } from '@bufbuild/protobuf';
import { ImportedUserSchema } from '../../../packages/client/src/contract.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from '../client/connect.ts';
import { findMethod, ownContract } from '../client/contract.ts';
import { explainCallFailure } from '../client/failures.ts';
import { curlOf } from '../client/explain.ts';
import { type Command, CommandError, type Invocation, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { unreadable } from '../input-files.ts';
import { countOf } from '../terminal/count.ts';
import { safeText } from '../terminal/safe-text.ts';
import { createPace } from './pace.ts';
import { columnMap, FORMATS, type Format, formatOf, readCsvRecords, readJsonRecords, type Row } from './records.ts';
import {
  batchesOf,
  importRecords,
  type ImportRecord,
  ON_CONFLICT,
  type OnConflict,
  type RecordRefusal,
  toRecord,
} from './user-import.ts';

export const importUsers: Command = {
  summary: 'Create users from a file of JSON lines or CSV, up to 250 in a call',
  details:
    'A record has the fields of ImportedUser: username, email, name, and where it is known role, password_hash (docs/import-users.md says how hashes are written), external_id, create_time and more. CSV names them in its first row. A user who is there and has all that the record says is unchanged, so that an import that was interrupted is simply run again; for one who differs see --on-conflict. A record that is refused is printed with its line, and the others go on; the import ends where going on is of no use, as when Kith cannot be reached.',
  args: [{ name: 'FILE', help: 'The file, or - for standard input.' }],
  options: {
    format: {
      value: 'FORMAT',
      values: FORMATS,
      help: 'How the file is written. Default: as its name says, jsonl or csv.',
    },
    map: {
      value: 'COLUMN=FIELD',
      multiple: true,
      help: 'The field of a column of CSV that is called otherwise; COLUMN=- leaves the column out.',
    },
    'on-conflict': {
      value: 'WHAT',
      values: ON_CONFLICT,
      help: 'What to do where the user is there and differs, or where the username, email address or external id is that of another one: skip leaves users as they are (the default), update changes what the record has and the user has otherwise, fail counts the record as refused.',
    },
    rate: { value: 'N', help: 'At most so many users a second. Default: as fast as Kith answers.' },
    jsonl: { help: 'Print refused records as JSON, a line each.' },
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
  },
  examples: [
    'kith users import users.jsonl',
    "kith users import export.csv --map 'E-Mail=email' --map 'Full name=name' --map Notes=-",
    'kith users import users.csv --on-conflict update --rate 20',
  ],
  async run(call) {
    const { args, options, terminal, signal } = call;
    const onConflict = (options.value('on-conflict') ?? 'skip') as OnConflict;
    const rate = options.wholeNumber('rate', 1);
    const source = await openRows(args['FILE']!, call);
    const target = await targetOf(call);
    const counts = { created: 0, updated: 0, unchanged: 0, skipped: 0, refused: 0 };
    const refuse = async (line: number, refusal: RecordRefusal): Promise<void> => {
      counts.refused += 1;
      await terminal.print(
        options.has('jsonl') ? JSON.stringify({ line, ...refusal }) : safeText(`line ${line}: ${textOf(refusal)}`),
      );
    };
    const records = async function* (): AsyncGenerator<ImportRecord> {
      for await (const row of untilAborted(source.rows, signal)) {
        const record = toRecord(row);
        if ('user' in record) yield record;
        else await refuse(record.line, { message: record.problem });
      }
    };
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.user.v1.UserService/ImportUsers');
      for await (const { user } of records()) {
        return terminal.print(curlOf(target.url, method, { users: [toJson(ImportedUserSchema, user)] }));
      }
      return terminal.note('there is no record that fits');
    }
    const kith = connect(target);
    const begin = createPace(rate, signal);
    try {
      for await (const batch of batchesOf(records(), rate)) {
        await begin(batch.length);
        for (const [i, outcome] of (await importRecords(kith, batch, onConflict)).entries()) {
          if (typeof outcome === 'string') counts[outcome] += 1;
          else await refuse(batch[i]!.line, outcome);
        }
        terminal.progress(`${source.progress()}${summaryOf(counts)}`);
      }
      signal.throwIfAborted();
    } catch (error) {
      terminal.progress('');
      const goOn = isWorthRepeating(error) ? '; run it again to go on' : '';
      terminal.note(`kith: the import is not complete: ${summaryOf(counts)}${goOn}`);
      throw error;
    }
    terminal.progress('');
    const isEmpty = Object.values(counts).every((count) => count === 0);
    terminal.note(isEmpty ? 'there is no record in it' : summaryOf(counts));
    const { refused } = counts;
    if (refused > 0) {
      throw new CommandError(
        `${countOf(refused, 'record')} ${refused === 1 ? 'was' : 'were'} refused`,
        EXIT_CODES.failed,
      );
    }
  },
};

function textOf({ reason, field, message }: RecordRefusal): string {
  if (reason === undefined) return message;
  // Rules of the contract say what is wrong, and not of which field.
  return `${reason === 'FIELDS_INVALID' && field !== undefined ? `${field} ` : ''}${message} (${reason})`;
}

/** Whether the same import may succeed later: an interruption and a server that is busy or away pass, a refusal does not. */
function isWorthRepeating(error: unknown): boolean {
  const exitCode = explainCallFailure(error)?.exitCode;
  return exitCode === undefined || exitCode === EXIT_CODES.unavailable || exitCode === EXIT_CODES.unauthenticated;
}

function summaryOf(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).filter(([name, count]) => count > 0 || name === 'created');
  return parts.map(([name, count]) => `${count} ${name}`).join(', ');
}

interface Source {
  readonly rows: AsyncIterable<Row>;
  /** `12 %: `, or nothing where the size is not known. */
  progress(): string;
}

async function openRows(file: string, { options, terminal }: Invocation): Promise<Source> {
  const format = (options.value('format') as Format | undefined) ?? formatOf(file);
  if (format === undefined)
    throw new UsageError(`the name of ${file} does not say how it is written: give --format jsonl or --format csv`);
  const map = columnMap(options.all('map'));
  if (map.size > 0 && format !== 'csv') throw new UsageError('--map is for CSV');
  let size = 0;
  let read = 0;
  if (file !== '-') {
    const found = await stat(file).catch((error: Error) => {
      throw unreadable(file, error);
    });
    if (found.isDirectory()) throw unreadable(file, Object.assign(new Error(), { code: 'EISDIR' }));
    size = found.size;
  }
  const stream: AsyncIterable<Uint8Array> = file === '-' ? terminal.input : createReadStream(file);
  const bytes = (async function* () {
    for await (const chunk of stream) {
      read += chunk.length;
      yield chunk;
    }
  })();
  return {
    rows:
      format === 'csv' ? readCsvRecords(bytes, ImportedUserSchema, map) : readJsonRecords(bytes, ImportedUserSchema),
    progress: () => (size === 0 ? '' : `${Math.floor((100 * read) / size)} %: `),
  };
}

/** The items until the signal aborts. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  for await (const item of items) {
    if (signal.aborted) return;
    yield item;
  }
}
