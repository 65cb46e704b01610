import type { Label } from '@kith/client/labels';
import { type DragEvent, lazy, Suspense, useState } from 'react';
import { useLabels } from '../use-labels.ts';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { LabelDot } from './label-dot.tsx';

const LabelForm = lazy(() => import('../pages/label-form.tsx'));

/** What is dragged from the list of contacts. */
export const DRAGGED_CONTACTS = 'application/x-kith-contacts';

export interface LabelListProps {
  /** The ids of labels of which a contact has to have one. */
  readonly chosen: readonly string[];
  readonly onChoose: (ids: readonly string[]) => void;
  /** Contacts were dropped on a label. */
  readonly onDrop: (label: Label, contactIds: readonly string[]) => void;
}

/** The labels with how many contacts have each: to filter by, to drop contacts on, and to change. */
export function LabelList({ chosen, onChoose, onDrop }: LabelListProps) {
  const labels = useLabels();
  const [edited, setEdited] = useState<Label | 'new' | undefined>(undefined);
  return (
    <section className="label-list" aria-labelledby="labels">
      <div className="label-list-head">
        <h2 id="labels">{contactTexts.labels}</h2>
        <button type="button" className="link" onClick={() => setEdited('new')}>
          {contactTexts.newLabel}
        </button>
      </div>
      {labels.length === 0 && <p className="muted">{contactTexts.noLabels}</p>}
      <ul>
        {labels.map((label) => (
          <LabelRow
            key={label.id}
            label={label}
            isChosen={chosen.includes(label.id)}
            onToggle={() =>
              onChoose(chosen.includes(label.id) ? chosen.filter((id) => id !== label.id) : [...chosen, label.id])
            }
            onEdit={() => setEdited(label)}
            onDrop={(ids) => onDrop(label, ids)}
          />
        ))}
      </ul>
      {chosen.length > 0 && (
        <button type="button" className="link" onClick={() => onChoose([])}>
          {contactTexts.allContacts}
        </button>
      )}
      <Suspense>
        {edited !== undefined && (
          <LabelForm
            label={edited === 'new' ? undefined : edited}
            onDeleted={(id) => onChoose(chosen.filter((each) => each !== id))}
            onClose={() => setEdited(undefined)}
          />
        )}
      </Suspense>
    </section>
  );
}

interface LabelRowProps {
  readonly label: Label;
  readonly isChosen: boolean;
  readonly onToggle: () => void;
  readonly onEdit: () => void;
  readonly onDrop: (contactIds: readonly string[]) => void;
}

function LabelRow({ label, isChosen, onToggle, onEdit, onDrop }: LabelRowProps) {
  const [isOver, setOver] = useState(false);
  const onDrag = (event: DragEvent) => {
    if (!event.dataTransfer.types.includes(DRAGGED_CONTACTS)) return;
    event.preventDefault();
    setOver(event.type === 'dragover');
  };
  return (
    <li
      className={isOver ? 'over' : undefined}
      onDragOver={onDrag}
      onDragLeave={onDrag}
      onDrop={(event) => {
        onDrag(event);
        const dragged = event.dataTransfer.getData(DRAGGED_CONTACTS);
        if (dragged !== '') onDrop(dragged.split(','));
      }}
    >
      <button type="button" className="label-button" aria-pressed={isChosen} onClick={onToggle}>
        <LabelDot color={label.color} />
        <span className="label-name">{label.name}</span>
        <span className="muted">{label.contactCount.toLocaleString()}</span>
      </button>
      <button type="button" className="icon-button" aria-label={`${t.edit}: ${label.name}`} onClick={onEdit}>
        ⋯
      </button>
    </li>
  );
}
