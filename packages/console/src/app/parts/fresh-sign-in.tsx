import { KithError } from '@kith/client/calls';
import { type ReactNode, useState } from 'react';
import { useConsole } from '../context.tsx';
import { t } from '../texts.ts';
import { Dialog } from './dialog.tsx';

/** For calls that take a sign-in that is not old: `handle` says whether a failure was that, and `dialog` leads to it. */
export function useFreshSignIn(): { readonly handle: (thrown: unknown) => boolean; readonly dialog: ReactNode } {
  const { signOut } = useConsole();
  const [isAsked, setAsked] = useState(false);
  return {
    handle(thrown) {
      const isStale = KithError.from(thrown).reason === 'FRESH_SIGN_IN_REQUIRED';
      if (isStale) setAsked(true);
      return isStale;
    },
    dialog: isAsked && (
      <Dialog title={t.signInAgain} onClose={() => setAsked(false)}>
        <p>{t.freshSignIn}</p>
        <div className="actions">
          <button type="button" className="button primary" onClick={signOut}>
            {t.signInAgain}
          </button>
          <button type="button" className="button" onClick={() => setAsked(false)}>
            {t.cancel}
          </button>
        </div>
      </Dialog>
    ),
  };
}
