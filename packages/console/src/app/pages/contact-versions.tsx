import { type Contact, ContactField, ContactService, type EarlierContact, PhotoSize } from '@kith/client/contacts';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useId } from 'react';
import { contactField, entriesOf, FIELDS } from '../contact-fields.ts';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { fieldTexts } from '../field-texts.ts';
import { Photo } from '../parts/contact-photo.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { refreshContacts, useLabels } from '../use-labels.ts';
import { versionTexts as texts } from '../versions-texts.ts';

/** How many versions a page has: each comes with the contact as it was. */
const PAGE_SIZE = 20;

interface VersionsProps {
  readonly contact: Contact;
  readonly onClose: () => void;
}

/** What a contact was before each change, with what the change overwrote, to be restored. */
export default function ContactVersions({ contact, onClose }: VersionsProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const { id: contactId, etag } = contact;
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    // Another etag stands for another change.
    queryKey: ['contact-versions', contactId, etag],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      contacts.listVersions({ contactId, pageSize: PAGE_SIZE, pageToken: pageParam }, { signal }).page(),
    getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
  });
  const restore = async (version: number) => {
    try {
      await contacts.restoreVersion({ contactId, version, etag });
      refreshContacts(queries);
      notify(texts.restored);
      onClose();
    } catch (thrown) {
      notify(describeFailure(thrown, texts.failures), { isError: true });
    }
  };
  const versions = data?.pages.flatMap((page) => page.versions);
  return (
    <Dialog title={contactName(contact)} onClose={onClose} isWide>
      <p className="muted">{texts.lead}</p>
      {error !== null && <Failed error={error} onRetry={() => void refetch()} />}
      {error === null && versions === undefined && <Skeleton rows={4} />}
      {versions?.length === 0 && <p>{texts.none}</p>}
      <ul className="versions">
        {versions?.map((version) => (
          <Version key={version.version} of={version} onRestore={() => void restore(version.version)} />
        ))}
      </ul>
      {hasNextPage && (
        <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {texts.more}
        </button>
      )}
    </Dialog>
  );
}

interface VersionProps {
  readonly of: EarlierContact;
  readonly onRestore: () => void;
}

function Version({ of: { contact, changeTime, purgeTime, action, changedFields }, onRestore }: VersionProps) {
  const labels = new Map(useLabels().map(({ id, name }) => [id, name]));
  const headId = useId();
  const changed = new Set(changedFields);
  const what = texts.actions[action.replace('kith.contact.', '')] ?? action;
  return (
    <li className="stack">
      <div className="page-head">
        <p id={headId}>
          {what}, <Time of={changeTime} />{' '}
          <span className="muted">
            · {texts.until} <Time of={purgeTime} />
          </span>
        </p>
        <button type="button" className="button" aria-describedby={headId} onClick={onRestore}>
          {texts.restore}
        </button>
      </div>
      {contact !== undefined && (
        <dl className="facts">
          {FIELDS.filter((name) => changed.has(contactField(name))).map((name) => (
            <div key={name}>
              <dt>
                {texts.before}: {fieldTexts[name]}
              </dt>
              <dd className="stack">
                {name === 'photoId' && contact.photoId !== '' ? (
                  <Photo
                    photoId={contact.photoId}
                    size={PhotoSize.SMALL}
                    className="avatar large"
                    alt={fieldTexts.photoId}
                  />
                ) : (
                  <Before entries={entriesOf(contact, name).map(({ text }) => labels.get(text) ?? text)} />
                )}
              </dd>
            </div>
          ))}
          {changed.has(ContactField.UID) && (
            <div>
              <dt>
                {texts.before}: {fieldTexts.uid}
              </dt>
              <dd>
                <Before entries={contact.uid === '' ? [] : [contact.uid]} />
              </dd>
            </div>
          )}
        </dl>
      )}
    </li>
  );
}

function Before({ entries }: { readonly entries: readonly string[] }) {
  if (entries.length === 0) return <span className="muted">{texts.empty}</span>;
  return entries.map((text, i) => (
    <span key={i} className="notes">
      {text}
    </span>
  ));
}
