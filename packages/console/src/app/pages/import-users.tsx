import { KithError } from '@kith/client/calls';
import {
  ImportConflict,
  type ImportedUser,
  type ImportResult,
  ImportStatus,
  UserLookupStatus,
  UserService,
} from '@kith/client/users';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import {
  fieldOf,
  type ImportRecord,
  readCsvRecords,
  readHeader,
  readJsonLines,
  USER_FIELDS,
} from '../import-records.ts';
import { AsCode } from '../parts/as-code.tsx';
import { Checkbox, Select } from '../parts/form.tsx';
import { ImportPage } from '../parts/import-page.tsx';
import { type ImportedRow, type ImportedStatus, ImportResults } from '../parts/import-results.tsx';
import { Failed } from '../parts/states.tsx';
import { Link } from '../router.tsx';
import { importTexts } from '../import-texts.ts';
import { t } from '../texts.ts';

/** The largest file that is read at once, bytes; `kith users import` takes larger ones. */
const FILE_BYTES_MAX = 20_000_000;
/** How many records are shown before they are imported; as many as one call looks up. */
const PREVIEWED_MAX = 100;
/** As many as one call takes. */
const BATCH = 250;

interface SourceFile {
  readonly name: string;
  readonly text: string;
  readonly isCsv: boolean;
}

/** Imports users of a file, after showing what is in it. */
export default function ImportUsers() {
  return (
    <ImportPage
      title={t.importUsers}
      target="users"
      accept=".csv,.jsonl,.ndjson,.json,text/csv,application/jsonl"
      hint={importTexts.importUsersHint}
      bytesMax={FILE_BYTES_MAX}
      read={read}
    >
      {(file) => <Import file={file} />}
    </ImportPage>
  );
}

