import { type ReactNode, useEffect, useEffectEvent, useRef, useState } from 'react';
import { selectionTexts } from '../selection-texts.ts';

/** As many as one action takes. */
export const SELECTED_MAX = 500;

export interface Selection<Item> {
  /** In the order in which they were selected, whether they are shown or not. */
  readonly items: readonly Item[];
  has(id: string): boolean;
  /** Selects the item at this place of a list, or no more; with the range, all from the one that was changed before. */
  toggle(shown: readonly Item[], index: number, isRange: boolean): void;
  /** Selects all of these, or none of them when all are selected. */
  toggleAll(shown: readonly Item[]): void;
  clear(): void;
  /** Takes what a list shows of selected items in place of what they were when they were selected. */
  refresh(shown: readonly Item[]): void;
}

/** What is selected in a list, also on pages that are not shown. */
export function useSelection<Item extends { readonly id: string }>(): Selection<Item> {
  const [selected, setSelected] = useState<ReadonlyMap<string, Item>>(new Map());
  const lastId = useRef<string | undefined>(undefined);
  const change = (items: readonly Item[], isOn: boolean) =>
    setSelected((before) => {
      const next = new Map(before);
      for (const item of items) {
        if (!isOn) next.delete(item.id);
        else if (next.size < SELECTED_MAX || next.has(item.id)) next.set(item.id, item);
      }
      return next;
    });
  return {
    items: [...selected.values()],
    has: (id) => selected.has(id),
    toggle(shown, index, isRange) {
      const item = shown[index]!;
      const from = isRange ? shown.findIndex(({ id }) => id === lastId.current) : -1;
      const range = from === -1 ? [item] : shown.slice(Math.min(from, index), Math.max(from, index) + 1);
      change(range, !selected.has(item.id));
      lastId.current = item.id;
    },
    toggleAll: (shown) => change(shown, !shown.every(({ id }) => selected.has(id))),
    clear: () => setSelected(new Map()),
    refresh: (shown) =>
      change(
        shown.filter(({ id }) => selected.has(id)),
        true,
      ),
  };
}

/** Keeps a selection to what a list shows: what is done to an item is done to the version that one sees. */
export function useShown<Item extends { readonly id: string }>(
  selection: Selection<Item> | undefined,
  shown: readonly Item[] | undefined,
): void {
  const refresh = useEffectEvent((items: readonly Item[]) => selection?.refresh(items));
  useEffect(() => {
    if (shown !== undefined) refresh(shown);
  }, [shown]);
}

interface SelectBoxProps<Item> {
  readonly selection: Selection<Item>;
  readonly shown: readonly Item[];
}

/** Selects the item at one place of the list; with the shift key, a range. */
export function SelectBox<Item extends { readonly id: string }>({
  selection,
  shown,
  index,
  name,
}: SelectBoxProps<Item> & { readonly index: number; readonly name: string }) {
  return (
    <label className="select-box">
      <input
        type="checkbox"
        aria-label={selectionTexts.selectOne(name)}
        checked={selection.has(shown[index]!.id)}
        onChange={({ nativeEvent }) =>
          selection.toggle(shown, index, nativeEvent instanceof MouseEvent && nativeEvent.shiftKey)
        }
      />
    </label>
  );
}

/** Selects all that is shown. */
export function SelectAllBox<Item extends { readonly id: string }>({ selection, shown }: SelectBoxProps<Item>) {
  const count = shown.filter(({ id }) => selection.has(id)).length;
  return (
    <label className="select-box">
      <input
        type="checkbox"
        aria-label={selectionTexts.selectAll}
        ref={(box) => {
          if (box !== null) box.indeterminate = count > 0 && count < shown.length;
        }}
        checked={count > 0 && count === shown.length}
        onChange={() => selection.toggleAll(shown)}
      />
    </label>
  );
}

/** What can be done with the selection; nothing while nothing is selected. */
export function SelectionBar<Item>({
  selection,
  children,
}: {
  readonly selection: Selection<Item>;
  readonly children: ReactNode;
}) {
  const { length } = selection.items;
  if (length === 0) return null;
  return (
    <section className="selection-bar" aria-label={selectionTexts.selection}>
      <span role="status">
        {selectionTexts.selected(length)}
        {length === SELECTED_MAX && <span className="muted"> {selectionTexts.selectedMax}</span>}
      </span>
      <div className="actions">
        {children}
        <button type="button" className="link" onClick={selection.clear}>
          {selectionTexts.clearSelection}
        </button>
      </div>
    </section>
  );
}
