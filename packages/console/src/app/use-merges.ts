import { ContactService } from '@kith/client/contacts';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useService } from './context.tsx';
import { d } from './duplicate-texts.ts';
import { describeFailure } from './failures.ts';
import { notify } from './parts/toasts.tsx';
import { refreshDuplicates } from './use-duplicates.ts';
import { refreshContacts } from './use-labels.ts';

/** How many merges a page has: each comes with a contact as it was. */
const PAGE_SIZE = 100;

/** The merges that can be taken back, the newest first. */
export function useMerges() {
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
      .catch((thrown: unknown) => notify(describeFailure(thrown, d.failures), { isError: true }))
      .finally(() => {
        refreshDuplicates(queries);
        refreshContacts(queries);
      });
}
