import { type Label, LabelService } from '@kith/client/labels';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { refreshContacts } from '../use-labels.ts';

const FIRST_COLOR = '#4338ca';

export interface LabelFormProps {
  /** Absent for a new one. */
  readonly label: Label | undefined;
  readonly onDeleted: (id: string) => void;
  readonly onClose: () => void;
}

/** Creates a label, or changes or deletes one. */
export default function LabelForm({ label, onDeleted, onClose }: LabelFormProps) {
  const labels = useService(LabelService, 'Label');
  const queries = useQueryClient();
  const [name, setName] = useState(label?.name ?? '');
  const [color, setColor] = useState(label?.color || FIRST_COLOR);
  const [hasColor, setHasColor] = useState(label === undefined || label.color !== '');
  const fields = { name, color: hasColor ? color : '' };
  const save = async () => {
    if (label === undefined) await labels.create(fields);
    else await labels.update({ labelId: label.id, etag: label.etag, ...fields });
    refreshContacts(queries);
    onClose();
    notify(contactTexts.labelSaved(name.trim()));
  };
  const restore = async (id: string) => {
    try {
      await labels.undelete({ labelId: id });
      notify(contactTexts.labelRestored(name));
    } catch (thrown) {
      notify(describeFailure(thrown), { isError: true });
    }
    refreshContacts(queries);
  };
  const remove = async ({ id, etag }: Label) => {
    try {
      await labels.delete({ labelId: id, etag });
      onDeleted(id);
      onClose();
      notify(contactTexts.labelDeleted(name), { undo: () => void restore(id) });
    } catch (thrown) {
      notify(describeFailure(thrown), { isError: true });
    }
    refreshContacts(queries);
  };
  return (
    <Dialog title={label === undefined ? contactTexts.newLabel : contactTexts.editLabel} onClose={onClose}>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={
          <>
            {label !== undefined && (
              <button type="button" className="button danger" onClick={() => void remove(label)}>
                {t.delete}
              </button>
            )}
            <AsCode
              call={() =>
                label === undefined
                  ? { method: 'kith.contact.v1.LabelService/CreateLabel', body: fields }
                  : { method: 'kith.contact.v1.LabelService/UpdateLabel', body: { labelId: label.id, ...fields } }
              }
            />
          </>
        }
      >
        {(errors) => (
          <>
            <Field label={t.name} error={errors.get('name')} value={name} onChange={setName} />
            <Checkbox label={contactTexts.withColor} checked={hasColor} onChange={setHasColor} />
            {hasColor && (
              <Field
                label={contactTexts.color}
                type="color"
                error={errors.get('color')}
                value={color}
                onChange={setColor}
              />
            )}
          </>
        )}
      </Form>
    </Dialog>
  );
}
