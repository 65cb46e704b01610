import { KithError } from '@kith/client/calls';
import { type Contact, ContactService } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { dateText, NAME_FIELDS, WORK_FIELDS } from '../contact-fields.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { fieldTexts } from '../field-texts.ts';
import {
  blank,
  COLUMNS,
  type Entered,
  entriesToEdit,
  entriesToSend,
  isBlank,
  type ListName,
  readDate,
  writeDate,
} from '../form-lists.ts';
import { Conflict, mergeVersions, type Values, type Versions } from '../parts/conflict.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { DateField } from '../parts/date-field.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form, TextArea } from '../parts/form.tsx';
import { Lines, linesOf, type Line } from '../parts/lines.tsx';
import { notify } from '../parts/toasts.tsx';
import { navigate } from '../router.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { refreshContacts, useLabels } from '../use-labels.ts';

const LISTS = Object.keys(COLUMNS) as ListName[];
const isList = (name: string): name is ListName => name in COLUMNS;

/** The fields of the form in their order. */
const FIELDS = [
  ...NAME_FIELDS,
  ...WORK_FIELDS,
  'birthday',
  'emails',
  'phones',
  'addresses',
  'urls',
  'messagingHandles',
  'dates',
  'relations',
  'languages',
  'timeZone',
  'customFields',
  'notes',
  'labelIds',
  'source',
] as const;
type FieldName = (typeof FIELDS)[number];
type TextName = Exclude<FieldName, ListName | 'labelIds'>;

/** The fields that are there before anything is entered in them. */
const USUAL: ReadonlySet<FieldName> = new Set([
  'givenName',
  'familyName',
  'company',
  'jobTitle',
  'emails',
  'phones',
  'notes',
  'labelIds',
]);

/** What a form has of a contact, as texts: lists as JSON, so that versions of them can be compared. */
function valuesOf(contact: Contact | undefined): Values<FieldName> {
  const valueOf = (name: FieldName): string => {
    if (contact === undefined) return isList(name) || name === 'labelIds' ? '[]' : '';
    if (isList(name)) return JSON.stringify(entriesToEdit(contact, name));
    if (name === 'labelIds') return JSON.stringify(contact.labelIds.toSorted());
    return name === 'birthday' ? writeDate(contact.birthday) : contact[name];
  };
  return Object.fromEntries(FIELDS.map((name) => [name, valueOf(name)])) as Values<FieldName>;
}

const parsed = (text: string): Entered[] => JSON.parse(text) as Entered[];

const listText = (lines: readonly Line[]): string =>
  JSON.stringify(lines.filter((line) => !isBlank(line)).map(({ values, primary }): Entered => ({ values, primary })));

export interface ContactFormProps {
  /** Absent for a new one. */
  readonly contact: Contact | undefined;
  readonly onClose: () => void;
}

