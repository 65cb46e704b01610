import { lazy, Suspense, useState } from 'react';
import type { Call } from '../call-code.ts';
import { t } from '../texts.ts';
import { notify } from './toasts.tsx';

const CallDialog = lazy(() => import('./call-dialog.tsx'));

/** A button that shows what a page or a form does as a call. */
export function AsCode({ call }: { readonly call: () => Call }) {
  const [shown, setShown] = useState<Call | undefined>(undefined);
  return (
    <>
      <button type="button" className="link quiet" onClick={() => setShown(call())}>
        {t.asCode}
      </button>
      {shown !== undefined && (
        <Suspense>
          <CallDialog call={shown} onClose={() => setShown(undefined)} />
        </Suspense>
      )}
    </>
  );
}

export function CopyButton({ text }: { readonly text: string }) {
  const copy = () => navigator.clipboard.writeText(text).then(() => notify(t.copied));
  // Pages that came over plain HTTP from another machine have no clipboard: the text can be selected.
  if (!('clipboard' in navigator)) return null;
  return (
    <button type="button" className="button" onClick={() => void copy()}>
      {t.copy}
    </button>
  );
}
