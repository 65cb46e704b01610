import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { CreateUserRequestSchema } from '../../../packages/client/src/contract.ts';
import { errorText, KithError } from '../../../packages/client/src/index.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from '../client/connect.ts';
import { findMethod, ownContract } from '../client/contract.ts';
import { curlOf } from '../client/explain.ts';
import { type Command, CommandError, type Invocation, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { safeText } from '../terminal/safe-text.ts';
import { createPace, forEachOf } from './pace.ts';
import { FORMATS, type Format, formatOf, readCsvRecords, readJsonRecords, type Row } from './records.ts';
import { importUser, isFatal, ON_CONFLICT, type OnConflict, type Outcome } from './user-import.ts';

/** How many calls are under way at once: creating a user hashes a password, on each core one at a time. */
const RUNNING_MAX = 4;

export const importUsers: Command = {
  summary: 'Create users from a file of JSON lines or CSV, a call for each',
  details:
    'A record has the fields of CreateUserRequest: username, email, name, role, and password or password_hash (docs/import-users.md says how hashes are written). CSV names them in its first row. Users who are there already are left as they are, so that an import that was interrupted is simply run again; see --on-conflict. A record that is refused is printed with its line, and the others go on; the import ends where going on is of no use, as when Kith cannot be reached.',
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
      help: 'What to do where the username or the email address is taken: skip leaves that user as it is (the default), update changes name, username, email and role where the record has others, fail counts the record as refused.',
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
    const file = args['FILE']!;
    const onConflict = (options.value('on-conflict') ?? 'skip') as OnConflict;
    const rate = options.wholeNumber('rate', 1);
    const source = await openRows(file, call);
    const target = await targetOf(call);
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.user.v1.UserService/CreateUser');
      for await (const row of source.rows) {
        if (!('request' in row)) continue;
        return terminal.print(curlOf(target.url, method, row.request));
      }
      return terminal.note('there is no record that fits');
    }
    const kith = connect(target);
    const counts: Record<Outcome | 'refused', number> = {
      created: 0,
      updated: 0,
      unchanged: 0,
      skipped: 0,
      refused: 0,
    };
    const refuse = async (line: number, failure: Failure): Promise<void> => {
      counts.refused += 1;
      await terminal.print(
        options.has('jsonl') ? JSON.stringify({ line, ...failure }) : safeText(`line ${line}: ${textOf(failure)}`),
      );
    };
    const begin = createPace(rate, signal);
    const ended: Promise<void> = forEachOf(untilAborted(source.rows, signal), RUNNING_MAX, async (row) => {
      if ('problem' in row) return refuse(row.line, { message: row.problem });
      await begin();
      try {
        counts[await importUser(kith, row.request, onConflict)] += 1;
      } catch (error) {
        if (error instanceof KithError ? isFatal(error) : !(error instanceof Error)) throw error;
        await refuse(row.line, failureOf(error));
      }
      terminal.progress(`${source.progress()}${summaryOf(counts)}`);
    });
    try {
      await ended;
      signal.throwIfAborted();
    } catch (error) {
      terminal.progress('');
      terminal.note(`kith: the import is not complete: ${summaryOf(counts)}; run it again to go on`);
      throw error;
    }
    terminal.progress('');
    terminal.note(summaryOf(counts));
    if (counts.refused > 0) throw new CommandError(`${counts.refused} records were refused`, EXIT_CODES.failed);
  },
};

interface Failure {
  readonly reason?: string;
  readonly message: string;
  readonly violations?: readonly { readonly field: string; readonly message: string }[];
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof KithError)) return { message: (error as Error).message };
  const violations = error.violations.map(({ field, message }) => ({ field, message }));
  return {
    reason: error.reason ?? error.code,
    message: error.cause.rawMessage || errorText(error),
    ...(violations.length === 0 ? {} : { violations }),
  };
}

function textOf({ reason, message, violations = [] }: Failure): string {
  const what =
    violations.length === 0
      ? message
      : violations.map(({ field, message: why }) => `${field || 'the record'} ${why}`).join('; ');
  return reason === undefined ? what : `${what} (${reason})`;
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
  const map = new Map(options.all('map').map(pairOf));
  if (map.size > 0 && format !== 'csv') throw new UsageError('--map is for CSV');
  let size = 0;
  let read = 0;
  if (file !== '-') {
    const found = await stat(file).catch((error: Error) => {
      throw new UsageError(`cannot read ${file}: ${error.message}`, { cause: error });
    });
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
      format === 'csv'
        ? readCsvRecords(bytes, CreateUserRequestSchema, map)
        : readJsonRecords(bytes, CreateUserRequestSchema),
    progress: () => (size === 0 ? '' : `${Math.floor((100 * read) / size)} %: `),
  };
}

function pairOf(text: string): [string, string] {
  const at = text.lastIndexOf('=');
  if (at < 1) throw new UsageError(`--map takes COLUMN=FIELD, not ${JSON.stringify(text)}`);
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

/** The items until the signal aborts. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  for await (const item of items) {
    if (signal.aborted) return;
    yield item;
  }
}
