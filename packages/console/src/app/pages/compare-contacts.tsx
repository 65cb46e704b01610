import { KithError } from '@kith/client/calls';
import { type Contact, type ContactDuplicate, ContactService, PhotoSize } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState } from 'react';
import { areSame, type Entry, entriesOf, FIELDS, type FieldName } from '../contact-fields.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { d } from '../duplicate-texts.ts';
import { describeFailure } from '../failures.ts';
import { fieldTexts } from '../field-texts.ts';
import { type Choice, differingFields, mergeRequest, type Pair, pairOf, sameFields, type Side } from '../merge-plan.ts';
import { ContactAvatar, Photo } from '../parts/contact-photo.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Time } from '../parts/time.tsx';
import { Link } from '../router.tsx';
import { areShortcutsOn } from '../shortcuts.ts';
import { t } from '../texts.ts';
import { showVersions } from '../use-duplicates.ts';
import { useLabels } from '../use-labels.ts';

export interface ComparisonProps {
  readonly pair: ContactDuplicate;
  readonly title: string;
  readonly likelihood: string;
  /** "Pair 2 of 12" */
  readonly position: string;
  /** Whether the focus goes to the title, as after the pair before was merged. */
  readonly takesFocus: boolean;
  readonly onPrevious: (() => void) | undefined;
  readonly onNext: (() => void) | undefined;
  readonly onMerged: (merged: Contact, goneId: string) => void;
  readonly onDistinct: () => Promise<void>;
  /** One of the two was deleted or merged meanwhile. */
  readonly onGone: () => void;
}

const SIDES = ['first', 'second'] as const satisfies readonly Side[];

/** Reasons of a refusal after which there is no pair any more. */
const GONE: ReadonlySet<string | undefined> = new Set(['CONTACT_NOT_FOUND', 'CONTACT_MERGED', 'RESOURCE_DELETED']);

/** Two contacts side by side, to be merged field by field, or told apart. */
export function Comparison(props: ComparisonProps) {
  const { pair: duplicate, title, likelihood, position, takesFocus, onPrevious, onNext } = props;
  const pair = pairOf(duplicate);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (takesFocus) heading.current?.focus();
  }, [takesFocus]);
  return (
    <section className="card pad comparison" aria-labelledby="pair">
      <div className="pager">
        <button type="button" className="button" aria-keyshortcuts="k" disabled={!onPrevious} onClick={onPrevious}>
          {d.previousPair}
        </button>
        <span className="muted">{position}</span>
        <button type="button" className="button" aria-keyshortcuts="j" disabled={!onNext} onClick={onNext}>
          {d.nextPair}
        </button>
      </div>
      <div>
        <h2 id="pair" ref={heading} tabIndex={-1}>
          {title}
        </h2>
        <p>
          {likelihood}. {d.because} {duplicate.reasons.map((reason) => d.reasons[reason]).join(', ')}.
        </p>
      </div>
      {pair !== undefined && <Merge {...props} pair={pair} />}
    </section>
  );
}

type MergeProps = Pick<ComparisonProps, 'onMerged' | 'onDistinct' | 'onGone'> & { readonly pair: Pair };

