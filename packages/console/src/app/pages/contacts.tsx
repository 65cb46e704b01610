import type { Contact } from '@kith/client/contract';
import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { language } from '../../preferences.ts';
import { useConsole } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { Avatar } from '../parts/avatar.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { Checkbox } from '../parts/form.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link, navigate, useQueryParameters } from '../router.tsx';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { useTitle } from '../use-title.ts';

const ContactForm = lazy(() => import('./contact-form.tsx'));

const PAGE_SIZE = 50;

/** The address book of whoever is signed in: a list, and the card of one. */
export default function Contacts({ contactId }: { readonly contactId: string | undefined }) {
  useTitle(t.contacts);
  const [parameters, setParameters] = useQueryParameters();
  const [edited, setEdited] = useState<Contact | 'new' | undefined>(undefined);
  const query = useDelayed(parameters.get('q') ?? '');
  const isStarred = parameters.get('starred') === '1';
  const filter = { query, ...(isStarred && { starred: true }) };
  return (
    <>
      <div className="page-head">
        <h1>{t.contacts}</h1>
        <AsCurl
          call={() => ({
            method: 'kith.contact.v1.ContactService/ListContacts',
            body: { ...filter, pageSize: PAGE_SIZE },
          })}
        />
        <button type="button" className="button primary" data-shortcut="create" onClick={() => setEdited('new')}>
          {t.newContact}
        </button>
      </div>
      <div className="filters">
        <input
          type="search"
          aria-label={t.contactsSearch}
          placeholder={t.contactsSearch}
          data-shortcut="search"
          maxLength={100}
          value={parameters.get('q') ?? ''}
          onChange={({ target }) => setParameters({ q: target.value })}
        />
        <Checkbox
          label={t.starredOnly}
          checked={isStarred}
          onChange={(checked) => setParameters({ starred: checked ? '1' : '' })}
        />
      </div>
      <div className={contactId === undefined ? 'split' : 'split has-card'}>
        <ContactList filter={filter} currentId={contactId} search={location.search} />
        {contactId !== undefined && <Card key={contactId} contactId={contactId} onEdit={setEdited} />}
      </div>
      <Suspense>
        {edited !== undefined && (
          <ContactForm contact={edited === 'new' ? undefined : edited} onClose={() => setEdited(undefined)} />
        )}
      </Suspense>
    </>
  );
}

export function nameOf({ givenName, familyName, company, emails, phones }: Contact): string {
  const name = `${givenName} ${familyName}`.trim();
  return name || company || emails[0]?.address || phones[0]?.number || t.nameless;
}

interface ListProps {
  readonly filter: { readonly query: string; readonly starred?: boolean };
  readonly currentId: string | undefined;
  readonly search: string;
}

function ContactList({ filter, currentId, search }: ListProps) {
  const { kith } = useConsole();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['contacts', filter],
    placeholderData: keepPreviousData,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      kith.contacts.list({ ...filter, pageSize: PAGE_SIZE, pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <Skeleton rows={8} />;
  const contacts = data.pages.flatMap((page) => page.contacts);
  if (contacts.length === 0) {
    const isFiltered = filter.query !== '' || filter.starred === true;
    return isFiltered ? (
      <Empty title={t.noMatch} lead={t.noMatchLead} />
    ) : (
      <Empty title={t.noContacts} lead={t.noContactsLead} />
    );
  }
  return (
    <div className="contact-list">
      <ul className="card" aria-label={t.contacts}>
        {contacts.map((contact) => (
          <li key={contact.id}>
            <Link
              to={`contacts/${contact.id}${search}`}
              className="person"
              aria-current={contact.id === currentId ? 'page' : undefined}
            >
              <Avatar name={nameOf(contact)} />
              <span>
                <span className="person-name">
                  {nameOf(contact)}
                  {contact.starred && <span aria-label={t.starredOnly}> ★</span>}
                </span>
                <span className="muted">{contact.company || contact.emails[0]?.address}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
      {hasNextPage && (
        <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {t.next}
        </button>
      )}
    </div>
  );
}

interface CardProps {
  readonly contactId: string;
  readonly onEdit: (contact: Contact) => void;
}

function Card({ contactId, onEdit }: CardProps) {
  const { kith } = useConsole();
  const queries = useQueryClient();
  const {
    data: contact,
    error,
    refetch,
  } = useQuery({
    queryKey: ['contact', contactId],
    queryFn: async ({ signal }) => (await kith.contacts.get({ contactId }, { signal })).contact,
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (contact === undefined) return <Skeleton />;
  const name = nameOf(contact);
  const refresh = () =>
    Promise.all(['contacts', 'contact'].map((key) => queries.invalidateQueries({ queryKey: [key] })));
  const attempt = (action: () => Promise<void>) => () =>
    void action().catch((thrown: unknown) => notify(describeFailure(thrown, language), { isError: true }));
  const restore = attempt(async () => {
    await kith.contacts.undelete({ contactId });
    await refresh();
    notify(t.contactRestored(name));
  });
  const remove = attempt(async () => {
    await kith.contacts.delete({ contactId, etag: contact.etag });
    navigate(`contacts${location.search}`);
    queries.removeQueries({ queryKey: ['contact', contactId] });
    await queries.invalidateQueries({ queryKey: ['contacts'] });
    notify(t.contactDeleted(name), { undo: restore });
  });
  const star = attempt(async () => {
    await kith.contacts.update({ contactId, etag: contact.etag, starred: !contact.starred });
    await refresh();
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
        </div>
      </div>
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
