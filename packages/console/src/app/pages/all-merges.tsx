import type { ContactMerge } from '@kith/client/contacts';
import { contactName } from '../contact-name.ts';
import { d } from '../duplicate-texts.ts';
import { MergeTimes } from '../parts/merge-times.tsx';
import { RowAction } from '../parts/row-action.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Link } from '../router.tsx';
import { useMerges, useTakeBack } from '../use-merges.ts';

/** Every merge that can be taken back, the newest first. */
export default function AllMerges() {
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
                  <MergeTimes of={merge} />
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

/** Whether the merge is the last one into its contact: merges are taken back one by one, the last one first. */
const isLast = (merges: readonly ContactMerge[], at: number): boolean =>
  merges.findIndex(({ contactId }) => contactId === merges[at]!.contactId) === at;

const nameOf = ({ before }: ContactMerge): string => (before === undefined ? '' : contactName(before));
