import { KithError } from '@kith/client/calls';
import { ContactFormat, ContactImportStatus, ContactService, type ImportedContactResult } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { columnsOf, type FileKind, type FilePart, partsOf } from '../contact-parts.ts';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { importTexts } from '../import-texts.ts';
import { Checkbox, Field, Select } from '../parts/form.tsx';
import { ImportPage } from '../parts/import-page.tsx';
import { type ImportedRow, type ImportedStatus, ImportResults } from '../parts/import-results.tsx';
import { Failed } from '../parts/states.tsx';
import { Link } from '../router.tsx';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { refreshContacts } from '../use-labels.ts';
import { EarlierImports, TakeBackImport } from './contact-imports.tsx';

/** The largest file that is read at once, bytes; `kith contacts import` takes larger ones. */
const FILE_BYTES_MAX = 50_000_000;

/** What a column may hold that is called otherwise, by the names that the server knows. */
const HELD = [
  'First Name',
  'Last Name',
  'Name',
  'Organization Name',
  'Organization Title',
  'E-mail 1 - Value',
  'E-mail 2 - Value',
  'Phone 1 - Value',
  'Phone 2 - Value',
  'Birthday',
  'Notes',
] as const;

interface SourceFile {
  readonly name: string;
  readonly parts: readonly FilePart[];
  readonly columns: readonly string[];
  readonly format: ContactFormat;
}

/** Imports contacts of a file, after showing what would come of it. */
export default function ImportContacts() {
  return (
    <ImportPage
      title={t.importContacts}
      target="contacts"
      accept=".vcf,.vcard,.csv,.json,text/vcard,text/csv,application/jscontact+json"
      hint={importTexts.importContactsHint}
      bytesMax={FILE_BYTES_MAX}
      read={read}
      before={<EarlierImports />}
    >
      {(file) => <Import file={file} />}
    </ImportPage>
  );
}

async function read(file: File): Promise<SourceFile> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = kindOf(file.name);
  return {
    name: file.name,
    parts: partsOf(bytes, kind),
    columns: kind === 'csv' ? columnsOf(bytes) : [],
    format: FORMATS[kind],
  };
}

function kindOf(name: string): FileKind {
  if (/\.(json|jsonl|jscontact)$/i.test(name)) return 'json';
  return /\.(vcf|vcard)$/i.test(name) ? 'vcard' : 'csv';
}

const FORMATS: Readonly<Record<FileKind, ContactFormat>> = {
  vcard: ContactFormat.VCARD_4,
  csv: ContactFormat.CSV,
  json: ContactFormat.JSCONTACT,
};

interface Run {
  readonly isPreview: boolean;
  readonly results: readonly ImportedContactResult[];
  /** '' as long as nothing was written. */
  readonly importId: string;
  readonly partsDone: number;
  readonly isDone: boolean;
  readonly failure: unknown;
}

