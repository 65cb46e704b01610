import { type Contact, type ContactDuplicate, ContactService } from '@kith/client/contacts';
import { type InfiniteData, type QueryClient, useInfiniteQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { useService } from './context.tsx';

/** How many pairs a page has: each comes with two whole contacts. */
const PAGE_SIZE = 20;

/** How long what was found counts, milliseconds; what is done in this tab is looked at before. */
const FRESH_MS = 60_000;

interface Page {
  readonly duplicates: readonly ContactDuplicate[];
  readonly nextPageToken: string;
}

export interface Duplicates {
  /** Undefined until they are there. */
  readonly pairs: readonly ContactDuplicate[] | undefined;
  readonly error: Error | null;
  readonly hasMore: boolean;
  readonly isLoadingMore: boolean;
  loadMore(): void;
  retry(): void;
}

/** Pairs of contacts that may be the same person, or those that are marked as distinct. */
export function useDuplicates(markedDistinct: boolean): Duplicates {
  const contacts = useService(ContactService, 'Contact');
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetching, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['duplicates', markedDistinct],
    staleTime: FRESH_MS,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }): Promise<Page> =>
      contacts.listDuplicates({ markedDistinct, pageSize: PAGE_SIZE, pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
  const pairs = data?.pages.flatMap(({ duplicates }) => duplicates);
  // A page can be empty without being the last one.
  const needsMore = pairs?.length === 0 && hasNextPage && !isFetching && error === null;
  useEffect(() => {
    if (needsMore) void fetchNextPage();
  }, [needsMore, fetchNextPage]);
  return {
    pairs: pairs?.length === 0 && hasNextPage ? undefined : pairs,
    error,
    hasMore: hasNextPage,
    isLoadingMore: isFetchingNextPage,
    loadMore: () => void fetchNextPage(),
    retry: () => void refetch(),
  };
}

/** Leaves pairs out of the list at once, before it is asked for again. */
export function dropPairs(queries: QueryClient, isGone: (pair: ContactDuplicate) => boolean): void {
  changePairs(queries, (pairs) => pairs.filter((pair) => !isGone(pair)));
}

/** Has the list show these versions of contacts. */
export function showVersions(queries: QueryClient, versions: readonly Contact[]): void {
  const newest = new Map(versions.map((contact) => [contact.id, contact]));
  const versionOf = (contact: Contact | undefined) => newest.get(contact?.id ?? '') ?? contact;
  changePairs(queries, (pairs) =>
    pairs.map((pair) => ({ ...pair, first: versionOf(pair.first), second: versionOf(pair.second) })),
  );
}

function changePairs(
  queries: QueryClient,
  change: (pairs: readonly ContactDuplicate[]) => readonly ContactDuplicate[],
): void {
  queries.setQueryData<InfiniteData<Page>>(
    ['duplicates', false],
    (data) => data && { ...data, pages: data.pages.map((page) => ({ ...page, duplicates: change(page.duplicates) })) },
  );
}

/** Asks again for duplicates and merges that are shown, and for the others when they are shown. */
export function refreshDuplicates(queries: QueryClient): void {
  for (const key of ['duplicates', 'merges']) void queries.invalidateQueries({ queryKey: [key] });
}
