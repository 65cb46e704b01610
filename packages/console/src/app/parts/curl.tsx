import { useState } from 'react';
import { t } from '../texts.ts';
import { Dialog } from './dialog.tsx';
import { notify } from './toasts.tsx';

export interface Call {
  /** As it is in the path: `kith.user.v1.UserService/CreateUser`. */
  readonly method: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The call as a command for a shell. Passwords are left out. */
function curlOf({ method, body }: Call): string {
  const json = JSON.stringify(body, (key, value: unknown) =>
    /password|code$/i.test(key) && typeof value === 'string' && value !== '' ? '…' : value,
  );
  const quoted = json.replaceAll("'", `'\\''`);
  return [
    `curl ${location.origin}/${method}`,
    `-H "authorization: Bearer $TOKEN"`,
    `-H 'content-type: application/json'`,
    `-d '${quoted}'`,
  ].join(' \\\n  ');
}

/** A button that shows what a page or a form does as a call. */
export function AsCurl({ call }: { readonly call: () => Call }) {
  const [shown, setShown] = useState<string | undefined>(undefined);
  return (
    <>
      <button type="button" className="link quiet" onClick={() => setShown(curlOf(call()))}>
        {t.asCurl}
      </button>
      {shown !== undefined && (
        <Dialog title={t.asCurl} onClose={() => setShown(undefined)} isWide>
          <p className="muted">{t.asCurlLead}</p>
          <pre className="code">{shown}</pre>
          <div className="actions">
            <CopyButton text={shown} />
          </div>
        </Dialog>
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
