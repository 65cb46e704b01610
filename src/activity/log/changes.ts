import type { Database } from '../../storage/database.ts';
import type { LogPosition, LogView } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
import { comparePositions, isInView, positionOf, readLog, selectPurged } from './store.ts';

/** What a reader of changes has read: all that `seen` holds, and of the rest what `upTo` holds up to `after`. */
export interface ChangesPlace {
  readonly seen: LogView;
  /** Absent where nothing beyond `seen` has been read. */
  readonly part?: { readonly upTo: LogView; readonly after: LogPosition };
}

/** A change that was recorded. */
export interface Change {
  readonly action: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Where a reader goes on who has read this change. */
  readonly place: ChangesPlace;
}

/** Changes, in the order of the log, and where to go on after all of them. */
export interface Changes {
  readonly changes: readonly Change[];
  readonly next: ChangesPlace;
  /** Whether there was nothing more when this was called. */
  readonly isEnd: boolean;
}

/** What the rows of one read may take, UTF-16 code units. */
const TEXT_MAX = 200_000;

/** Where a reader begins who has read everything that can be read now. */
export async function presentPlace({ db, dialect }: Database): Promise<ChangesPlace> {
  return { seen: await dialect.viewOfLog(db) };
}

/**
 * Changes of one user's things after a place, up to `limit` of them: as in a watch, none is left out, also of transactions
 * that are committed after later ones; and none that was committed before waits for an older transaction that still runs.
 * A change that was read may come again.
 *
 * Throws cursor_expired when some may have been purged, or the log was restored to before the place.
 */
export async function readChanges(
  database: Database,
  userId: string,
  actionPrefixes: readonly string[],
  { seen, part }: ChangesPlace,
  limit: number,
): Promise<Changes> {
  const { db, dialect } = database;
  if (!(await dialect.hasReached(db, (part?.upTo ?? seen).newest))) throw expired();
  const upTo = part?.upTo ?? (await dialect.viewOfLog(db));
  const after = part?.after ?? seen.end;
  const filter = { userId, withPrivate: true, actionPrefixes };
  const found = await readLog(database, filter, after, upTo.newest, { rowsMax: limit, textMax: TEXT_MAX });
  // Checked after reading: rows purged in between may be missing from what was read.
  if (comparePositions(after, await selectPurged(db)) < 0) throw expired();
  const isThrough = comparePositions(found.position, upTo.newest) >= 0;
  return {
    changes: found.rows
      .filter((row) => !isInView(seen, row))
      .map((row) => ({
        action: row.action,
        attributes: JSON.parse(row.attributes) as Record<string, string>,
        place: { seen, part: { upTo, after: positionOf(row) } },
      })),
    next: isThrough ? { seen: upTo } : { seen, part: { upTo, after: found.position } },
    // A view of an earlier call lacks what was written since.
    isEnd: isThrough && part === undefined,
  };
}

function expired(): Failure {
  return new Failure('cursor_expired', 'what follows the cursor is not kept any more: begin again without one');
}
