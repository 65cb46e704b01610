import type { Caller } from '../kernel/access.ts';
import { type PartRefusal, toPartRefusal } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import type { ContactsApp } from './contacts.ts';
import { inSteps, mayUndo, Undo } from './steps.ts';

/** What comes of a contact of a batch that is not refused. */
export type BatchDone = 'created' | 'updated';

/** What came of one contact of a batch. */
export type BatchResult<Response> =
  | { readonly status: BatchDone; readonly response: Response }
  | Refused
  | { readonly status: 'left_out' };

export interface Refused {
  readonly status: 'refused';
  readonly refusal: PartRefusal;
}

/** A change of many contacts. */
export interface Batch<Item, Response> {
  /** What to do for each, or why it is refused already. */
  readonly items: readonly (Item | Refused)[];
  /** Do it for none if one is refused. */
  readonly allOrNothing: boolean;
  readonly done: BatchDone;
  /** Does it for one. What it throws refuses that one, so it throws before it writes anything. */
  readonly each: (tx: Db, item: Item) => Promise<Response>;
}

/**
 * Does something for many contacts of the caller's, and says of each what came of it. They are written in steps,
 * each in a transaction; or, all or nothing, in one, and not at all if one is refused.
 */
export async function runBatch<Item extends object, Response>(
  app: ContactsApp,
  caller: Caller,
  { items, allOrNothing, done, each }: Batch<Item, Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const runOne = async (tx: Db, item: Item | Refused): Promise<BatchResult<Response>> => {
    if (isRefused(item)) return item;
    try {
      return { status: done, response: await each(tx, item) };
    } catch (error) {
      return { status: 'refused', refusal: toPartRefusal(error) };
    }
  };
  const run = (some: readonly (Item | Refused)[]) =>
    app.database.transaction(async (tx) => {
      const results: BatchResult<Response>[] = [];
      for (const item of some) results.push(await runOne(tx, item));
      if (allOrNothing && results.some(({ status }) => status === 'refused')) throw new Undo(results);
      return results;
    }, caller.userId);
  if (!allOrNothing) return inSteps(items, run, signal);
  const { results, isUndone } = await mayUndo(() => run(items));
  return results.map((result) => (isUndone && result.status !== 'refused' ? { status: 'left_out' } : result));
}

function isRefused(item: object): item is Refused {
  return 'status' in item && item.status === 'refused';
}
