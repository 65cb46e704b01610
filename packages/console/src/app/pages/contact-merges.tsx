import { d } from '../duplicate-texts.ts';
import { MergeTimes } from '../parts/merge-times.tsx';
import { useMerges, useTakeBack } from '../use-merges.ts';

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
            <MergeTimes of={merge} />
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
