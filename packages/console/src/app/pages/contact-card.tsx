import { KithError } from '@kith/client/calls';
import { type Contact, ContactService } from '@kith/client/contacts';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { type Entry, entriesOf, FIELDS, type FieldName } from '../contact-fields.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { d } from '../duplicate-texts.ts';
import { describeFailure } from '../failures.ts';
import { fieldTexts } from '../field-texts.ts';
import { AsCode } from '../parts/as-code.tsx';
import { ContactAvatar } from '../parts/contact-photo.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { LabelDot } from '../parts/label-dot.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link, navigate } from '../router.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { refreshContacts, useLabels } from '../use-labels.ts';
import { qrCard } from '../vcard.ts';
import ContactMerges from './contact-merges.tsx';

const QrCode = lazy(() => import('../parts/qr-code.tsx'));
const EditPhoto = lazy(() => import('./edit-photo.tsx'));
const ContactVersions = lazy(() => import('./contact-versions.tsx'));

interface CardProps {
  readonly contactId: string;
  readonly onEdit: (contact: Contact) => void;
}

/** All of one contact, and what can be done with it. */
export default function ContactCard({ contactId, onEdit }: CardProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const labels = useLabels();
  const [isQrShown, setQrShown] = useState(false);
  const [areVersionsShown, setVersionsShown] = useState(false);
  const [isPhotoEdited, setPhotoEdited] = useState(false);
  const {
    data: contact,
    error,
    refetch,
  } = useQuery({
    queryKey: ['contact', contactId],
    queryFn: async ({ signal }) => (await contacts.get({ contactId }, { signal })).contact,
  });
  if (error !== null) {
    const { reason, metadata } = KithError.from(error);
    if (reason === 'CONTACT_MERGED') return <MergedAway intoId={metadata['contact_id'] ?? ''} />;
    return <Failed error={error} onRetry={() => void refetch()} />;
  }
  if (contact === undefined) return <Skeleton />;
  const name = contactName(contact);
  const attempt = (action: () => Promise<void>) => () =>
    void action().catch((thrown: unknown) => notify(describeFailure(thrown), { isError: true }));
  const restore = attempt(async () => {
    await contacts.undelete({ contactId });
    refreshContacts(queries);
    notify(contactTexts.contactRestored(name));
  });
  const remove = attempt(async () => {
    await contacts.delete({ contactId, etag: contact.etag });
    navigate(`contacts${location.search}`);
    queries.removeQueries({ queryKey: ['contact', contactId] });
    refreshContacts(queries);
    notify(contactTexts.contactDeleted(name), { undo: restore });
  });
  const star = attempt(async () => {
    await contacts.update({ contactId, etag: contact.etag, starred: !contact.starred });
    refreshContacts(queries);
  });
  return (
    <section className="card pad contact-card" aria-label={name}>
      <p className="narrow-only">
        <Link to={`contacts${location.search}`}>← {contactTexts.back}</Link>
      </p>
      <div className="page-head">
        <ContactAvatar contact={contact} isLarge />
        <div className="page-title">
          <h2>{name}</h2>
          <p className="muted">{[contact.jobTitle, contact.department, contact.company].filter(Boolean).join(', ')}</p>
          <p className="badges">
            {labels
              .filter(({ id: labelId }) => contact.labelIds.includes(labelId))
              .map(({ id: labelId, name: label, color }) => (
                <span key={labelId} className="badge">
                  <LabelDot color={color} /> {label}
                </span>
              ))}
          </p>
        </div>
      </div>
      {contact.deleteTime === undefined ? (
        <div className="actions">
          <button type="button" className="button primary" onClick={() => onEdit(contact)}>
            {t.edit}
          </button>
          <button type="button" className="button" onClick={star}>
            {contact.starred ? contactTexts.unstar : contactTexts.star}
          </button>
          <button type="button" className="button danger" onClick={remove}>
            {t.delete}
          </button>
          <button type="button" className="link quiet" onClick={() => setPhotoEdited(true)}>
            {contact.photoId === '' ? fieldTexts.addPhoto : fieldTexts.changePhoto}
          </button>
          <button type="button" className="link quiet" onClick={() => setQrShown(true)}>
            {fieldTexts.asQr}
          </button>
          <button type="button" className="link quiet" onClick={() => setVersionsShown(true)}>
            {fieldTexts.versions}
          </button>
          <button type="button" className="link quiet" onClick={() => print()}>
            {fieldTexts.print}
          </button>
          <AsCode call={() => ({ method: 'kith.contact.v1.ContactService/GetContact', body: { contactId } })} />
        </div>
      ) : (
        <div className="actions">
          <span className="badge bad">{t.states[3]}</span>
          <button type="button" className="button primary" onClick={restore}>
            {t.restore}
          </button>
        </div>
      )}
      <ContactMerges contactId={contactId} />
      <dl className="facts">
        {SHOWN.map((name) => (
          <Fact key={name} label={fieldTexts[name]} name={name} entries={entriesOf(contact, name)} />
        ))}
      </dl>
      <details>
        <summary>{fieldTexts.more}</summary>
        <dl className="facts">
          <Fact label={fieldTexts.uid} entries={[{ text: contact.uid, type: '' }]} />
          <Fact label={fieldTexts.vcardProperties} entries={entriesOf(contact, 'vcardProperties')} />
          <div>
            <dt>{t.created}</dt>
            <dd>
              <Time of={contact.createTime} />
            </dd>
          </div>
          <div>
            <dt>{fieldTexts.changed}</dt>
            <dd>
              <Time of={contact.updateTime} />
            </dd>
          </div>
        </dl>
      </details>
      {isQrShown && <QrDialog contact={contact} onClose={() => setQrShown(false)} />}
      {isPhotoEdited && (
        <Suspense fallback={null}>
          <EditPhoto contact={contact} onClose={() => setPhotoEdited(false)} />
        </Suspense>
      )}
      {areVersionsShown && (
        <Suspense fallback={null}>
          <ContactVersions contact={contact} onClose={() => setVersionsShown(false)} />
        </Suspense>
      )}
    </section>
  );
}

