import type { Caller } from '../kernel/access.ts';
import { type PartRefusal, toPartRefusal } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import type { ContactsApp } from './contacts.ts';
import { inSteps, mayUndo, Undo } from './steps.ts';

/** What comes of a contact of a batch that is not refused. */
export type BatchDone = 'created' | 'updated' | 'deleted';

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
  /** What a response is replaced with where those before take ANSWER_TEXT_MAX together. */
  readonly shorten: (response: Response) => Response;
}

/** What the responses of a batch take together, UTF-16 code units: in UTF-8, less than gRPC clients receive at the most. */
const ANSWER_TEXT_MAX = 1_000_000;

/**
 * Does something for many contacts of the caller's, and says of each what came of it. They are written in steps,
 * each in a transaction; or, all or nothing, in one, and not at all if one is refused.
 */
export async function runBatch<Item extends object, Response>(
  app: ContactsApp,
  caller: Caller,
  { items, allOrNothing, done, each, shorten }: Batch<Item, Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  let textBefore = 0;
  const runOne = async (tx: Db, item: Item | Refused): Promise<BatchResult<Response>> => {
    if (isRefused(item)) return item;
    try {
      return { status: done, response: await each(tx, item) };
    } catch (error) {
      return { status: 'refused', refusal: toPartRefusal(error) };
    }
  };
  const run = async (some: readonly (Item | Refused)[]) => {
    let text = 0;
    const written = await app.database.transaction(async (tx) => {
      const results: BatchResult<Response>[] = [];
      text = textBefore;
      for (const item of some) {
        const result = await runOne(tx, item);
        const isTooMuch = text > ANSWER_TEXT_MAX && 'response' in result;
        results.push(isTooMuch ? { ...result, response: shorten(result.response) } : result);
        if ('response' in result) text += textIn(result.response);
      }
      if (allOrNothing && results.some(({ status }) => status === 'refused')) throw new Undo(results);
      return results;
    }, caller.userId);
    textBefore = text;
    return written;
  };
  if (!allOrNothing) return inSteps(items, run, signal);
  const { results, isUndone } = await mayUndo(() => run(items));
  return results.map((result) => (isUndone && result.status !== 'refused' ? { status: 'left_out' } : result));
}

function isRefused(item: object): item is Refused {
  return 'status' in item && item.status === 'refused';
}

/** How long the texts in plain data are together. */
function textIn(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  let sum = 0;
  for (const part of Object.values(value)) sum += textIn(part);
  return sum;
}
