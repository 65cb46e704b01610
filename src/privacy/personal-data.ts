import type { App } from '../app.ts';
import type { Caller, Permission } from '../kernel/access.ts';
import type { Schema } from '../storage/schema.ts';

/**
 * What a slice keeps of users: each declares it beside its service, and src/services.ts collects it. Exports and
 * erasing go by these declarations, and test/user-data.test.ts fails for a table with ids of users that none names.
 */
export interface PersonalData {
  /** The columns that hold the id of a user, by their tables. */
  readonly tables: { readonly [Table in keyof Schema]?: Readonly<Record<string, KeptColumn>> };
  /** The members of an exported document, in their order. */
  readonly parts?: Readonly<Record<string, ExportPart>>;
  /**
   * Removes up to `rowsMax` rows of a user who is erased or past the purge time. Returns how many it removed; fewer than
   * `rowsMax` when none are left. For tables of which a user may have more rows than one statement should remove: the
   * others refer to the user (ON DELETE CASCADE), whose row is removed last.
   */
  readonly remove?: (app: App, userId: string, rowsMax: number) => Promise<number>;
}

/** A column that holds the id of a user. */
export interface KeptColumn {
  /** The part of exports that has its rows, or why none has. */
  readonly exported: string | { readonly not: string };
  /** Why the rows stay when the user is erased; absent where they are removed. */
  readonly stays?: string;
}

/** One member of an exported document. */
export interface ExportPart {
  /** What it takes to export it of another user; undefined where users alone export their own. */
  readonly permission: Permission | undefined;
  /** Whether the member is one object; else it is an array. */
  readonly isSingle?: boolean;
  /** What the part lacks for a reader, by names that begin with that of the part and a dot. */
  readonly omits?: (reader: Caller, isOwn: boolean) => readonly string[];
  /** A page of it, of at most some hundred rows. `pageToken` is '' for the first page, `nextPageToken` after the last one. */
  readonly read: (app: App, reader: Caller, userId: string, pageToken: string) => Promise<ExportPage>;
}

/** Some of the items of a part. */
export interface ExportPage {
  /** Plain data as JSON has it. */
  readonly items: readonly object[];
  readonly nextPageToken: string;
}

/** How many rows a page of an export has at the most. */
export const EXPORT_PAGE_ROWS = 100;

/** What page tokens of deleted items begin with, beside those that lists have. */
const DELETED = 'deleted ';

/** A part of items that are listed by pages, those that are there, then deleted ones. */
export function liveThenDeleted<Item>(
  list: (
    app: App,
    reader: Caller,
    page: { readonly deleted: boolean; readonly pageSize: number; readonly pageToken: string },
  ) => Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }>,
  toJson: (item: Item) => object,
): ExportPart['read'] {
  return async (app, reader, _, pageToken) => {
    const deleted = pageToken.startsWith(DELETED);
    const { items, nextPageToken: next } = await list(app, reader, {
      deleted,
      pageSize: EXPORT_PAGE_ROWS,
      pageToken: deleted ? pageToken.slice(DELETED.length) : pageToken,
    });
    return { items: items.map(toJson), nextPageToken: deleted ? next && DELETED + next : next || DELETED };
  };
}
