import { useEffect, useSyncExternalStore } from 'react';
import { t } from '../texts.ts';

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isError: boolean;
  readonly undo: (() => void) | undefined;
}

/** How long a message stays, milliseconds; one that can be undone stays longer. */
const SHOWN_MS = { plain: 6_000, undo: 15_000 };
const TOASTS_MAX = 4;

let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function replace(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Tells what was done, with a way to take it back if there is one. */
export function notify(text: string, options: { readonly undo?: () => void; readonly isError?: boolean } = {}): void {
  const { undo, isError = false } = options;
  replace([...toasts, { id: ++lastId, text, isError, undo }].slice(-TOASTS_MAX));
}

const dismiss = (id: number) => replace(toasts.filter((toast) => toast.id !== id));

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <ShownToast key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function ShownToast({ toast: { id, text, isError, undo } }: { readonly toast: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(id), undo === undefined ? SHOWN_MS.plain : SHOWN_MS.undo);
    return () => clearTimeout(timer);
  }, [id, undo]);
  return (
    <div className={isError ? 'toast error' : 'toast'}>
      <span>{text}</span>
      {undo !== undefined && (
        <button
          type="button"
          className="link"
          onClick={() => {
            dismiss(id);
            undo();
          }}
        >
          {t.undo}
        </button>
      )}
      <button type="button" className="icon-button" aria-label={t.dismiss} onClick={() => dismiss(id)}>
        ×
      </button>
    </div>
  );
}