function Import({ file }: { readonly file: SourceFile }) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const [keepExisting, setKeepExisting] = useState(false);
  const [region, setRegion] = useState('');
  const [held, setHeld] = useState<Readonly<Record<string, string>>>({});
  const [run, setRun] = useState<Run | undefined>(undefined);
  const stopped = useRef(new AbortController());
  const settled = useDelayed(JSON.stringify({ keepExisting, region, held }));

  const start = async (isPreview: boolean) => {
    stopped.current.abort();
    const { signal } = (stopped.current = new AbortController());
    const results: ImportedContactResult[] = [];
    const show = (partsDone: number, isDone: boolean, failure?: unknown) => {
      if (!signal.aborted || !isPreview)
        setRun({ isPreview, results: [...results], importId, partsDone, isDone, failure });
    };
    let done = 0;
    let importId = '';
    show(0, false);
    try {
      for (const part of file.parts) {
        if (signal.aborted) break;
        const request = {
          ...part,
          content: part.content as Uint8Array<ArrayBuffer>,
          format: file.format,
          preview: isPreview,
          keepExisting,
          phoneRegion: region.trim().toUpperCase(),
          source: file.name.slice(0, 100),
          // All parts are one import, which is taken back as a whole.
          importId,
          columns: Object.entries(held).flatMap(([name, holds]) => (holds === '' ? [] : [{ name, holds }])),
        };
        // A preview is given up where another one begins; what writes is not, since it may have been done.
        const answer = await contacts.import(request, isPreview ? { signal } : {});
        results.push(...answer.results);
        importId ||= answer.importId;
        show(++done, false);
      }
      show(done, true);
    } catch (thrown) {
      show(done, true, thrown);
    }
    if (isPreview) return;
    refreshContacts(queries);
    void queries.invalidateQueries({ queryKey: ['imports'] });
  };

  // The preview follows what is chosen.
  useEffect(() => {
    void start(true);
    return () => stopped.current.abort();
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [settled, file]);

  if (run === undefined) return null;
  const { isPreview, results, importId, isDone, failure } = run;
  const wouldChange = results.filter(({ status }) => CHANGES.has(status)).length;
  return (
    <>
      {isPreview && (
        <>
          {file.columns.length > 0 && (
            <fieldset className="columns-map card pad">
              <legend>{importTexts.columns}</legend>
              {file.columns.map((column) => (
                <Select
                  key={column}
                  label={column}
                  value={held[column] ?? ''}
                  options={[
                    ['', importTexts.asNamed],
                    ['-', importTexts.leaveOut],
                    ...HELD.filter((each) => each !== column).map((each) => [each, each] as const),
                  ]}
                  onChange={(holds) => setHeld((before) => ({ ...before, [column]: holds }))}
                />
              ))}
            </fieldset>
          )}
          <div className="filters">
            <Field
              label={importTexts.phoneRegion}
              hint={importTexts.phoneRegionHint}
              maxLength={2}
              size={4}
              value={region}
              onChange={setRegion}
            />
            <Checkbox label={importTexts.keepExisting} checked={keepExisting} onChange={setKeepExisting} />
          </div>
        </>
      )}
      {!isDone && <progress max={file.parts.length} value={run.partsDone} aria-label={t.importContacts} />}
      <p role="status">
        {isPreview
          ? isDone
            ? importTexts.wouldImport(wouldChange)
            : importTexts.reading
          : importTexts.imported(results.length)}
      </p>
      {failure !== undefined && <Failed error={failure} onRetry={() => void start(isPreview)} />}
      <div className="actions">
        {isPreview && (
          <button
            type="button"
            className="button primary"
            disabled={!isDone || wouldChange === 0}
            onClick={() => void start(false)}
          >
            {importTexts.importCount(wouldChange)}
          </button>
        )}
        {!isPreview && !isDone && (
          <button type="button" className="button" onClick={() => stopped.current.abort()}>
            {t.stop}
          </button>
        )}
        {!isPreview && isDone && (
          <>
            <Link to="contacts" className="button primary">
              {t.contacts}
            </Link>
            {importId !== '' && <TakeBackImport importId={importId} label={importTexts.takeBack} />}
          </>
        )}
      </div>
      {results.length > 0 && <ImportResults rows={results.map(toRow)} />}
    </>
  );
}

const CHANGES: ReadonlySet<ContactImportStatus> = new Set([ContactImportStatus.CREATED, ContactImportStatus.UPDATED]);

const STATUSES: Readonly<Record<number, ImportedStatus>> = {
  [ContactImportStatus.CREATED]: 'created',
  [ContactImportStatus.UPDATED]: 'updated',
  [ContactImportStatus.SAME]: 'same',
};

function toRow({ line, name, status, notes, refusal }: ImportedContactResult): ImportedRow {
  const refused = refusal === undefined ? [] : [`${describeFailure(KithError.ofRefusal(refusal))} ${refusal.message}`];
  return {
    line,
    name,
    status: STATUSES[status] ?? 'refused',
    notes: [...refused, ...new Set(notes.map((note) => `${importTexts.line} ${note.line}: ${note.text}`))],
  };
}
