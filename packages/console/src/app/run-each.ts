/** What came of one item. */
export type Outcome<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface EachOptions<Item, Result> {
  /** How many run at once. */
  readonly concurrency: number;
  /** Begins no more once it is aborted: what is under way is finished, and told. */
  readonly signal: AbortSignal;
  readonly onOutcome: (item: Item, outcome: Outcome<Result>) => void;
}

/** Does the same to each item, some at once, and goes on where one fails. Resolves when nothing is under way any more. */
export async function runEach<Item, Result>(
  items: readonly Item[],
  run: (item: Item) => Promise<Result>,
  { concurrency, signal, onOutcome }: EachOptions<Item, Result>,
): Promise<void> {
  const waiting = items.values();
  const work = async () => {
    for (const item of waiting) {
      if (signal.aborted) return;
      onOutcome(
        item,
        await run(item).then(
          (result) => ({ kind: 'done', result }) as const,
          (error: unknown) => ({ kind: 'failed', error }) as const,
        ),
      );
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
}
