import type { ServiceImpl } from '@connectrpc/connect';
import { ContactSchema } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactImportSchema,
  ContactMergeSchema,
  type ContactService,
  EarlierContactSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import type { App } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import type { ExportApp } from '../privacy/export.ts';
import {
  EXPORT_PAGE_ROWS,
  type ExportPage,
  type ExportPart,
  liveThenDeleted,
  type PersonalData,
} from '../privacy/personal-data.ts';
import type { Page, PageRequest } from '../storage/pages.ts';
import { callerOf } from '../rpc/caller.ts';
import { distinctPairs, listDuplicates, markDistinct, purgeDistinctOf, unmarkDistinct } from './duplicates.ts';
import type { Contact } from './contact.ts';
import { exportContacts } from './export.ts';
import { importContacts } from './import.ts';
import { type ImportChange, listImportChanges, listImports, purgeImportsOf, undoImport } from './imports.ts';
import { listMerged, listMerges, mergeContacts, purgeMergesOf, unmergeContact } from './merges.ts';
import { deletePhoto, getPhoto, listPhotos, type PhotosApp, purgePhotosOf, setPhoto } from './photos.ts';
import { syncContacts } from './sync.ts';
import { type EarlierContact, listAllVersions, listVersions, purgeVersionsOf, restoreVersion } from './versions.ts';
import { messageJson } from '../rpc/message-json.ts';
import {
  ANY_LABELS,
  createContact,
  createContacts,
  deleteContact,
  deleteContacts,
  getContact,
  labelContacts,
  listContacts,
  purgeContactsOf,
  undeleteContact,
  updateContact,
  updateContacts,
} from './contacts.ts';
import {
  contactResponse,
  createResponse,
  fromCreate,
  fromExport,
  fromImport,
  fromCreates,
  fromIds,
  fromList,
  fromMerge,
  fromPhoto,
  fromPhotoSize,
  fromUpdate,
  fromUpdates,
  fromVersions,
  mergeResponse,
  nameOfField,
  shorten,
  toBatchResults,
  toContactMessage,
  toContactPage,
  toDuplicatesPage,
  toFieldsMessage,
  toImportMessage,
  toMergeMessage,
  toMergesPage,
  toPhotoMessage,
  toImportResults,
  toSyncPage,
  toUndoneContacts,
  toVersionMessage,
  toVersionsPage,
  unmergeResponse,
  updateResponse,
} from './messages.ts';

