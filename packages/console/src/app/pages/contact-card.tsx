import { type Contact, ContactService } from '@kith/client/contacts';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { language } from '../../preferences.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { Avatar } from '../parts/avatar.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { LabelDot } from '../parts/label-dot.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link, navigate } from '../router.tsx';
import { t } from '../texts.ts';
import { refreshContacts, useLabels } from '../use-labels.ts';

interface CardProps {
  readonly contactId: string;
  readonly onEdit: (contact: Contact) => void;
}

/** All of one contact, and what can be done with it. */
export function ContactCard({ contactId, onEdit }: CardProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const labels = useLabels();
  const {
    data: contact,
    error,
    refetch,
  } = useQuery({
    queryKey: ['contact', contactId],
    queryFn: async ({ signal }) => (await contacts.get({ contactId }, { signal })).contact,
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (contact === undefined) return <Skeleton />;
  const name = contactName(contact);
  const attempt = (action: () => Promise<void>) => () =>
    void action().catch((thrown: unknown) => notify(describeFailure(thrown, language), { isError: true }));
  const restore = attempt(async () => {
    await contacts.undelete({ contactId });
    refreshContacts(queries);
    notify(t.contactRestored(name));
  });
  const remove = attempt(async () => {
    await contacts.delete({ contactId, etag: contact.etag });
    navigate(`contacts${location.search}`);
    queries.removeQueries({ queryKey: ['contact', contactId] });
    refreshContacts(queries);
    notify(t.contactDeleted(name), { undo: restore });
  });
  const star = attempt(async () => {
    await contacts.update({ contactId, etag: contact.etag, starred: !contact.starred });
    refreshContacts(queries);
  });
  const { birthday, notes } = contact;
  return (
    <section className="card pad contact-card" aria-label={name}>
      <p className="narrow-only">
        <Link to={`contacts${location.search}`}>← {t.back}</Link>
      </p>
      <div className="page-head">
        <Avatar name={name} isLarge />
        <div className="page-title">
          <h2>{name}</h2>
          <p className="muted">{[contact.jobTitle, contact.company].filter(Boolean).join(', ')}</p>
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
            {contact.starred ? t.unstar : t.star}
          </button>
          <button type="button" className="button danger" onClick={remove}>
            {t.delete}
          </button>
          <AsCurl call={() => ({ method: 'kith.contact.v1.ContactService/GetContact', body: { contactId } })} />
        </div>
      ) : (
        <div className="actions">
          <span className="badge bad">{t.states[3]}</span>
          <button type="button" className="button primary" onClick={restore}>
            {t.restore}
          </button>
        </div>
      )}
      <dl className="facts">
        <Facts label={t.emails}>
          {contact.emails.map(({ address, type }) => (
            <Typed key={address} type={type}>
              <a href={`mailto:${encodeURIComponent(address)}`}>{address}</a>
            </Typed>
          ))}
        </Facts>
        <Facts label={t.phones}>
          {contact.phones.map(({ number, type }) => (
            <Typed key={number} type={type}>
              <a href={`tel:${number.replaceAll(/[^\d+]/g, '')}`}>{number}</a>
            </Typed>
          ))}
        </Facts>
        <Facts label={t.urls}>
          {contact.urls.map(({ url, type }) => (
            <Typed key={url} type={type}>
              {isWebAddress(url) ? (
                <a href={url} target="_blank" rel="noreferrer noopener">
                  {url}
                </a>
              ) : (
                url
              )}
            </Typed>
          ))}
        </Facts>
        <Facts label={t.addresses}>
          {contact.addresses.map(({ street, city, region, postalCode, country, type }, i) => (
            <Typed key={i} type={type}>
              {[street, `${postalCode} ${city}`.trim(), region, country].filter(Boolean).join(', ')}
            </Typed>
          ))}
        </Facts>
        <Facts label={t.birthday}>
          {birthday === undefined
            ? []
            : [<span key="b">{[birthday.day, birthday.month, birthday.year].filter(Boolean).join('. ')}</span>]}
        </Facts>
        <Facts label={t.notes}>
          {notes === ''
            ? []
            : [
                <span key="n" className="notes">
                  {notes}
                </span>,
              ]}
        </Facts>
      </dl>
    </section>
  );
}

/** The server takes http and https alone; a page that links is not to rely on that. */
function isWebAddress(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}

function Facts({ label, children }: { readonly label: string; readonly children: readonly ReactNode[] }) {
  if (children.length === 0) return null;
  return (
    <div>
      <dt>{label}</dt>
      <dd className="stack">{children}</dd>
    </div>
  );
}

function Typed({ type, children }: { readonly type: string; readonly children: ReactNode }) {
  return (
    <span>
      {children} {type !== '' && <span className="muted">{type}</span>}
    </span>
  );
}