async function read(file: File): Promise<SourceFile> {
  const text = await file.text();
  return { name: file.name, text, isCsv: !/^\s*[[{]/.test(text) };
}

function Import({ file }: { readonly file: SourceFile }) {
  const users = useService(UserService, 'User');
  const queries = useQueryClient();
  const columns = useMemo(() => (file.isCsv ? readHeader(file.text) : []), [file]);
  const [fields, setFields] = useState<readonly string[]>(() => columns.map((column) => fieldOf(column) ?? ''));
  const [isUpdating, setUpdating] = useState(false);
  const [results, setResults] = useState<readonly ImportedRow[] | undefined>(undefined);
  const [isRunning, setRunning] = useState(false);
  const [failure, setFailure] = useState<unknown>(undefined);
  const stopped = useRef(false);
  const records = useMemo(
    () => [...(file.isCsv ? readCsvRecords(file.text, fields) : readJsonLines(file.text))],
    [file, fields],
  );
  const good = records.filter((record) => 'user' in record);
  const onConflict = isUpdating ? ImportConflict.UPDATE : ImportConflict.REFUSE;

  const run = async () => {
    stopped.current = false;
    setRunning(true);
    setFailure(undefined);
    const rows: ImportedRow[] = records.flatMap((record) => ('user' in record ? [] : [refusedRow(record)]));
    setResults([...rows]);
    try {
      for (let at = 0; at < good.length && !stopped.current; at += BATCH) {
        const batch = good.slice(at, at + BATCH);
        const { results: came } = await users.import({ users: batch.map(({ user }) => user), onConflict });
        rows.push(...came.map((result, i) => toRow(batch[i]!.line, batch[i]!.user, result)));
        setResults([...rows]);
      }
    } catch (thrown) {
      setFailure(thrown);
    }
    setRunning(false);
    await queries.invalidateQueries({ queryKey: ['users'] });
  };

  if (records.length === 0) return <p className="alert">{importTexts.nothingInFile}</p>;
  if (results !== undefined)
    return (
      <>
        <progress max={records.length} value={results.length} aria-label={t.importFile} />
        <p role="status">
          {isRunning ? t.progress(results.length, records.length) : importTexts.imported(results.length)}
        </p>
        {failure !== undefined && <Failed error={failure} onRetry={() => void run()} />}
        <div className="actions">
          {isRunning ? (
            <button type="button" className="button" onClick={() => (stopped.current = true)}>
              {t.stop}
            </button>
          ) : (
            <Link to="users" className="button primary">
              {t.users}
            </Link>
          )}
        </div>
        <ImportResults rows={results} />
      </>
    );
  const isIncomplete = file.isCsv && !['username', 'email', 'name'].every((field) => fields.includes(field));
  return (
    <>
      {file.isCsv && (
        <fieldset className="columns-map card pad">
          <legend>{importTexts.columns}</legend>
          {columns.map((column, i) => (
            <Select
              key={i}
              label={column}
              value={fields[i] ?? ''}
              options={[['', importTexts.leaveOut], ...USER_FIELDS.map((field) => [field, field] as const)]}
              onChange={(field) => setFields((before) => before.with(i, field))}
            />
          ))}
        </fieldset>
      )}
      {isIncomplete && <p className="notice">{importTexts.columnsMissing}</p>}
      <p role="status">{importTexts.recordsFound(records.length, records.length - good.length)}</p>
      <Preview records={records} />
      <Checkbox label={importTexts.updateExisting} checked={isUpdating} onChange={setUpdating} />
      <div className="actions">
        <button type="button" className="button primary" disabled={good.length === 0} onClick={() => void run()}>
          {importTexts.importCount(good.length)}
        </button>
        <AsCode
          call={() => ({
            method: 'kith.user.v1.UserService/ImportUsers',
            body: {
              users: good.slice(0, 1).map(({ user: { username, email, name } }) => ({ username, email, name })),
              onConflict,
            },
          })}
        />
      </div>
    </>
  );
}

/** The first records, and which of the users are there already. */
function Preview({ records }: { readonly records: readonly ImportRecord[] }) {
  const users = useService(UserService, 'User');
  const shown = records.slice(0, PREVIEWED_MAX);
  const keys = shown.map((record) => ('user' in record ? keyOf(record.user) : undefined));
  const { data } = useQuery({
    queryKey: ['import', keys],
    enabled: keys.some((key) => key !== undefined),
    queryFn: async ({ signal }) => {
      const { lookups } = await users.lookup({ keys: keys.filter((key) => key !== undefined) }, { signal });
      const found = lookups.values();
      return keys.map((key) => (key === undefined ? undefined : found.next().value?.status));
    },
  });
  return (
    <div className="card table-card">
      <table className="table">
        <caption className="visually-hidden">{importTexts.preview}</caption>
        <thead>
          <tr>
            <th scope="col">{importTexts.line}</th>
            <th scope="col">{t.name}</th>
            <th scope="col" className="wide-only">
              {t.username}
            </th>
            <th scope="col" className="wide-only">
              {t.email}
            </th>
            <th scope="col">{t.result}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((record, i) => (
            <tr key={record.line}>
              <td>{record.line}</td>
              {'user' in record ? (
                <>
                  <td>{record.user.name}</td>
                  <td className="wide-only">{record.user.username}</td>
                  <td className="wide-only">{record.user.email}</td>
                  <td>
                    {data?.[i] === UserLookupStatus.FOUND && <span className="badge warn">{importTexts.isThere}</span>}
                    {data?.[i] === UserLookupStatus.NOT_FOUND && (
                      <span className="badge good">{importTexts.isNew}</span>
                    )}
                  </td>
                </>
              ) : (
                <>
                  <td colSpan={3} className="bad-text">
                    {importTexts.recordProblems[record.problem]} <code>{record.about}</code>
                  </td>
                  <td>
                    <span className="badge bad">{importTexts.importStatuses.refused}</span>
                  </td>
                </>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {records.length > PREVIEWED_MAX && <p className="muted pad">{t.andMore(records.length - PREVIEWED_MAX)}</p>}
    </div>
  );
}

/** By what a record is about a user, as ImportUsers finds them; undefined where it says nothing that can be looked up. */
function keyOf({ userId, externalId, username }: ImportedUser) {
  if (/^[0-9a-f-]{36}$/i.test(userId)) return { key: { case: 'userId' as const, value: userId } };
  if (externalId !== '' && externalId.length <= 255) return { key: { case: 'externalId' as const, value: externalId } };
  return username !== '' && username.length <= 64 ? { key: { case: 'username' as const, value: username } } : undefined;
}

const STATUSES: Readonly<Record<number, ImportedStatus>> = {
  [ImportStatus.CREATED]: 'created',
  [ImportStatus.UPDATED]: 'updated',
  [ImportStatus.SAME]: 'same',
};

function toRow(line: number, { name, username }: ImportedUser, { status, refusal }: ImportResult): ImportedRow {
  const error = refusal === undefined ? undefined : KithError.ofRefusal(refusal);
  const field = error?.metadata['field'];
  return {
    line,
    name: name || username,
    status: STATUSES[status] ?? 'refused',
    notes: error === undefined ? [] : [`${field === undefined ? '' : `${field}: `}${describeFailure(error)}`],
  };
}

function refusedRow(record: Exclude<ImportRecord, { user: unknown }>): ImportedRow {
  return {
    line: record.line,
    name: '',
    status: 'refused',
    notes: [`${importTexts.recordProblems[record.problem]} ${record.about}`],
  };
}