export function contactService(app: PhotosApp & ExportApp): ServiceImpl<typeof ContactService> {
  return {
    createContact(request, context) {
      return createContact(app, callerOf(context), fromCreate(request), createResponse);
    },
    async batchCreateContacts(request, context) {
      const { allOrNothing } = request;
      const batch = { items: await fromCreates(request.contacts), allOrNothing, format: createResponse, shorten };
      return toBatchResults(await createContacts(app, callerOf(context), batch, context.signal));
    },
    async labelContacts(request, context) {
      const labelling = {
        items: await fromVersions(request.contacts),
        add: fromIds(request.addLabelIds),
        remove: fromIds(request.removeLabelIds),
        allOrNothing: request.allOrNothing,
        format: contactResponse,
        shorten,
      };
      return toBatchResults(await labelContacts(app, callerOf(context), labelling, context.signal));
    },
    async getContact({ contactId }, context) {
      return { contact: toContactMessage(await getContact(app, callerOf(context), contactId)) };
    },
    async listContacts(request, context) {
      return toContactPage(await listContacts(app, callerOf(context), fromList(request)));
    },
    updateContact(request, context) {
      return updateContact(app, callerOf(context), fromUpdate(request), updateResponse);
    },
    async batchUpdateContacts(request, context) {
      const { allOrNothing } = request;
      const batch = { items: await fromUpdates(request.contacts), allOrNothing, format: updateResponse, shorten };
      return toBatchResults(await updateContacts(app, callerOf(context), batch, context.signal));
    },
    async deleteContact({ contactId, etag }, context) {
      return { contact: toContactMessage(await deleteContact(app, callerOf(context), contactId, etag)) };
    },
    async batchDeleteContacts(request, context) {
      const { allOrNothing } = request;
      const batch = { items: await fromVersions(request.contacts), allOrNothing, format: contactResponse, shorten };
      return toBatchResults(await deleteContacts(app, callerOf(context), batch, context.signal));
    },
    async importContacts(request, context) {
      const rows = await fromImport(request);
      const options = { ...request, importId: request.importId.toLowerCase() };
      return toImportResults(rows, await importContacts(app, callerOf(context), rows, options, context.signal));
    },
    async undoContactImport({ importId, pageToken }, context) {
      const id = importId.toLowerCase();
      return toUndoneContacts(await undoImport(app, callerOf(context), id, pageToken, context.signal));
    },
    async listContactImports(request, context) {
      const { items, nextPageToken } = await listImports(app, callerOf(context), request);
      return { imports: items.map(toImportMessage), nextPageToken };
    },
    async *exportContacts(request, context) {
      const parts = exportContacts(app, callerOf(context), fromExport(request), context.signal);
      for await (const part of parts) yield { data: Buffer.from(part) };
    },
    async listContactDuplicates(request, context) {
      return toDuplicatesPage(await listDuplicates(app, callerOf(context), request));
    },
    async markContactsDistinct({ contactIds }, context) {
      return { markedPairs: await markDistinct(app, callerOf(context), contactIds) };
    },
    async unmarkContactsDistinct({ contactIds }, context) {
      return { unmarkedPairs: await unmarkDistinct(app, callerOf(context), contactIds) };
    },
    mergeContacts(request, context) {
      return mergeContacts(app, callerOf(context), fromMerge(request), nameOfField, mergeResponse);
    },
    unmergeContact({ contactId, etag, requestId }, context) {
      return unmergeContact(app, callerOf(context), { id: contactId, etag, requestId }, nameOfField, unmergeResponse);
    },
    async listContactMerges(request, context) {
      return toMergesPage(await listMerges(app, callerOf(context), request));
    },
    async listContactVersions({ contactId, pageSize, pageToken }, context) {
      const page = { pageSize, pageToken };
      return toVersionsPage(await listVersions(app, callerOf(context), contactId, page));
    },
    async restoreContactVersion({ contactId, version, etag }, context) {
      const contact = await restoreVersion(app, callerOf(context), { id: contactId, version, etag });
      return { contact: toContactMessage(contact) };
    },
    async setContactPhoto(request, context) {
      return { contact: toContactMessage(await setPhoto(app, callerOf(context), fromPhoto(request), context.signal)) };
    },
    async deleteContactPhoto({ contactId, etag }, context) {
      return { contact: toContactMessage(await deletePhoto(app, callerOf(context), contactId, etag)) };
    },
    async getContactPhoto({ photoId, size }, context) {
      return toPhotoMessage(await getPhoto(app, callerOf(context), photoId, fromPhotoSize(size)));
    },
    async syncContacts(request, context) {
      return toSyncPage(await syncContacts(app, callerOf(context), request));
    },
    async undeleteContact({ contactId, etag }, context) {
      return { contact: toContactMessage(await undeleteContact(app, callerOf(context), contactId, etag)) };
    },
  };
}

