import { useState } from 'react';
import { importTexts } from '../import-texts.ts';
import { t } from '../texts.ts';

/** What came of a record of a file. */
export type ImportedStatus = 'created' | 'updated' | 'same' | 'refused';

export interface ImportedRow {
  /** The line of the file, from 1. */
  readonly line: number;
  readonly name: string;
  readonly status: ImportedStatus;
  /** Why it was refused, or what was left out of it. */
  readonly notes: readonly string[];
}

const STATUSES = ['refused', 'created', 'updated', 'same'] as const satisfies readonly ImportedStatus[];
const TONES: Readonly<Record<ImportedStatus, string>> = { refused: 'bad', created: 'good', updated: 'good', same: '' };

/** A table is not to have more rows than a browser draws at once. */
const ROWS_MAX = 500;

/** One result for each record, with those of one kind alone where that is chosen. */
export function ImportResults({ rows }: { readonly rows: readonly ImportedRow[] }) {
  const [chosen, setChosen] = useState<ImportedStatus | undefined>(undefined);
  const counts = Map.groupBy(rows, ({ status }) => status);
  const shown = chosen === undefined ? rows : (counts.get(chosen) ?? []);
  return (
    <>
      <div className="actions" role="group" aria-label={t.results}>
        {STATUSES.filter((status) => counts.has(status)).map((status) => (
          <button
            key={status}
            type="button"
            className="button"
            aria-pressed={chosen === status}
            onClick={() => setChosen(chosen === status ? undefined : status)}
          >
            {importTexts.importStatuses[status]}
            <span className={`badge ${TONES[status]}`}>{counts.get(status)!.length}</span>
          </button>
        ))}
      </div>
      <div className="card table-card">
        <table className="table">
          <caption className="visually-hidden">{t.results}</caption>
          <thead>
            <tr>
              <th scope="col">{importTexts.line}</th>
              <th scope="col">{t.name}</th>
              <th scope="col">{t.result}</th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, ROWS_MAX).map(({ line, name, status, notes }, i) => (
              <tr key={i}>
                <td>{line}</td>
                <td>{name}</td>
                <td>
                  <span className={`badge ${TONES[status]}`}>{importTexts.importStatuses[status]}</span>
                  {notes.map((note) => (
                    <div key={note} className={status === 'refused' ? 'bad-text' : 'muted'}>
                      {note}
                    </div>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown.length > ROWS_MAX && <p className="muted">{t.andMore(shown.length - ROWS_MAX)}</p>}
    </>
  );
}