/** Every field of a contact that its owner sets. */
export default function ContactForm({ contact, onClose }: ContactFormProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const labels = useLabels();
  // The version that the form began with; after a conflict, the one that the next save replaces.
  const [base, setBase] = useState(contact);
  const before = valuesOf(base);
  const [versions, setVersions] = useState<Versions<FieldName> | undefined>(undefined);
  // The fields that are texts; the lists have a state of their own, since a line that is empty is in none of the versions.
  const [typed, setTyped] = useState(before);
  const [lists, setLists] = useState(() => linesToBegin(before, contact === undefined));
  const { shown, container, add } = useShownFields(before);
  const entered: Values<FieldName> = {
    ...typed,
    ...Object.fromEntries(LISTS.map((name) => [name, listText(lists[name])])),
  };
  const changeLines = (name: ListName, lines: readonly Line[]) =>
    setLists((earlier) => ({ ...earlier, [name]: lines }));
  const choose = (name: FieldName, value: string) => {
    if (isList(name)) changeLines(name, linesOf(parsed(value)));
    else setTyped((earlier) => ({ ...earlier, [name]: value }));
  };
  const chosenLabels = JSON.parse(typed.labelIds) as string[];

  const valueToSend = (name: FieldName): unknown => {
    if (isList(name)) return entriesToSend(name, parsed(entered[name]));
    if (name === 'labelIds') return chosenLabels;
    return name === 'birthday' ? readDate(entered.birthday) : entered[name];
  };
  const creation = (): Readonly<Record<string, unknown>> =>
    Object.fromEntries(FIELDS.filter((name) => entered[name] !== EMPTY[name]).map((name) => [name, valueToSend(name)]));
  /** What was changed, and no more. */
  const update = ({ id, etag }: Contact) => {
    const changes = FIELDS.filter((name) => entered[name] !== before[name]).map((name) => {
      const value = valueToSend(name);
      if (name === 'birthday') return [name, { value }];
      return [name, Array.isArray(value) ? { values: value } : value];
    });
    return { contactId: id, etag, ...Object.fromEntries(changes) };
  };
  const save = async () => {
    try {
      const { contact: saved } =
        base === undefined ? await contacts.create(creation()) : await contacts.update(update(base));
      queries.setQueryData(['contact', saved.id], saved);
      refreshContacts(queries);
      onClose();
      notify(contactTexts.contactSaved(contactName(saved)));
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
  const isShown = (name: FieldName) =>
    shown.has(name) || USUAL.has(name) || typed[name] !== EMPTY[name] || (isList(name) && lists[name].length > 0);
  const hidden = FIELDS.filter((name) => !isShown(name));
  const labelsOfIds = (ids: readonly string[]) =>
    ids.map((id) => labels.find((label) => label.id === id)?.name ?? t.unknown);
  return (
    <Dialog title={contact === undefined ? contactTexts.newContact : t.edit} onClose={onClose} isWide>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={
          <AsCode
            call={() =>
              base === undefined
                ? { method: 'kith.contact.v1.ContactService/CreateContact', body: creation() }
                : { method: 'kith.contact.v1.ContactService/UpdateContact', body: update(base) }
            }
          />
        }
      >
        {(violations) => {
          const errors = byField(violations);
          const textField = (name: TextName) =>
            name === 'notes' ? (
              <TextArea
                label={fieldTexts.notes}
                error={errors.get(name)}
                rows={3}
                value={typed.notes}
                onChange={(value) => choose('notes', value)}
              />
            ) : name === 'birthday' ? (
              <DateField
                label={fieldTexts.birthday}
                error={errorWithin(errors, name)}
                value={typed.birthday}
                onChange={(value) => choose('birthday', value)}
              />
            ) : (
              <Field
                label={fieldTexts[name]}
                error={errors.get(name)}
                value={typed[name]}
                onChange={(value) => choose(name, value)}
              />
            );
          return (
            <>
              {versions !== undefined && (
                <Conflict
                  versions={versions}
                  entered={entered}
                  labelOf={(name) => fieldTexts[name]}
                  shown={(name, value) => shownValue(name, value, labelsOfIds)}
                  onChoose={choose}
                />
              )}
              <div className="contact-fields" ref={container}>
                {FIELDS.filter(isShown).map((name) => (
                  <div key={name} data-field={name} className={isList(name) || WIDE.has(name) ? 'whole' : undefined}>
                    {isList(name) ? (
                      <Lines
                        name={name}
                        lines={lists[name]}
                        onChange={(lines) => changeLines(name, lines)}
                        errors={errors}
                      />
                    ) : name === 'labelIds' ? (
                      labels.length > 0 && (
                        <fieldset className="lines">
                          <legend>{fieldTexts.labelIds}</legend>
                          <div className="actions">
                            {labels.map(({ id, name: label }) => (
                              <Checkbox
                                key={id}
                                label={label}
                                checked={chosenLabels.includes(id)}
                                onChange={(isOn) => choose('labelIds', JSON.stringify(toggled(chosenLabels, id, isOn)))}
                              />
                            ))}
                          </div>
                        </fieldset>
                      )
                    ) : (
                      textField(name)
                    )}
                  </div>
                ))}
              </div>
              {hidden.length > 0 && (
                <AddField
                  hidden={hidden}
                  onAdd={(name) => {
                    if (isList(name)) changeLines(name, linesOf([blank(name)]));
                    add(name);
                  }}
                />
              )}
            </>
          );
        }}
      </Form>
    </Dialog>
  );
}

const EMPTY = valuesOf(undefined);

/** Fields that take the width of the form. */
const WIDE: ReadonlySet<FieldName> = new Set(['notes', 'labelIds', 'birthday']);

const toggled = (ids: readonly string[], id: string, isOn: boolean): readonly string[] =>
  (isOn ? [...ids, id] : ids.filter((each) => each !== id)).toSorted();

function linesToBegin(values: Values<FieldName>, isNew: boolean): Readonly<Record<ListName, readonly Line[]>> {
  const begin = (name: ListName) => {
    const entries = parsed(values[name]);
    return linesOf(isNew && USUAL.has(name) ? [...entries, blank(name)] : entries);
  };
  return Object.fromEntries(LISTS.map((name) => [name, begin(name)])) as Record<ListName, readonly Line[]>;
}

function shownValue(name: FieldName, value: string, labelsOf: (ids: readonly string[]) => readonly string[]): string {
  if (name === 'labelIds') return labelsOf(JSON.parse(value) as string[]).join(', ');
  if (name === 'birthday') return dateShown(value);
  if (!isList(name)) return value;
  return parsed(value)
    .map(({ values: { date, ...values } }) =>
      [...(date === undefined ? [] : [dateShown(date)]), ...Object.values(values)].filter(Boolean).join(' '),
    )
    .join(', ');
}

function dateShown(value: string): string {
  const date = readDate(value);
  return date === undefined ? '' : dateText(date as Parameters<typeof dateText>[0]);
}

/** What is wrong with each field: updates have lists and the birthday in a message of their own, creations have not. */
function byField(violations: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...violations].map(([field, text]) => [field.replace(/^(\w+)\.values?(?=[[.]|$)/, '$1'), text]));
}

/** What is wrong with a field, or with a part of it. */
function errorWithin(errors: ReadonlyMap<string, string>, field: string): string | undefined {
  return [...errors].find(([each]) => each === field || each.startsWith(`${field}.`))?.[1];
}

/** The fields that were added; one that is added now gets the focus. */
function useShownFields(before: Values<FieldName>) {
  const [shown, setShown] = useState<ReadonlySet<FieldName>>(
    () => new Set(FIELDS.filter((name) => before[name] !== EMPTY[name])),
  );
  const [added, setAdded] = useState<FieldName | undefined>(undefined);
  const container = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (added === undefined) return;
    container.current?.querySelector<HTMLElement>(`[data-field="${added}"] :is(input, textarea, select)`)?.focus();
  }, [added]);
  return {
    shown,
    container,
    add(name: FieldName) {
      setShown((earlier) => new Set([...earlier, name]));
      setAdded(name);
    },
  };
}

interface AddFieldProps {
  readonly hidden: readonly FieldName[];
  readonly onAdd: (name: FieldName) => void;
}

/** Offers the fields that are not shown. */
function AddField({ hidden, onAdd }: AddFieldProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <div className="add-field">
      <button type="button" className="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {fieldTexts.form.addField}
      </button>
      {isOpen && (
        <ul className="chips" aria-label={fieldTexts.form.addField}>
          {hidden.map((name) => (
            <li key={name}>
              <button
                type="button"
                className="button small"
                onClick={() => {
                  setOpen(false);
                  onAdd(name);
                }}
              >
                {fieldTexts[name]}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