/** Contacts: those that are there, then deleted ones; and those that were merged into others. Nobody but their owner reads them. */
export const contactData: PersonalData = {
  tables: {
    contacts: { owner_id: { exported: 'contacts' } },
    contact_terms: { owner_id: { exported: { not: 'search terms, which are made of the fields of contacts' } } },
    contact_merges: { owner_id: { exported: 'contactMerges' } },
    contact_imports: { owner_id: { exported: 'contactImports' } },
    contact_import_changes: { owner_id: { exported: 'contactImportChanges' } },
    contact_versions: { owner_id: { exported: 'contactVersions' } },
    contact_photos: { owner_id: { exported: 'contactPhotos' } },
    contact_photo_images: { owner_id: { exported: 'contactPhotos' } },
    distinct_contacts: { owner_id: { exported: 'distinctContacts' } },
    user_usage: { user_id: { exported: { not: 'how much the contacts take, which is counted from them' } } },
  },
  parts: {
    contacts: { permission: undefined, read: readContacts },
    contactMerges: {
      permission: undefined,
      read: byPages(listMerges, (merge) => messageJson(ContactMergeSchema, toMergeMessage(merge))),
    },
    contactImports: {
      permission: undefined,
      read: byPages(listImports, (each) => messageJson(ContactImportSchema, toImportMessage(each))),
    },
    contactImportChanges: { permission: undefined, read: byPages(listImportChanges, toChangeJson) },
    contactVersions: { permission: undefined, read: byPages(listAllVersions, toVersionJson) },
    distinctContacts: { permission: undefined, read: readDistinct },
    contactPhotos: {
      permission: undefined,
      read: byPages(listPhotos, ({ id, image }) => ({
        id,
        contentType: 'image/jpeg',
        image: Buffer.from(image).toString('base64'),
      })),
    },
  },
  async remove(app, ownerId, limit) {
    let removed = 0;
    const purges = [purgeDistinctOf, purgeVersionsOf, purgeMergesOf, purgeImportsOf, purgeContactsOf, purgePhotosOf];
    for (const purge of purges) {
      if (removed < limit) removed += await purge(app, ownerId, limit - removed);
    }
    return removed;
  },
};

/** What page tokens of merged contacts begin with, beside those that lists have. */
const MERGED = 'merged ';

/** Contacts that are there, then deleted ones, then those that were merged into others. */
async function readContacts(app: App, reader: Caller, userId: string, pageToken: string): Promise<ExportPage> {
  if (!pageToken.startsWith(MERGED)) {
    const page = await readLiveThenDeleted(app, reader, userId, pageToken);
    return { items: page.items, nextPageToken: page.nextPageToken || MERGED };
  }
  const { items, nextPageToken } = await readMerged(app, reader, userId, pageToken.slice(MERGED.length));
  return { items, nextPageToken: nextPageToken && MERGED + nextPageToken };
}

const readLiveThenDeleted = liveThenDeleted(
  (app, reader, page) =>
    listContacts(app, reader, { ...page, query: '', starred: undefined, labels: ANY_LABELS, includeTotalSize: false }),
  toContactJson,
);

const readMerged = byPages(listMerged, toContactJson);

function toContactJson(contact: Contact): object {
  return messageJson(ContactSchema, toContactMessage(contact));
}

function toChangeJson({ importId, contactId, before }: ImportChange): object {
  return { importId, contactId, ...(before && { before: messageJson(ContactSchema, toFieldsMessage(before)) }) };
}

function toVersionJson(version: EarlierContact): object {
  return { contactId: version.contactId, ...messageJson(EarlierContactSchema, toVersionMessage(version)) };
}

/** A part of items that are listed by pages. */
function byPages<Item>(
  list: (app: App, reader: Caller, page: PageRequest) => Promise<Page<Item>>,
  toJson: (item: Item) => object,
): ExportPart['read'] {
  return async (app, reader, _, pageToken) => {
    const { items, nextPageToken } = await list(app, reader, { pageSize: EXPORT_PAGE_ROWS, pageToken });
    return { items: items.map(toJson), nextPageToken };
  };
}

/** Of each pair that is marked as distinct, the ids. */
async function readDistinct(app: App, { userId }: Caller, _: string, pageToken: string): Promise<ExportPage> {
  const after = pageToken === '' ? undefined : (pageToken.split(' ') as [string, string]);
  const pairs = await distinctPairs(app, userId, after, EXPORT_PAGE_ROWS);
  return {
    items: pairs.map((contactIds) => ({ contactIds })),
    nextPageToken: pairs.length < EXPORT_PAGE_ROWS ? '' : pairs.at(-1)!.join(' '),
  };
}
