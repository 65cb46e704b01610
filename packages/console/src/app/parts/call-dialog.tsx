import { useState } from 'react';
import { type Call, CALL_CODE } from '../call-code.ts';
import { t } from '../texts.ts';
import { CopyButton } from './as-code.tsx';
import { Dialog } from './dialog.tsx';

/** A call in each form that it can be written in. */
export default function CallDialog({ call, onClose }: { readonly call: Call; readonly onClose: () => void }) {
  const [name, setName] = useState('curl');
  const code = CALL_CODE[name]?.(call, location.origin) ?? '';
  return (
    <Dialog title={t.asCode} onClose={onClose} isWide>
      <fieldset className="actions code-forms" aria-label={t.asCode}>
        {Object.keys(CALL_CODE).map((each) => (
          <button
            key={each}
            type="button"
            className="button"
            aria-pressed={each === name}
            onClick={() => setName(each)}
          >
            {each}
          </button>
        ))}
      </fieldset>
      <p className="muted">{t.asCodeLead}</p>
      <pre className="code" lang="en" dir="ltr">
        {code}
      </pre>
      <div className="actions">
        <CopyButton text={code} />
      </div>
    </Dialog>
  );
}