function Merge({ pair, onMerged, onDistinct, onGone }: MergeProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const [kept, setKept] = useState<Side>('first');
  const [chosen, setChosen] = useState<ReadonlyMap<FieldName, Choice>>(new Map());
  // What somebody else has changed since the pair was shown.
  const [changed, setChanged] = useState<ReadonlySet<FieldName> | undefined>(undefined);
  const [failure, setFailure] = useState<KithError | undefined>(undefined);
  const [isBusy, setBusy] = useState(false);
  const same = sameFields(pair);

  /** Shows the contacts as they are now. */
  const lookAgain = async () => {
    const ids = [pair.first.id, pair.second.id];
    const [first, second] = await Promise.all(
      ids.map(async (contactId) => (await contacts.get({ contactId })).contact),
    );
    if (first === undefined || second === undefined || [first, second].some((each) => each.deleteTime !== undefined))
      return onGone();
    const isChanged = (name: FieldName) =>
      !areSame(entriesOf(pair.first, name), entriesOf(first, name)) ||
      !areSame(entriesOf(pair.second, name), entriesOf(second, name));
    setChanged(new Set(FIELDS.filter(isChanged)));
    showVersions(queries, [first, second]);
  };
  /** Does it unless something is under way, and recovers from what others have done meanwhile. */
  const attempt = (action: () => Promise<void>) => () => {
    if (isBusy) return;
    const recover = async (thrown: unknown) => {
      const error = KithError.from(thrown);
      if (error.reason === 'ETAG_MISMATCH') await lookAgain();
      else if (GONE.has(error.reason)) onGone();
      else setFailure(error);
    };
    setBusy(true);
    setFailure(undefined);
    setChanged(undefined);
    void action()
      .catch(recover)
      .catch((thrown: unknown) =>
        GONE.has(KithError.from(thrown).reason) ? onGone() : setFailure(KithError.from(thrown)),
      )
      .finally(() => setBusy(false));
  };
  const merge = attempt(async () => {
    const { contact } = await contacts.merge(mergeRequest(pair, kept, chosen));
    onMerged(contact, pair[kept === 'first' ? 'second' : 'first'].id);
  });
  const tooLarge = failure?.reason === 'CONTACT_TOO_LARGE' ? failure.metadata['field'] : undefined;
  return (
    <>
      {changed !== undefined && (
        <p className="notice" role="alert">
          {d.changedMeanwhile}
        </p>
      )}
      {failure !== undefined && (
        <p className="alert" role="alert">
          {describeFailure(failure, d.failures)}
        </p>
      )}
      <div className="merge-fields">
        <Kept pair={pair} kept={kept} onChoose={setKept} />
        {differingFields(pair, kept).map(({ name, options, natural }) => (
          <ChosenField
            key={name}
            name={name}
            options={options}
            choice={chosen.get(name) ?? natural}
            isChanged={changed?.has(name) === true}
            isTooLarge={tooLarge === name}
            onChoose={(choice) => setChosen((before) => new Map([...before, [name, choice]]))}
          />
        ))}
      </div>
      {same.length > 0 && (
        <section aria-labelledby="same">
          <h3 id="same" className="muted">
            {d.same}
          </h3>
          <dl className="facts">
            {same.map((name) => (
              <div key={name}>
                <dt>{fieldTexts[name]}</dt>
                <dd>
                  <Entries name={name} entries={entriesOf(pair.first, name)} />
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      <div className="actions">
        <button type="button" className="button primary" aria-keyshortcuts="m" aria-disabled={isBusy} onClick={merge}>
          {d.merge}
        </button>
        <button
          type="button"
          className="button"
          aria-keyshortcuts="x"
          aria-disabled={isBusy}
          onClick={attempt(onDistinct)}
        >
          {d.notTheSame}
        </button>
        <AsCode
          call={() => ({
            method: 'kith.contact.v1.ContactService/MergeContacts',
            body: mergeRequest(pair, kept, chosen),
          })}
        />
      </div>
      {areShortcutsOn() && <p className="muted wide-only">{d.keys}</p>}
    </>
  );
}

interface KeptProps {
  readonly pair: Pair;
  readonly kept: Side;
  readonly onChoose: (side: Side) => void;
}

/** Whose head is above each column, and which one stays. */
function Kept({ pair, kept, onChoose }: KeptProps) {
  const id = useId();
  return (
    <div className="merge-row merge-head" role="radiogroup" aria-labelledby={id} aria-describedby={`${id}-lead`}>
      <div>
        <div id={id} className="merge-name">
          {d.stays}
        </div>
        <div id={`${id}-lead`} className="muted small">
          {d.staysLead}
        </div>
      </div>
      {SIDES.map((side) => {
        const contact = pair[side];
        const name = contactName(contact);
        return (
          <div key={side} className="merge-option" data-chosen={kept === side}>
            <Link to={`contacts/${contact.id}`} className="person">
              <ContactAvatar contact={contact} />
              <span>
                <span className="person-name">{name}</span>
                <span className="muted">
                  <Time of={contact.createTime} />
                </span>
              </span>
            </Link>
            <label className="checkbox">
              <input type="radio" name={id} checked={kept === side} onChange={() => onChoose(side)} />
              {d.staysThis}
              <span className="visually-hidden">: {name}</span>
            </label>
          </div>
        );
      })}
    </div>
  );
}

interface ChosenFieldProps {
  readonly name: FieldName;
  readonly options: readonly { readonly choice: Choice; readonly entries: readonly Entry[] }[];
  readonly choice: Choice;
  readonly isChanged: boolean;
  readonly isTooLarge: boolean;
  readonly onChoose: (choice: Choice) => void;
}

/** What the merged contact has in one field. */
function ChosenField({ name, options, choice, isChanged, isTooLarge, onChoose }: ChosenFieldProps) {
  const id = useId();
  return (
    <div className="merge-row" role="radiogroup" aria-labelledby={id}>
      <div>
        <span id={id} className="merge-name">
          {fieldTexts[name]}
        </span>
        {isChanged && <span className="badge warn">{d.changed}</span>}
        {isTooLarge && <span className="bad-text small">{d.failures['CONTACT_TOO_LARGE']}</span>}
      </div>
      {options.map((option) => (
        <label key={option.choice} className="merge-option" data-chosen={choice === option.choice}>
          <input type="radio" name={id} checked={choice === option.choice} onChange={() => onChoose(option.choice)} />
          <span className="stack">
            {option.choice === 'both' && <span className="muted">{name === 'notes' ? d.notesBoth : d.both}</span>}
            {option.choice === 'both' && name === 'notes' ? null : <Entries name={name} entries={option.entries} />}
          </span>
        </label>
      ))}
    </div>
  );
}

function Entries({ name, entries }: { readonly name: FieldName; readonly entries: readonly Entry[] }) {
  const labels = useLabels();
  if (entries.length === 0) return <span className="muted">{t.empty}</span>;
  const textOf = ({ text }: Entry) =>
    name === 'labelIds' ? (labels.find(({ id }) => id === text)?.name ?? t.unknown) : text;
  return (
    <span className="stack">
      {entries.map((entry, i) => (
        <span key={i} className={name === 'notes' || name === 'customFields' ? 'notes' : undefined}>
          {name === 'photoId' ? (
            <Photo photoId={entry.text} size={PhotoSize.SMALL} className="avatar large" alt={fieldTexts.photoId} />
          ) : (
            textOf(entry)
          )}{' '}
          {entry.type !== '' && <span className="muted">{entry.type}</span>}
        </span>
      ))}
    </span>
  );
}
