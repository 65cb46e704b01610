import { type ReactNode, useRef, useState } from 'react';
import { describeFailure } from '../failures.ts';
import { type Outcome, runEach } from '../run-each.ts';
import { selectionTexts } from '../selection-texts.ts';
import { t } from '../texts.ts';
import { Dialog } from './dialog.tsx';
import { notify } from './toasts.tsx';

/** How many calls are under way at once: what a person does is not to keep others waiting. */
const CONCURRENCY = 4;

/** By a call for each item, which fails as the call does, or by one call for all, which answers for each in their order. */
export type Work<Item, Result> =
  | { readonly each: (item: Item) => Promise<Result> }
  | { readonly all: (items: readonly Item[]) => Promise<readonly Outcome<Result>[]> };

/** An item, and what doing it gave. */
export interface Done<Item, Result> {
  readonly item: Item;
  readonly result: Result;
}

/** What is done to each item of a selection. */
export interface BulkAction<Item, Result> {
  /** Of the dialog: "Suspend". */
  readonly title: string;
  readonly items: readonly Item[];
  readonly nameOf: (item: Item) => string;
  readonly run: Work<Item, Result>;
  /** What to tell when it is done: "Suspended 12 users". */
  readonly done: (count: number) => string;
  /** Takes it back. */
  readonly undo?: Work<Done<Item, Result>, unknown>;
}

export interface Bulk {
  start<Item, Result>(action: BulkAction<Item, Result>): void;
}

interface Row {
  readonly name: string;
  readonly outcome: Outcome<unknown> | undefined;
}

interface Running {
  readonly title: string;
  readonly rows: readonly Row[];
  readonly isDone: boolean;
  readonly stop: () => void;
  /** Takes back what was done. */
  readonly undo: (() => void) | undefined;
}

/**
 * Does the same to many items: `dialog` shows how far it is and what came of each, and goes by itself when all of it went
 * well. `onChanged` is called in the end, however it went.
 */
export function useBulk(onChanged: () => void): Bulk & { readonly dialog: ReactNode } {
  const [running, setRunning] = useState<Running | undefined>(undefined);
  const ended = useRef<AbortController | undefined>(undefined);

  function start<Item, Result>(action: BulkAction<Item, Result>): void {
    const { items, nameOf, title, run, done, undo } = action;
    if (items.length === 0) return notify(selectionTexts.nothingToDo);
    const stopped = new AbortController();
    ended.current = stopped;
    const outcomes = new Map<Item, Outcome<Result>>();
    const show = (isDone: boolean) => {
      const well = [...outcomes].flatMap(([item, outcome]) =>
        outcome.kind === 'done' ? [{ item, result: outcome.result }] : [],
      );
      const takeBack = () =>
        start({
          title: t.undo,
          items: well,
          nameOf: ({ item }) => nameOf(item),
          run: undo!,
          done: selectionTexts.undone,
        });
      const canUndo = isDone && undo !== undefined && well.length > 0;
      if (isDone && well.length === items.length) {
        notify(done(well.length), canUndo ? { undo: takeBack } : {});
        setRunning(undefined);
        return;
      }
      setRunning({
        title,
        // In the end, what failed comes first.
        rows: items
          .map((item) => ({ name: nameOf(item), outcome: outcomes.get(item) }))
          .toSorted((a, b) => (isDone ? Number(isFailed(b)) - Number(isFailed(a)) : 0)),
        isDone,
        stop: () => stopped.abort(),
        undo: canUndo ? takeBack : undefined,
      });
    };
    show(false);
    const tell = (item: Item, outcome: Outcome<Result>) => {
      outcomes.set(item, outcome);
      show(false);
    };
    const work = async () => {
      if ('each' in run) {
        await runEach(items, run.each, { concurrency: CONCURRENCY, signal: stopped.signal, onOutcome: tell });
      } else {
        const came = await run
          .all(items)
          .catch((error: unknown) => items.map((): Outcome<Result> => ({ kind: 'failed', error })));
        for (const [i, outcome] of came.entries()) tell(items[i]!, outcome);
      }
      show(true);
      onChanged();
    };
    void work();
  }

  return {
    start,
    dialog: running !== undefined && (
      <Progress
        running={running}
        onClose={() => {
          ended.current?.abort();
          if (running.isDone) setRunning(undefined);
        }}
      />
    ),
  };
}

const isFailed = ({ outcome }: Row): boolean => outcome?.kind === 'failed';

function Progress({ running, onClose }: { readonly running: Running; readonly onClose: () => void }) {
  const { title, rows, isDone, stop, undo } = running;
  const told = rows.filter(({ outcome }) => outcome !== undefined).length;
  const failed = rows.filter(isFailed).length;
  return (
    <Dialog title={title} onClose={onClose} isWide>
      <progress max={rows.length} value={told} aria-label={title} />
      <p role="status">
        {t.progress(told, rows.length)}
        {failed > 0 && ` ${selectionTexts.failures(failed)}`}
      </p>
      <div className="results" tabIndex={0} role="region" aria-label={t.results}>
        <table className="table">
          <tbody>
            {rows.map(({ name, outcome }, i) => (
              <tr key={i}>
                <th scope="row">{name}</th>
                <td>
                  {outcome === undefined ? (
                    <span className="muted">{isDone ? selectionTexts.notDone : '…'}</span>
                  ) : outcome.kind === 'done' ? (
                    <span className="badge good">{selectionTexts.doneOne}</span>
                  ) : (
                    <span className="bad-text">{describeFailure(outcome.error)}</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="actions">
        {isDone ? (
          <>
            <button type="button" className="button primary" onClick={onClose}>
              {t.close}
            </button>
            {undo !== undefined && (
              <button type="button" className="button" onClick={undo}>
                {t.undo}
              </button>
            )}
          </>
        ) : (
          <button type="button" className="button" onClick={stop}>
            {t.stop}
          </button>
        )}
      </div>
    </Dialog>
  );
}
