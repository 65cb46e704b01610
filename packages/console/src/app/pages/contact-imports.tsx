import { type ContactImport, ContactService, ContactUndoStatus } from '@kith/client/contacts';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { language } from '../../preferences.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { importTexts } from '../import-texts.ts';
import { Time } from '../parts/time.tsx';
import { Link } from '../router.tsx';
import { refreshContacts } from '../use-labels.ts';

const COUNT = new Intl.NumberFormat(language);

/** How many of those that stay are named. */
const NAMED_MAX = 10;

interface Stays {
  readonly id: string;
  readonly name: string;
}

interface Outcome {
  readonly deleted: number;
  readonly restored: number;
  readonly stayCount: number;
  /** The first of them. */
  readonly stay: readonly Stays[];
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'done'; readonly outcome: Outcome };

export interface TakeBackImportProps {
  readonly importId: string;
  readonly label: string;
  /** What it is about, for those who do not see what the button stands beside. */
  readonly about?: string;
}

/** Takes an import back, and tells what came of it. */
export function TakeBackImport({ importId, label, about }: TakeBackImportProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const [state, setState] = useState<State>({ kind: 'idle' });
  const takeBack = async (): Promise<Outcome> => {
    const counts = new Map<ContactUndoStatus, number>();
    const stay: string[] = [];
    for await (const { status, contactId } of contacts.undoImport({ importId })) {
      counts.set(status, (counts.get(status) ?? 0) + 1);
      if (status === ContactUndoStatus.CHANGED && stay.length < NAMED_MAX) stay.push(contactId);
    }
    const named = await Promise.all(
      stay.map((id) =>
        contacts.get({ contactId: id }).then(
          ({ contact }): Stays => ({ id, name: contactName(contact) }),
          // Merged into another one, to which the page of the contact leads.
          (): Stays => ({ id, name: id }),
        ),
      ),
    );
    return {
      deleted: counts.get(ContactUndoStatus.DELETED) ?? 0,
      restored: counts.get(ContactUndoStatus.RESTORED) ?? 0,
      stayCount: counts.get(ContactUndoStatus.CHANGED) ?? 0,
      stay: named,
    };
  };
  const start = () => {
    setState({ kind: 'running' });
    takeBack()
      .then(
        (outcome) => setState({ kind: 'done', outcome }),
        (error: unknown) => setState({ kind: 'failed', error }),
      )
      .finally(() => {
        refreshContacts(queries);
        void queries.invalidateQueries({ queryKey: ['imports'] });
      });
  };
  return (
    <div className="take-back">
      {state.kind !== 'done' && (
        <button
          type="button"
          className="button"
          aria-label={about === undefined ? undefined : `${label}: ${about}`}
          aria-disabled={state.kind === 'running'}
          onClick={state.kind === 'running' ? undefined : start}
        >
          {label}
        </button>
      )}
      <div role="status">
        {state.kind === 'running' && importTexts.running}
        {state.kind === 'done' && <Told outcome={state.outcome} />}
      </div>
      {state.kind === 'failed' && (
        <p className="alert" role="alert">
          {describeFailure(state.error)}
        </p>
      )}
    </div>
  );
}

function Told({ outcome: { deleted, restored, stay, stayCount } }: { readonly outcome: Outcome }) {
  if (deleted + restored + stayCount === 0) return importTexts.nothing;
  return (
    <>
      <p>{importTexts.outcome(COUNT.format(deleted), COUNT.format(restored))}</p>
      {stayCount > 0 && (
        <>
          <p>{importTexts.stays(COUNT.format(stayCount))}</p>
          <ul>
            {stay.map(({ id, name }) => (
              <li key={id}>
                <Link to={`contacts/${id}`}>{name}</Link>
              </li>
            ))}
            {stayCount > stay.length && <li>{importTexts.andMore(COUNT.format(stayCount - stay.length))}</li>}
          </ul>
        </>
      )}
    </>
  );
}

/** Imports that can be taken back, the newest first; nothing where there are none. */
export function EarlierImports() {
  const contacts = useService(ContactService, 'Contact');
  const { data, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['imports'],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) => contacts.listImports({ pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
  const imports = data?.pages.flatMap((page) => page.imports) ?? [];
  if (imports.length === 0) return null;
  return (
    <section className="card table-card" aria-labelledby="earlier">
      <div className="card-head">
        <h2 id="earlier">{importTexts.earlier}</h2>
      </div>
      <p className="card-note muted">{importTexts.earlierLead}</p>
      <table className="table">
        <caption className="visually-hidden">{importTexts.earlier}</caption>
        <tbody>
          {imports.map((each) => (
            <EarlierImport key={each.id} of={each} />
          ))}
        </tbody>
      </table>
      {hasNextPage && (
        <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {importTexts.more}
        </button>
      )}
    </section>
  );
}

function EarlierImport({ of }: { readonly of: ContactImport }) {
  const { id, source, createdContacts, updatedContacts, remainingContacts, createTime, purgeTime } = of;
  // What came of it stays told when nothing is left.
  const [hadRemaining] = useState(remainingContacts > 0);
  const name = source || importTexts.unnamed;
  return (
    <tr>
      <th scope="row">
        {name}
        <div className="muted small">
          <Time of={createTime} />
        </div>
      </th>
      <td>{importTexts.wrote(COUNT.format(createdContacts), COUNT.format(updatedContacts))}</td>
      <td>
        {hadRemaining ? (
          <TakeBackImport importId={id} label={importTexts.takeBackOne} about={name} />
        ) : (
          <span className="muted">{importTexts.allTakenBack}</span>
        )}
        <div className="muted small">
          {importTexts.until} <Time of={purgeTime} />
        </div>
      </td>
    </tr>
  );
}
