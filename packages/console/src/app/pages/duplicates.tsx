import { type Contact, type ContactDuplicate, ContactService } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { d } from '../duplicate-texts.ts';
import { describeFailure } from '../failures.ts';
import { AsCode } from '../parts/as-code.tsx';
import { RowAction } from '../parts/row-action.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { dropPairs, refreshDuplicates, useDuplicates } from '../use-duplicates.ts';
import { refreshContacts } from '../use-labels.ts';
import { useTakeBack } from '../use-merges.ts';
import { useTitle } from '../use-title.ts';
import { Comparison } from './compare-contacts.tsx';

const AllMerges = lazy(() => import('./all-merges.tsx'));

const VIEWS = ['candidates', 'distinct', 'merges'] as const;
type View = (typeof VIEWS)[number];

/** Contacts that may be the same person, which are not, and what was merged. */
export default function DuplicatesPage() {
  useTitle(d.candidates);
  const [parameters] = useQueryParameters();
  const view: View = VIEWS.find((each) => each === parameters.get('view')) ?? 'candidates';
  return (
    <>
      <p>
        <Link to="contacts">← {t.contacts}</Link>
      </p>
      <div className="page-head">
        <h1>{d.candidates}</h1>
        <AsCode
          call={() =>
            view === 'merges'
              ? { method: 'kith.contact.v1.ContactService/ListContactMerges', body: {} }
              : {
                  method: 'kith.contact.v1.ContactService/ListContactDuplicates',
                  body: { markedDistinct: view === 'distinct' },
                }
          }
        />
      </div>
      <nav className="actions" aria-label={d.views}>
        {VIEWS.map((each) => (
          <Link
            key={each}
            className="button"
            to={`contacts/duplicates${each === 'candidates' ? '' : `?view=${each}`}`}
            aria-current={each === view ? 'page' : undefined}
          >
            {d[each]}
          </Link>
        ))}
      </nav>
      {view === 'candidates' && <Candidates />}
      {view === 'distinct' && <Distinct />}
      {view === 'merges' && (
        <Suspense fallback={<Skeleton rows={4} />}>
          <AllMerges />
        </Suspense>
      )}
    </>
  );
}

/** What tells a pair from the others, also in the address. */
const keyOf = ({ first, second }: ContactDuplicate): string => `${first?.id}.${second?.id}`;

const titleOf = ({ first, second }: ContactDuplicate): string => d.and(nameOf(first), nameOf(second));
const nameOf = (contact: Contact | undefined): string =>
  contact === undefined ? contactTexts.nameless : contactName(contact);

