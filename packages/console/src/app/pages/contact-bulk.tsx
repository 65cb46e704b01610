import { type Contact, ContactService } from '@kith/client/contacts';
import { useState } from 'react';
import { useService } from '../context.tsx';
import { contactName } from '../contact-name.ts';
import type { Bulk } from '../parts/bulk.tsx';
import { Select } from '../parts/form.tsx';
import type { Selection } from '../parts/selection.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { useLabelContacts, useLabels } from '../use-labels.ts';

export interface ContactBulkProps {
  readonly selection: Selection<Contact>;
  readonly bulk: Bulk;
}

/** What can be done with several contacts at once. Each of it can be taken back. */
export default function ContactBulk({ selection: { items }, bulk }: ContactBulkProps) {
  const contacts = useService(ContactService, 'Contact');
  const labels = useLabels();
  const labelContacts = useLabelContacts(bulk);
  const [chosenId, setChosenId] = useState('');
  const label = labels.find(({ id }) => id === chosenId) ?? labels[0];
  const remove = () =>
    bulk.start({
      title: t.delete,
      items,
      nameOf: contactName,
      run: { each: async ({ id, etag }) => (await contacts.delete({ contactId: id, etag })).contact },
      undo: { each: ({ result: { id, etag } }) => contacts.undelete({ contactId: id, etag }) },
      done: contactTexts.contactsDeleted,
    });
  return (
    <>
      {label !== undefined && (
        <span className="actions">
          <Select
            label={contactTexts.label}
            isLabelHidden
            value={label.id}
            options={labels.map(({ id, name }) => [id, name] as const)}
            onChange={setChosenId}
          />
          <button type="button" className="button" onClick={() => labelContacts(label, items, true)}>
            {contactTexts.addLabel}
          </button>
          <button type="button" className="button" onClick={() => labelContacts(label, items, false)}>
            {contactTexts.removeLabel}
          </button>
        </span>
      )}
      <button type="button" className="button danger" onClick={remove}>
        {t.delete}
      </button>
    </>
  );
}
