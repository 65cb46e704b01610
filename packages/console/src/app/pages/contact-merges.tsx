import { type ContactMerge, ContactService } from '@kith/client/contacts';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { language } from '../../preferences.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { d } from '../duplicate-texts.ts';
import { describeFailure } from '../failures.ts';
import { RowAction } from '../parts/row-action.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link } from '../router.tsx';
import { refreshDuplicates } from '../use-duplicates.ts';
import { refreshContacts } from '../use-labels.ts';

/** How many merges a page has: each comes with a contact as it was. */
const PAGE_SIZE = 100;

function useMerges() {
  const contacts = useService(ContactService, 'Contact');
  return useInfiniteQuery({
    queryKey: ['merges'],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      contacts.listMerges({ pageSize: PAGE_SIZE, pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
}

/** Takes the last merge into a contact back. */
export function useTakeBack(): (contactId: string) => void {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  return (contactId) =>
    void contacts
      .unmerge({ contactId })
      .then(({ restoredContactIds: { length } }) => notify(d.unmerged(length)))
      .catch((thrown: unknown) => notify(describeFailure(thrown, language, d.failures), { isError: true }))
      .finally(() => {
        refreshDuplicates(queries);
        refreshContacts(queries);
      });
}

/** Every merge that can be taken back, the newest first. */
export function AllMerges() {
  const takeBack = useTakeBack();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useMerges();
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <Skeleton rows={4} />;
  const merges = data.pages.flatMap((page) => page.merges);
  if (merges.length === 0) return <Empty title={d.noneMerged} lead={d.noneMergedLead} />;
  return (
    <>
      <div className="card table-card">
        <table className="table">
          <caption className="visually-hidden">{d.merges}</caption>
          <tbody>
            {merges.map((merge, i) => (
              <tr key={i}>
                <td>
                  <Link to={`contacts/${merge.contactId}`}>{nameOf(merge)}</Link>{' '}
                  {d.mergedCount(merge.mergedContactIds.length)}
                </td>
                <td>
                  <Times of={merge} />
                </td>
                <td className="row-actions">
                  {isLast(merges, i) && (
                    <RowAction label={d.takeBack} about={nameOf(merge)} onAct={() => takeBack(merge.contactId)} />
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {hasNextPage && (
        <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {d.more}
        </button>
      )}
    </>
  );
}

/** The merges into one contact, for its card; nothing where there are none. */
export default function ContactMerges({ contactId }: { readonly contactId: string }) {
  const takeBack = useTakeBack();
  const { data } = useMerges();
  const all = data?.pages.flatMap((page) => page.merges) ?? [];
  const merges = all.filter((merge) => merge.contactId === contactId);
  if (merges.length === 0) return null;
  return (
    <section className="merges" aria-label={d.merges}>
      <ul>
        {merges.map((merge, i) => (
          <li key={i} className="actions">
            <span>{d.mergedInto(merge.mergedContactIds.length)}</span>
            <Times of={merge} />
            {i === 0 && (
              <button type="button" className="button" onClick={() => takeBack(contactId)}>
                {d.takeBack}
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Whether the merge is the last one into its contact: merges are taken back one by one, the last one first. */
const isLast = (merges: readonly ContactMerge[], at: number): boolean =>
  merges.findIndex(({ contactId }) => contactId === merges[at]!.contactId) === at;

const nameOf = ({ before }: ContactMerge): string => (before === undefined ? '' : contactName(before));

function Times({ of: { createTime, purgeTime } }: { readonly of: ContactMerge }) {
  return (
    <span className="muted">
      <Time of={createTime} /> · {d.until} <Time of={purgeTime} />
    </span>
  );
}
