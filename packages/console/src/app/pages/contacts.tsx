import { type Contact, ContactService } from '@kith/client/contacts';
import { keepPreviousData, useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { type DragEvent, lazy, Suspense, useMemo, useState } from 'react';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { type Bulk, useBulk } from '../parts/bulk.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { ContactAvatar } from '../parts/contact-photo.tsx';
import { Checkbox } from '../parts/form.tsx';
import { LabelDot } from '../parts/label-dot.tsx';
import { DRAGGED_CONTACTS, LabelList } from '../parts/label-list.tsx';
import { SelectAllBox, SelectBox, type Selection, SelectionBar, useSelection, useShown } from '../parts/selection.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { useDuplicates } from '../use-duplicates.ts';
import { refreshContacts, useLabelContacts, useLabels } from '../use-labels.ts';
import { useTitle } from '../use-title.ts';

const ContactCard = lazy(() => import('./contact-card.tsx'));
const ContactForm = lazy(() => import('./contact-form.tsx'));
const ContactBulk = lazy(() => import('./contact-bulk.tsx'));
const ExportContacts = lazy(() => import('./export-contacts.tsx'));

const PAGE_SIZE = 50;

/** The address book of whoever is signed in: labels, a list, and the card of one. */
export default function Contacts({ contactId }: { readonly contactId: string | undefined }) {
  useTitle(t.contacts);
  const [parameters, setParameters] = useQueryParameters();
  const [edited, setEdited] = useState<Contact | 'new' | undefined>(undefined);
  const [isExporting, setExporting] = useState(false);
  const queries = useQueryClient();
  const selection = useSelection<Contact>();
  const bulk = useBulk(() => {
    selection.clear();
    refreshContacts(queries);
  });
  const query = useDelayed(parameters.get('q') ?? '');
  const isStarred = parameters.get('starred') === '1';
  const chosen = (parameters.get('label') ?? '').split(',').filter((id) => id !== '');
  const filter: Filter = {
    query,
    ...(isStarred && { starred: true }),
    ...(chosen.length > 0 && { labels: { anyOf: chosen } }),
  };
  return (
    <>
      <div className="page-head">
        <h1>{t.contacts}</h1>
        <AsCode
          call={() => ({
            method: 'kith.contact.v1.ContactService/ListContacts',
            body: { ...filter, pageSize: PAGE_SIZE },
          })}
        />
        <div className="actions">
          <DuplicatesLink />
          <Link to="contacts/import" className="button">
            {t.importFile}
          </Link>
          <button type="button" className="button" onClick={() => setExporting(true)}>
            {t.exportFile}
          </button>
          <button type="button" className="button primary" data-shortcut="create" onClick={() => setEdited('new')}>
            {contactTexts.newContact}
          </button>
        </div>
      </div>
      <div className="filters">
        <input
          type="search"
          aria-label={contactTexts.contactsSearch}
          placeholder={contactTexts.contactsSearch}
          data-shortcut="search"
          maxLength={100}
          value={parameters.get('q') ?? ''}
          onChange={({ target }) => setParameters({ q: target.value })}
        />
        <Checkbox
          label={contactTexts.starredOnly}
          checked={isStarred}
          onChange={(checked) => setParameters({ starred: checked ? '1' : '' })}
        />
      </div>
      <div className={contactId === undefined ? 'address-book' : 'address-book has-card'}>
        <Labels
          chosen={chosen}
          bulk={bulk}
          selection={selection}
          onChoose={(ids) => setParameters({ label: ids.join(',') })}
        />
        <ContactList filter={filter} currentId={contactId} search={location.search} selection={selection} />
        {contactId !== undefined && (
          <Suspense fallback={<Skeleton />}>
            <ContactCard key={contactId} contactId={contactId} onEdit={setEdited} />
          </Suspense>
        )}
      </div>
      <Suspense>
        {selection.items.length > 0 && (
          <SelectionBar selection={selection}>
            <ContactBulk selection={selection} bulk={bulk} />
          </SelectionBar>
        )}
        {bulk.dialog}
        {edited !== undefined && (
          <ContactForm contact={edited === 'new' ? undefined : edited} onClose={() => setEdited(undefined)} />
        )}
        {isExporting && <ExportContacts query={query} isStarred={isStarred} onClose={() => setExporting(false)} />}
      </Suspense>
    </>
  );
}

/** Leads to the duplicates, and says how many there are. */
function DuplicatesLink() {
  const { pairs = [], hasMore } = useDuplicates(false);
  return (
    <Link to="contacts/duplicates" className="button">
      {t.duplicates}
      {pairs.length > 0 && (
        <span className="badge warn">
          {pairs.length}
          {hasMore && '+'}
        </span>
      )}
    </Link>
  );
}

interface LabelsProps {
  readonly chosen: readonly string[];
  readonly bulk: Bulk;
  readonly selection: Selection<Contact>;
  readonly onChoose: (ids: readonly string[]) => void;
}

function Labels({ chosen, bulk, selection, onChoose }: LabelsProps) {
  const queries = useQueryClient();
  const labelContacts = useLabelContacts(bulk);
  /** The contacts with these ids that are selected or in the list. */
  const contactsOf = (ids: readonly string[]) => {
    const pages = queries
      .getQueriesData<{ pages: readonly { contacts: readonly Contact[] }[] }>({ queryKey: ['contacts'] })
      .flatMap(([, data]) => data?.pages.flatMap((page) => page.contacts) ?? []);
    const known = new Map([...pages, ...selection.items].map((contact) => [contact.id, contact]));
    return ids.flatMap((id) => known.get(id) ?? []);
  };
  return (
    <LabelList
      chosen={chosen}
      onChoose={onChoose}
      onDrop={(label, ids) => labelContacts(label, contactsOf(ids), true)}
    />
  );
}

interface Filter {
  readonly query: string;
  readonly starred?: boolean;
  readonly labels?: { readonly anyOf: string[] };
}

interface ListProps {
  readonly filter: Filter;
  readonly currentId: string | undefined;
  readonly search: string;
  readonly selection: Selection<Contact>;
}

function ContactList({ filter, currentId, search, selection }: ListProps) {
  const labels = useLabels();
  const contacts = useService(ContactService, 'Contact');
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['contacts', filter],
    placeholderData: keepPreviousData,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      contacts.list({ ...filter, pageSize: PAGE_SIZE, pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
  const shown = useMemo(() => data?.pages.flatMap((page) => page.contacts), [data]);
  useShown(selection, shown);
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (shown === undefined) return <Skeleton rows={8} />;
  if (shown.length === 0) {
    const isFiltered = filter.query !== '' || filter.starred === true || filter.labels !== undefined;
    return isFiltered ? (
      <Empty title={contactTexts.noMatch} lead={contactTexts.noMatchLead} />
    ) : (
      <Empty title={contactTexts.noContacts} lead={contactTexts.noContactsLead} />
    );
  }
  /** The whole selection goes along with one of it. */
  const onDragStart = (contact: Contact, { dataTransfer }: DragEvent) => {
    const dragged = selection.has(contact.id) ? selection.items : [contact];
    dataTransfer.setData(DRAGGED_CONTACTS, dragged.map(({ id }) => id).join(','));
    dataTransfer.effectAllowed = 'link';
  };
  return (
    <div className="contact-list">
      <div className="select-all">
        <SelectAllBox selection={selection} shown={shown} />{' '}
        <span className="muted">{contactTexts.shownCount(shown.length)}</span>
      </div>
      <ul className="card" aria-label={t.contacts}>
        {shown.map((contact, i) => (
          <li key={contact.id} draggable onDragStart={(event) => onDragStart(contact, event)}>
            <SelectBox selection={selection} shown={shown} index={i} name={contactName(contact)} />
            <Link
              draggable={false}
              to={`contacts/${contact.id}${search}`}
              className="person"
              aria-current={contact.id === currentId ? 'page' : undefined}
            >
              <ContactAvatar contact={contact} />
              <span>
                <span className="person-name">
                  {contactName(contact)}
                  {contact.starred && <span aria-label={contactTexts.starredOnly}> ★</span>}
                  {labels
                    .filter(({ id }) => contact.labelIds.includes(id))
                    .map(({ id, color }) => (
                      <LabelDot key={id} color={color} />
                    ))}
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