/** One pair after the other, side by side. */
function Candidates() {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const takeBack = useTakeBack();
  const { pairs, error, hasMore, isLoadingMore, loadMore, retry } = useDuplicates(false);
  const [parameters, setParameters] = useQueryParameters();
  // Whether the person has moved from one pair to another, who then is where the new one begins.
  const [hasMoved, setMoved] = useState(false);
  if (error !== null) return <Failed error={error} onRetry={retry} />;
  if (pairs === undefined) return <Skeleton rows={8} />;
  const at = Math.max(
    0,
    pairs.findIndex((pair) => keyOf(pair) === parameters.get('pair')),
  );
  const pair = pairs[at];
  if (pair === undefined) return <Empty title={d.none} lead={d.noneLead} />;
  const show = (next: ContactDuplicate | undefined) => {
    setMoved(true);
    setParameters({ pair: next === undefined ? '' : keyOf(next) });
    if (next !== undefined && hasMore && pairs.indexOf(next) >= pairs.length - 2) loadMore();
  };
  /** Goes on with the next pair that is left. */
  const leave = (isGone: (each: ContactDuplicate) => boolean) => {
    const isLeft = (each: ContactDuplicate) => !isGone(each);
    show(pairs.slice(at + 1).find(isLeft) ?? pairs.slice(0, at).findLast(isLeft));
    dropPairs(queries, isGone);
    refreshDuplicates(queries);
    refreshContacts(queries);
  };
  const onMerged = (merged: Contact, goneId: string) => {
    leave(({ first, second }) => first?.id === goneId || second?.id === goneId);
    notify(d.merged(contactName(merged)), { undo: () => takeBack(merged.id) });
  };
  const markDistinct = async () => {
    const contactIds = idsOf(pair);
    await contacts.markDistinct({ contactIds });
    leave((each) => each === pair);
    const undo = async () => {
      await contacts.unmarkDistinct({ contactIds });
      refreshDuplicates(queries);
      notify(d.markTakenBack);
    };
    notify(d.markedDistinct(nameOf(pair.first), nameOf(pair.second)), { undo: attempt(undo) });
  };
  return (
    <div className="pairs">
      <nav className="card pair-list wide-only" aria-label={d.pairs}>
        <ul>
          {pairs.map((each) => (
            <li key={keyOf(each)}>
              <Link
                to={`contacts/duplicates?pair=${keyOf(each)}`}
                aria-current={each === pair ? 'true' : undefined}
                onClick={(event) => {
                  event.preventDefault();
                  show(each);
                }}
              >
                <span className="person-name">{titleOf(each)}</span>
                <span className="muted">{likelihood(each.score)}</span>
              </Link>
            </li>
          ))}
        </ul>
        {hasMore && (
          <button type="button" className="button" disabled={isLoadingMore} onClick={loadMore}>
            {d.more}
          </button>
        )}
      </nav>
      <Comparison
        key={keyOf(pair)}
        pair={pair}
        title={titleOf(pair)}
        likelihood={likelihood(pair.score)}
        position={d.pairOf(at + 1, hasMore ? d.moreThan(pairs.length) : String(pairs.length))}
        takesFocus={hasMoved}
        onPrevious={at > 0 ? () => show(pairs[at - 1]) : undefined}
        onNext={at + 1 < pairs.length ? () => show(pairs[at + 1]) : undefined}
        onMerged={onMerged}
        onDistinct={markDistinct}
        onGone={() => {
          leave((each) => each === pair);
          notify(d.goneMeanwhile, { isError: true });
        }}
      />
    </div>
  );
}

/** How sure the reasons make one, in words. */
function likelihood(score: number): string {
  const least = Object.keys(d.likely)
    .map(Number)
    .toSorted((a, b) => b - a)
    .find((each) => score >= each);
  return `${d.likely[least ?? 0]} (${d.score(score)})`;
}

/** Pairs that are kept out of the list. */
function Distinct() {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const { pairs, error, hasMore, isLoadingMore, loadMore, retry } = useDuplicates(true);
  if (error !== null) return <Failed error={error} onRetry={retry} />;
  if (pairs === undefined) return <Skeleton rows={4} />;
  if (pairs.length === 0) return <Empty title={d.noneDistinct} lead={d.noneDistinctLead} />;
  const unmark = (pair: ContactDuplicate) =>
    attempt(async () => {
      const contactIds = idsOf(pair);
      await contacts.unmarkDistinct({ contactIds });
      refreshDuplicates(queries);
      const undo = async () => {
        await contacts.markDistinct({ contactIds });
        refreshDuplicates(queries);
      };
      notify(d.markTakenBack, { undo: attempt(undo) });
    });
  return (
    <>
      <div className="card table-card">
        <table className="table">
          <caption className="visually-hidden">{d.distinct}</caption>
          <tbody>
            {pairs.map((pair) => (
              <tr key={keyOf(pair)}>
                {[pair.first, pair.second].map((contact, i) => (
                  <td key={i}>
                    {contact !== undefined && <Link to={`contacts/${contact.id}`}>{contactName(contact)}</Link>}
                  </td>
                ))}
                <td className="row-actions">
                  <RowAction label={d.mayBeSame} about={titleOf(pair)} onAct={unmark(pair)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {hasMore && (
        <button type="button" className="button" disabled={isLoadingMore} onClick={loadMore}>
          {d.more}
        </button>
      )}
    </>
  );
}

const idsOf = ({ first, second }: ContactDuplicate): string[] => [first?.id ?? '', second?.id ?? ''];

/** Does something, and tells why it failed if it does. */
function attempt(action: () => Promise<void>): () => void {
  return () => void action().catch((thrown: unknown) => notify(describeFailure(thrown, d.failures), { isError: true }));
}
