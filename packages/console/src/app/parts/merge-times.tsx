import type { ContactMerge } from '@kith/client/contacts';
import { d } from '../duplicate-texts.ts';
import { Time } from './time.tsx';

/** When contacts were merged, and until when that can be taken back. */
export function MergeTimes({ of: { createTime, purgeTime } }: { readonly of: ContactMerge }) {
  return (
    <span className="muted">
      <Time of={createTime} /> · {d.until} <Time of={purgeTime} />
    </span>
  );
}
