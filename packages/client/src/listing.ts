/**
 * The items of a list over all its pages, each page fetched when its first item is asked for:
 * `for await (const user of kith.users.list({ query }))`. Each loop begins at the start of the list.
 */
export interface Listing<Item, Page> extends AsyncIterable<Item> {
  /** One page: the first, or the one that `nextPageToken` of the page before gives. */
  page(pageToken?: string): Promise<Page>;
}

/** A list of which `getPage` gives one page. */
export function createListing<Item, Page extends { readonly nextPageToken: string }>(
  startToken: string,
  getPage: (pageToken: string) => Promise<Page>,
  itemsOf: (page: Page) => readonly Item[],
): Listing<Item, Page> {
  return {
    page: (pageToken = startToken) => getPage(pageToken),
    async *[Symbol.asyncIterator]() {
      let pageToken = startToken;
      do {
        const page = await getPage(pageToken);
        yield* itemsOf(page);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
    },
  };
}
