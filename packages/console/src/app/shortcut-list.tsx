import { useState } from 'react';
import { Dialog } from './parts/dialog.tsx';
import { Checkbox } from './parts/form.tsx';
import { areShortcutsOn, turnShortcuts } from './shortcuts.ts';
import { t } from './texts.ts';

const KEYS = [
  ['Ctrl K', t.keys.commands],
  ['?', t.keys.shortcuts],
  ['/', t.keys.search],
  ['n', t.keys.create],
  ['g o · g u · g a · g c · g s · g m', t.keys.go],
] as const;

export default function ShortcutList({ onClose }: { readonly onClose: () => void }) {
  const [isOn, setOn] = useState(areShortcutsOn);
  return (
    <Dialog title={t.shortcuts} onClose={onClose}>
      <dl className="facts">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <Checkbox
        label={t.shortcuts}
        checked={isOn}
        onChange={(checked) => {
          turnShortcuts(checked);
          setOn(checked);
        }}
      />
    </Dialog>
  );
}
