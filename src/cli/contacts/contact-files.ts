import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import {
  ContactFormat,
  ContactImportStatus,
  ContactUndoStatus,
  DuplicateReason,
  type ImportedContactResult,
  ImportedContactResultSchema,
  type Refusal,
} from '../../../packages/client/src/contract.ts';
import { type Kith, KithError } from '../../../packages/client/src/index.ts';
import { CONNECTION_OPTIONS, connect, targetOf } from '../client/connect.ts';
import { type Command, CommandError, type Invocation, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { columnMap } from '../import/records.ts';
import { readInputFile } from '../input-files.ts';
import { replaceFile } from '../resources/export.ts';
import { countOf } from '../terminal/count.ts';
import { safeText } from '../terminal/safe-text.ts';
import { columnsOf, type FileKind, partsOf } from './parts.ts';

const FORMATS: Readonly<Record<string, ContactFormat>> = {
  'vcard-3': ContactFormat.VCARD_3,
  'vcard-4': ContactFormat.VCARD_4,
  csv: ContactFormat.CSV,
  jscontact: ContactFormat.JSCONTACT,
};

/** What came of contacts. */
const STATUSES: ReadonlyMap<ContactImportStatus, string> = new Map([
  [ContactImportStatus.CREATED, 'created'],
  [ContactImportStatus.UPDATED, 'updated'],
  [ContactImportStatus.SAME, 'same'],
  [ContactImportStatus.REFUSED, 'refused'],
]);

export const importContacts: Command = {
  summary: 'Create and update contacts of a file of vCard, CSV or JSContact',
  details:
    'vCard of every version, CSV of Google, Outlook and others, and JSContact (docs/contacts.md). A contact is found by its uid; one without is the same if all that it has is. The same file again changes nothing, so that an import that was interrupted is simply run again. What is refused, left out, cut or not taken as it stands is printed with its line. A file of any size is imported in calls of up to 400 contacts. The command that takes the import back is printed at the end.\nCalls kith.contact.v1.ContactService/ImportContacts.',
  args: [
    {
      name: 'FILE',
      help: 'The file: its name ends with .vcf, .csv or .json, unless --format says what it is; or - for standard input.',
    },
  ],
  options: {
    format: {
      value: 'FORMAT',
      values: Object.keys(FORMATS),
      help: 'How the file is written. Default: as its name says.',
    },
    map: {
      value: 'COLUMN=FIELD',
      multiple: true,
      help: "What a column of CSV holds that is called otherwise, by the name of a column that is known, such as 'First Name', 'E-mail 1 - Value' or 'Phone 1 - Value' (docs/contacts.md); COLUMN=- leaves the column out.",
    },
    preview: {
      help: 'Write nothing, and say what would be done, and which contacts that are there may be the same person.',
    },
    'keep-existing': { help: 'Leave contacts that are there as they are.' },
    'phone-region': { value: 'REGION', help: 'The region of phone numbers without a country code, such as GB.' },
    'import-id': {
      value: 'ID',
      help: 'Go on with this import, which is then taken back as one. Default: a new one.',
    },
    json: { help: 'Print what came of all contacts as one JSON document.' },
    jsonl: { help: 'Print what came of each contact as a line of JSON.' },
    ...CONNECTION_OPTIONS,
  },
  examples: [
    'kith contacts import contacts.vcf --preview',
    'kith contacts import contacts.csv --phone-region GB',
    "kith contacts import - --format csv --map 'Vorname=First Name' --map Notiz=- < export.csv",
  ],
  async run(call) {
    const { args, options, terminal, signal } = call;
    const file = args['FILE']!;
    const format = formatOf(call, file);
    if (format === undefined) throw new UsageError(`the name of ${file} does not say how it is written: give --format`);
    const isCsv = format === ContactFormat.CSV;
    const map = columnMap(options.all('map'));
    if (map.size > 0 && !isCsv) throw new UsageError('--map is for CSV');
    const content = await readInputFile(file, terminal);
    const columns = isCsv && map.size > 0 ? columnsOf(content) : [];
    const missing = [...map.keys()].find((name) => !columns.includes(name));
    if (missing !== undefined) throw new UsageError(`there is no column ${JSON.stringify(missing)} to --map`);
    const kith = connect(await targetOf(call));
    const printer = createPrinter(call);
    const counts = new Map<string, number>();
    let importId = options.value('import-id') ?? randomUUID();
    let isWritten = false;
    for (const part of partsOf(content, kindOf(format))) {
      signal.throwIfAborted();
      const request = {
        ...part,
        format,
        preview: options.has('preview'),
        keepExisting: options.has('keep-existing'),
        phoneRegion: options.value('phone-region') ?? '',
        source: file === '-' ? '' : basename(file).slice(0, 100),
        columns: [...map].map(([name, holds]) => ({ name, holds })),
        importId,
      };
      const answer = await kith.contacts.import(request, { signal });
      if (answer.importId !== '') [importId, isWritten] = [answer.importId, true];
      for (const result of answer.results) {
        const name = STATUSES.get(result.status) ?? 'other';
        counts.set(name, (counts.get(name) ?? 0) + 1);
        await printer.print(result);
      }
      terminal.progress(summaryOf(counts));
    }
    await printer.end(isWritten ? importId : '');
    terminal.progress('');
    terminal.note(`${options.has('preview') ? 'would be: ' : ''}${summaryOf(counts)}`);
    if (isWritten) terminal.note(`kith contacts undo-import ${importId} takes it back`);
    const refused = counts.get('refused') ?? 0;
    if (refused > 0) {
      const were = refused === 1 ? 'was' : 'were';
      throw new CommandError(`${countOf(refused, 'contact')} ${were} refused`, EXIT_CODES.failed);
    }
  },
};

/** Prints what came of contacts: for people what they have to know, or as JSON. */
function createPrinter({ options, terminal }: Pick<Invocation, 'options' | 'terminal'>) {
  const toLine = (result: ImportedContactResult) => JSON.stringify(toJson(ImportedContactResultSchema, result));
  if (options.has('jsonl')) {
    return { print: (result: ImportedContactResult) => terminal.print(toLine(result)), end: async () => {} };
  }
  if (options.has('json')) {
    let before = '{"results":[\n';
    return {
      async print(result: ImportedContactResult) {
        await terminal.write(`${before}${toLine(result)}`);
        before = ',\n';
      },
      end: (importId: string) =>
        terminal.print(`${before === ',\n' ? '' : before}\n],"importId":${JSON.stringify(importId)}}`),
    };
  }
  let columnsNote = '';
  return {
    async print({ line, name, notes, refusal, possibleDuplicates }: ImportedContactResult) {
      for (const note of notes) {
        // Each part of a file begins with the same columns.
        if (note.text === columnsNote) continue;
        if (note.text.startsWith('columns ')) columnsNote = note.text;
        await terminal.print(safeText(`line ${note.line}: ${note.text}`));
      }
      if (refusal !== undefined) await terminal.print(safeText(`line ${line}: ${refusalText(refusal)}`));
      for (const { contactId, name: other, reasons, score } of possibleDuplicates) {
        const same = reasons.map((reason) => REASONS.get(reason) ?? 'other').join(', ');
        await terminal.print(
          safeText(`line ${line}: ${name} may be ${other} (${contactId}): the same ${same} (${score} of 100)`),
        );
      }
    },
    end: async () => {},
  };
}

const REASONS: ReadonlyMap<DuplicateReason, string> = new Map([
  [DuplicateReason.EMAIL, 'email address'],
  [DuplicateReason.PHONE, 'phone number'],
  [DuplicateReason.NAME_AND_COMPANY, 'name and company'],
  [DuplicateReason.NAME_AND_BIRTHDAY, 'name and birthday'],
  [DuplicateReason.NAME, 'name'],
]);

/** What came of contacts of an import that is taken back. */
const UNDO_STATUSES: ReadonlyMap<ContactUndoStatus, string> = new Map([
  [ContactUndoStatus.DELETED, 'deleted'],
  [ContactUndoStatus.RESTORED, 'restored'],
  [ContactUndoStatus.CHANGED, 'changed since'],
  [ContactUndoStatus.GONE, 'gone'],
]);

export const undoImport: Command = {
  summary: 'Take an import of contacts back',
  details:
    'Contacts that it created are deleted, and those that it changed are what they were before. The ids of contacts that somebody changed since are printed: they stay as they are. A command that was interrupted is simply run again.\nCalls kith.contact.v1.ContactService/UndoContactImport.',
  args: [{ name: 'ID', help: 'The id of the import, which kith contacts import prints and list-imports lists.' }],
  options: CONNECTION_OPTIONS,
  examples: ['kith contacts undo-import ID'],
  async run(call) {
    const { args, terminal, signal } = call;
    const kith = connect(await targetOf(call));
    const counts = new Map<string, number>();
    for await (const { status, contactId } of kith.contacts.undoImport({ importId: args['ID']! }, { signal })) {
      const name = UNDO_STATUSES.get(status) ?? 'other';
      counts.set(name, (counts.get(name) ?? 0) + 1);
      if (status === ContactUndoStatus.CHANGED) await terminal.print(`${contactId}: changed since, and left as it is`);
      terminal.progress(summaryOf(counts));
    }
    terminal.progress('');
    terminal.note(counts.size === 0 ? 'nothing is left to take back' : summaryOf(counts));
  },
};

export const exportContacts: Command = {
  summary: 'Export contacts as a file of vCard, CSV or JSContact',
  details:
    'The file is printed as it comes, or written to a file that you alone can read and that is there when it is complete.\nCalls kith.contact.v1.ContactService/ExportContacts.',
  options: {
    format: {
      value: 'FORMAT',
      values: Object.keys(FORMATS),
      help: 'How the file is to be written. Default: as the name of --output says, else vcard-4.',
    },
    query: { value: 'WORDS', help: 'Only contacts that kith contacts list finds for this.' },
    label: { value: 'NAME', multiple: true, help: 'Only contacts with this label.' },
    output: { value: 'FILE', help: 'Write to this file, in place of one that is there.' },
    ...CONNECTION_OPTIONS,
  },
  examples: [
    'kith contacts export > contacts.vcf',
    'kith contacts export --output contacts.csv',
    'kith contacts export --label Family --output family.vcf',
  ],
  async run(call) {
    const { options, terminal, signal } = call;
    const output = options.value('output');
    const format = formatOf(call, output ?? '') ?? ContactFormat.VCARD_4;
    const kith = connect(await targetOf(call));
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const write = async (to: (text: string) => Promise<unknown>): Promise<void> => {
      const labels = { allOf: await labelIds(kith, options.all('label')) };
      const request = { format, query: options.value('query') ?? '', labels };
      for await (const { data } of kith.contacts.export(request, { signal })) await to(decoder.decode(data));
    };
    if (output === undefined) return write((text) => terminal.write(text));
    await replaceFile(output, write);
    terminal.note(`written to ${output}`);
  },
};

/** The ids of labels with these names. Throws UsageError for a name that no label has. */
async function labelIds(kith: Kith, names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const ids = new Map<string, string>();
  for await (const { name, id } of kith.labels.list()) ids.set(name, id);
  return names.map((name) => {
    const id = ids.get(name);
    if (id === undefined) throw new UsageError(`there is no label ${name}`);
    return id;
  });
}

function formatOf({ options }: Invocation, file: string): ContactFormat | undefined {
  const said = options.value('format');
  if (said !== undefined) return FORMATS[said];
  if (/\.csv$/i.test(file)) return ContactFormat.CSV;
  if (/\.(json|jsonl|jscontact)$/i.test(file)) return ContactFormat.JSCONTACT;
  return /\.(vcf|vcard)$/i.test(file) ? ContactFormat.VCARD_4 : undefined;
}

function kindOf(format: ContactFormat): FileKind {
  if (format === ContactFormat.CSV) return 'csv';
  return format === ContactFormat.JSCONTACT ? 'json' : 'vcard';
}

function refusalText(refusal: Refusal): string {
  const { reason, code, cause } = KithError.ofRefusal(refusal);
  return `${cause.rawMessage} (${reason ?? code})`;
}

function summaryOf(counts: ReadonlyMap<string, number>): string {
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return parts.length === 0 ? 'there is no contact' : parts.join(', ');
}
