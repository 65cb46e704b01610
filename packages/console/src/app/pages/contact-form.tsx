import type { Contact } from '@kith/client/contract';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useConsole } from '../context.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Field, Form } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { navigate } from '../router.tsx';
import { t } from '../texts.ts';
import { nameOf } from './contacts.tsx';

const NAMES = ['givenName', 'familyName', 'company', 'jobTitle'] as const;

interface Line {
  readonly key: number;
  readonly value: string;
  readonly type: string;
  readonly primary: boolean;
}

let lastKey = 0;
const toLine = (value: string, type: string, primary: boolean): Line => ({ key: ++lastKey, value, type, primary });

export interface ContactFormProps {
  /** Absent for a new one. */
  readonly contact: Contact | undefined;
  readonly onClose: () => void;
}

export default function ContactForm({ contact, onClose }: ContactFormProps) {
  const { kith } = useConsole();
  const queries = useQueryClient();
  const [names, setNames] = useState({
    givenName: contact?.givenName ?? '',
    familyName: contact?.familyName ?? '',
    company: contact?.company ?? '',
    jobTitle: contact?.jobTitle ?? '',
  });
  const [emails, setEmails] = useState(
    contact?.emails.map(({ address, type, primary }) => toLine(address, type, primary)) ?? [toLine('', '', false)],
  );
  const [phones, setPhones] = useState(
    contact?.phones.map(({ number, type, primary }) => toLine(number, type, primary)) ?? [toLine('', '', false)],
  );
  const [notes, setNotes] = useState(contact?.notes ?? '');
  const filled = (lines: readonly Line[]) => lines.filter(({ value }) => value.trim() !== '');
  const lists = () => ({
    emails: filled(emails).map(({ value, type, primary }) => ({ address: value, type, primary })),
    phones: filled(phones).map(({ value, type, primary }) => ({ number: value, type, primary })),
  });
  const creation = () => ({ ...names, notes, ...lists() });
  const update = (of: Contact) => ({
    contactId: of.id,
    etag: of.etag,
    ...names,
    notes,
    emails: { values: lists().emails },
    phones: { values: lists().phones },
  });
  const save = async () => {
    const { contact: saved } =
      contact === undefined ? await kith.contacts.create(creation()) : await kith.contacts.update(update(contact));
    queries.setQueryData(['contact', saved.id], saved);
    await queries.invalidateQueries({ queryKey: ['contacts'] });
    onClose();
    notify(t.contactSaved(nameOf(saved)));
    if (contact === undefined) navigate(`contacts/${saved.id}`);
  };
  return (
    <Dialog title={contact === undefined ? t.newContact : t.edit} onClose={onClose}>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={
          <AsCurl
            call={() =>
              contact === undefined
                ? { method: 'kith.contact.v1.ContactService/CreateContact', body: creation() }
                : { method: 'kith.contact.v1.ContactService/UpdateContact', body: update(contact) }
            }
          />
        }
      >
        {(errors) => (
          <>
            {NAMES.map((name) => (
              <Field
                key={name}
                label={t[name]}
                error={errors.get(name)}
                value={names[name]}
                onChange={(value) => setNames((before) => ({ ...before, [name]: value }))}
              />
            ))}
            <Lines
              title={t.emails}
              label={t.email}
              lines={emails}
              onChange={setEmails}
              errorOf={(i) => errors.get(`emails[${i}].address`) ?? errors.get(`emails.values[${i}].address`)}
            />
            <Lines
              title={t.phones}
              label={t.number}
              lines={phones}
              onChange={setPhones}
              errorOf={(i) => errors.get(`phones[${i}].number`) ?? errors.get(`phones.values[${i}].number`)}
            />
            <div className="field">
              <label htmlFor="notes">{t.notes}</label>
              <textarea id="notes" rows={3} value={notes} onChange={({ target }) => setNotes(target.value)} />
            </div>
          </>
        )}
      </Form>
    </Dialog>
  );
}

interface LinesProps {
  readonly title: string;
  readonly label: string;
  readonly lines: readonly Line[];
  readonly onChange: (lines: Line[]) => void;
  readonly errorOf: (index: number) => string | undefined;
}

function Lines({ title, label, lines, onChange, errorOf }: LinesProps) {
  const change = (key: number, changes: Partial<Line>) =>
    onChange(lines.map((line) => (line.key === key ? { ...line, ...changes } : line)));
  return (
    <fieldset className="lines">
      <legend>{title}</legend>
      {lines.map(({ key, value, type }, i) => (
        <div key={key} className="line">
          <Field label={label} error={errorOf(i)} value={value} onChange={(next) => change(key, { value: next })} />
          <Field label={t.kind} value={type} onChange={(next) => change(key, { type: next })} />
          <button
            type="button"
            className="icon-button"
            aria-label={`${t.remove} ${value}`}
            onClick={() => onChange(lines.filter((line) => line.key !== key))}
          >
            ×
          </button>
        </div>
      ))}
      <button type="button" className="link" onClick={() => onChange([...lines, toLine('', '', false)])}>
        {t.add}
      </button>
    </fieldset>
  );
}