/** What the head of the card has, and what is technical. */
const ELSEWHERE: ReadonlySet<FieldName> = new Set([
  'namePrefix',
  'givenName',
  'middleName',
  'familyName',
  'nameSuffix',
  'labelIds',
  'starred',
  'photoId',
  'vcardProperties',
]);
const SHOWN = FIELDS.filter((name) => !ELSEWHERE.has(name));

interface FactProps {
  readonly label: string;
  readonly name?: FieldName;
  readonly entries: readonly Entry[];
}

/** What there is of one field; nothing where there is nothing. */
function Fact({ label, name, entries }: FactProps) {
  if (entries.every(({ text }) => text === '')) return null;
  return (
    <div>
      <dt>{label}</dt>
      <dd className="stack">
        {entries.map(({ text, type }, i) => (
          <span key={i} className={name === 'notes' || name === 'customFields' ? 'notes' : undefined}>
            <Linked name={name} text={text} /> {type !== '' && <span className="muted">{type}</span>}
          </span>
        ))}
      </dd>
    </div>
  );
}

/** A text with what one does with it: mails go to an address, calls to a number, and web addresses open. */
function Linked({ name, text }: { readonly name: FieldName | undefined; readonly text: string }) {
  if (name === 'emails') return <a href={`mailto:${encodeURIComponent(text)}`}>{text}</a>;
  if (name === 'phones') return <a href={`tel:${text.replaceAll(/[^\d+]/g, '')}`}>{text}</a>;
  if (name !== 'urls' || !isWebAddress(text)) return text;
  return (
    <a href={text} target="_blank" rel="noreferrer noopener">
      {text}
    </a>
  );
}

/** The contact for the camera of a phone. */
function QrDialog({ contact, onClose }: { readonly contact: Contact; readonly onClose: () => void }) {
  const { text, isCut } = qrCard(contact);
  return (
    <Dialog title={contactName(contact)} onClose={onClose}>
      <Suspense fallback={<Skeleton rows={4} />}>
        <QrCode text={text} />
      </Suspense>
      <p>{fieldTexts.qrLead}</p>
      {isCut && <p className="muted">{fieldTexts.qrTooLong}</p>}
    </Dialog>
  );
}

/** Leads to the contact that this one was merged into. */
function MergedAway({ intoId }: { readonly intoId: string }) {
  return (
    <div className="empty">
      <p className="empty-title">{d.mergedAway}</p>
      <p>{d.mergedAwayLead}</p>
      <Link to={`contacts/${intoId}`} className="button">
        {d.showOther}
      </Link>
    </div>
  );
}

/** The server takes http and https alone; a page that links is not to rely on that. */
function isWebAddress(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}
