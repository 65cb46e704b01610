/** How many contacts one transaction writes: others write in between, and a stop waits no longer. */
export const STEP_CONTACTS = 50;

/** Does something for many contacts in steps of STEP_CONTACTS, one after the other, and returns the results of all. */
export async function inSteps<Item, Result>(
  items: readonly Item[],
  run: (step: readonly Item[]) => Promise<readonly Result[]>,
  signal: AbortSignal | undefined,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += STEP_CONTACTS) {
    signal?.throwIfAborted();
    results.push(...(await run(items.slice(start, start + STEP_CONTACTS))));
  }
  return results;
}

/** Thrown to undo what a transaction wrote, and to give what would have come of it. See mayUndo. */
export class Undo<Result> extends Error {
  readonly results: readonly Result[];

  constructor(results: readonly Result[]) {
    super('undone');
    this.results = results;
  }
}

/** Runs a transaction that may throw Undo. Returns the results, and whether they were undone. */
export async function mayUndo<Result>(
  run: () => Promise<readonly Result[]>,
): Promise<{ readonly results: readonly Result[]; readonly isUndone: boolean }> {
  try {
    return { results: await run(), isUndone: false };
  } catch (error) {
    if (!(error instanceof Undo)) throw error;
    return { results: error.results as readonly Result[], isUndone: true };
  }
}
