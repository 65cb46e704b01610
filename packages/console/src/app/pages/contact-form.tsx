import { KithError } from '@kith/client/calls';
import { type Contact, ContactService } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { Conflict, mergeVersions, type Values, type Versions } from '../parts/conflict.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Field, Form } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { navigate } from '../router.tsx';
import { t } from '../texts.ts';
import { refreshContacts } from '../use-labels.ts';

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

/** What the form has, as texts: lists as JSON, so that versions of them can be compared. */
const FIELDS = [...NAMES, 'emails', 'phones', 'notes'] as const;
type FieldName = (typeof FIELDS)[number];
type Entry = Omit<Line, 'key'>;

function valuesOf({ givenName, familyName, company, jobTitle, emails, phones, notes }: Contact): Values<FieldName> {
  return {
    givenName,
    familyName,
    company,
    jobTitle,
    notes,
    emails: JSON.stringify(emails.map(({ address, type, primary }): Entry => ({ value: address, type, primary }))),
    phones: JSON.stringify(phones.map(({ number, type, primary }): Entry => ({ value: number, type, primary }))),
  };
}

const entriesOf = (text: string): Entry[] => JSON.parse(text) as Entry[];

function shown(name: FieldName, value: string): string {
  return name === 'emails' || name === 'phones'
    ? entriesOf(value)
        .map(({ value: each }) => each)
        .join(', ')
    : value;
}

const linesOf = (text: string): Line[] =>
  entriesOf(text).map(({ value, type, primary }) => toLine(value, type, primary));

const textOf = (lines: readonly Line[]): string =>
  JSON.stringify(
    lines
      .filter(({ value }) => value.trim() !== '')
      .map(({ value, type, primary }): Entry => ({ value, type, primary })),
  );

const EMPTY: Values<FieldName> = {
  givenName: '',
  familyName: '',
  company: '',
  jobTitle: '',
  emails: '[]',
  phones: '[]',
  notes: '',
};

export default function ContactForm({ contact, onClose }: ContactFormProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  // The version that the form began with; after a conflict, the one that the next save replaces.
  const [base, setBase] = useState(contact);
  const before = base === undefined ? EMPTY : valuesOf(base);
  const [versions, setVersions] = useState<Versions<FieldName> | undefined>(undefined);
  // The fields that are texts; the lists have states of their own, since a line that is empty is in none of the versions.
  const [typed, setTyped] = useState(before);
  const [emails, setEmails] = useState(() => (base === undefined ? [toLine('', '', false)] : linesOf(before.emails)));
  const [phones, setPhones] = useState(() => (base === undefined ? [toLine('', '', false)] : linesOf(before.phones)));
  const entered: Values<FieldName> = { ...typed, emails: textOf(emails), phones: textOf(phones) };
  const choose = (name: FieldName, value: string) => {
    if (name === 'emails') setEmails(linesOf(value));
    else if (name === 'phones') setPhones(linesOf(value));
    else setTyped((earlier) => ({ ...earlier, [name]: value }));
  };
  const lists = () => ({
    emails: entriesOf(entered.emails).map(({ value, type, primary }) => ({ address: value, type, primary })),
    phones: entriesOf(entered.phones).map(({ value, type, primary }) => ({ number: value, type, primary })),
  });
  const texts = () => Object.fromEntries([...NAMES, 'notes' as const].map((name) => [name, entered[name]]));
  const creation = () => ({ ...texts(), ...lists() });
  /** What was changed, and no more. */
  const update = ({ id, etag }: Contact) => {
    const changed = FIELDS.filter((name) => entered[name] !== before[name]);
    const all = { ...texts(), emails: { values: lists().emails }, phones: { values: lists().phones } };
    const changes = Object.entries(all).filter(([name]) => changed.includes(name as FieldName));
    return { contactId: id, etag, ...Object.fromEntries(changes) };
  };
  const save = async () => {
    try {
      const { contact: saved } =
        base === undefined ? await contacts.create(creation()) : await contacts.update(update(base));
      queries.setQueryData(['contact', saved.id], saved);
      refreshContacts(queries);
      onClose();
      notify(t.contactSaved(contactName(saved)));
      if (base === undefined) navigate(`contacts/${saved.id}`);
    } catch (thrown) {
      if (base === undefined || KithError.from(thrown).reason !== 'ETAG_MISMATCH') throw thrown;
      const { contact: theirs } = await contacts.get({ contactId: base.id });
      const met = { before, theirs: valuesOf(theirs), mine: entered };
      setVersions(met);
      for (const [name, value] of Object.entries(mergeVersions(met))) choose(name as FieldName, value);
      setBase(theirs);
      queries.setQueryData(['contact', theirs.id], theirs);
    }
  };
  return (
    <Dialog title={contact === undefined ? t.newContact : t.edit} onClose={onClose} isWide={versions !== undefined}>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={
          <AsCurl
            call={() =>
              base === undefined
                ? { method: 'kith.contact.v1.ContactService/CreateContact', body: creation() }
                : { method: 'kith.contact.v1.ContactService/UpdateContact', body: update(base) }
            }
          />
        }
      >
        {(errors) => (
          <>
            {versions !== undefined && (
              <Conflict
                versions={versions}
                entered={entered}
                labelOf={(name) => t[name]}
                shown={shown}
                onChoose={choose}
              />
            )}
            {NAMES.map((name) => (
              <Field
                key={name}
                label={t[name]}
                error={errors.get(name)}
                value={typed[name]}
                onChange={(value) => choose(name, value)}
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
              <textarea
                id="notes"
                rows={3}
                value={typed.notes}
                onChange={({ target }) => choose('notes', target.value)}
              />
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
