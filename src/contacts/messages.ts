import { setImmediate } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Contact as ContactMessage,
  type ContactDate,
  ContactSchema,
  type CustomField as CustomFieldMessage,
  type EmailAddress,
  type PartialDate as PartialDateMessage,
  type MessagingHandle as MessagingHandleMessage,
  type PartialDateSchema,
  type PhoneNumber,
  type PostalAddress,
  type Relation as RelationMessage,
  type WebAddress,
} from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactField,
  ContactFormat,
  type ContactImport as ContactImportMessage,
  ContactImportSchema,
  ContactImportStatus,
  type ContactMerge as ContactMergeMessage,
  ContactMergeSchema,
  type ContactResultSchema,
  ContactService,
  ContactStatus,
  ContactUndoStatus,
  ContactVersionSchema,
  type CreateContactRequest,
  CreateContactRequestSchema,
  DuplicateReason,
  type EarlierContact as EarlierContactMessage,
  EarlierContactSchema,
  type ExportContactsRequest,
  type GetContactPhotoResponseSchema,
  type ImportContactsRequest,
  type ImportContactsResponseSchema,
  type LabelFilter as LabelFilterMessage,
  type ListContactDuplicatesResponseSchema,
  type ListContactMergesResponseSchema,
  type ListContactVersionsResponseSchema,
  type ListContactsRequest,
  type ListContactsResponseSchema,
  type MergeContactsRequest,
  PhotoSize,
  type PossibleDuplicateSchema,
  type SetContactPhotoRequest,
  type SyncContactsResponseSchema,
  type UndoContactImportResponseSchema,
  type UpdateContactRequest,
  UpdateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { Failure, type PartRefusal } from '../kernel/failure.ts';
import type { PartialDate } from '../kernel/partial-date.ts';
import { pick } from '../kernel/pick.ts';
import { toRefusal } from '../rpc/errors.ts';
import { responseFormat } from '../rpc/response-format.ts';
import { createMessageCheck } from '../rpc/validate.ts';
import { mapInSlices, type Page, totalOf } from '../storage/pages.ts';
import {
  type Address,
  type Contact,
  type ContactFields,
  type CustomField,
  type DatedEvent,
  type Email,
  type MessagingHandle,
  NO_FIELDS,
  type Phone,
  type Relation,
  type Url,
} from './contact.ts';
import type { BatchResult, Refused } from './batch.ts';
import type { ContactListRequest, ContactUpdate, ContactVersion, LabelFilter, NewContact } from './contacts.ts';
import type { Duplicate, PossibleDuplicate } from './duplicates.ts';
import type { ContactsExport } from './export.ts';
import { displayName, type ReadCard } from './formats/card.ts';
import { readCsv } from './formats/csv.ts';
import { readJSContact } from './formats/jscontact-reader.ts';
import { readVCards } from './formats/vcard-reader.ts';
import type { Imported, ImportResult, ImportRow } from './import.ts';
import type { ContactImport, UndoneContact } from './imports.ts';
import type { MatchReason } from './match.ts';
import type { FieldName } from './merge.ts';
import type { ContactMerge, Merge, Unmerged } from './merges.ts';
import type { PhotoChange } from './photos.ts';
import type { PhotoSize as PhotoSizeName } from './photos/photo.ts';
import type { SyncPage } from './sync.ts';
import type { EarlierContact } from './versions.ts';
import { isEmailAddress } from './email-address.ts';
import { readWebAddress } from './web-address.ts';

/** How an entry of each list is read from its message: as plain data, without what protobuf adds. */
const ENTRIES = {
  emails: ({ address, type, primary }: EmailAddress): Email => ({ address, type, primary }),
  phones: ({ number, type, primary }: PhoneNumber): Phone => ({ number, type, primary }),
  addresses: ({ street, city, region, postalCode, country, type, primary }: PostalAddress): Address => {
    return { street, city, region, postalCode, country, type, primary };
  },
  urls: ({ url, text, type, primary }: WebAddress): Url => ({ ...readWebAddress(url || text), type, primary }),
  dates: ({ date, type }: ContactDate): DatedEvent => ({ date: fromPartialDate(date)!, type }),
  relations: ({ name, type }: RelationMessage): Relation => ({ name, type }),
  messagingHandles: ({ handle, service, type }: MessagingHandleMessage): MessagingHandle => ({ handle, service, type }),
  customFields: ({ label, value }: CustomFieldMessage): CustomField => ({ label, value }),
  languages: (language: string): string => language,
  labelIds: (id: string): string => id.toLowerCase(),
};
type ListField = keyof typeof ENTRIES;

/** Fields that messages have in another form, or that no request sets. */
const OTHER_FIELDS = ['birthday', 'properties', 'photoId'] as const satisfies readonly (keyof ContactFields)[];

/** The fields that a message holds as they are. One that the messages lack, or have in another form, does not compile. */
type SameField = Exclude<keyof ContactFields, ListField | (typeof OTHER_FIELDS)[number]>;

const LIST_FIELDS = Object.keys(ENTRIES) as readonly ListField[];
const SAME_FIELDS = (Object.keys(NO_FIELDS) as readonly (keyof ContactFields)[]).filter(
  (name): name is SameField =>
    !OTHER_FIELDS.some((other) => other === name) && !LIST_FIELDS.some((list) => list === name),
);

export function toContactMessage(contact: Contact): ContactMessage {
  const { emails, phones, addresses, urls, birthday, dates, relations, messagingHandles, customFields } = contact;
  const same: Pick<ContactMessage, SameField | 'id' | 'etag' | 'photoId'> = contact;
  return create(ContactSchema, {
    ...same,
    emails: emails.map((email) => ({ ...email, valid: isEmailAddress(email.address) })),
    phones: phones.map(({ e164 = '', ...phone }) => ({ ...phone, e164 })),
    addresses: [...addresses],
    urls: urls.map(({ text = '', ...url }) => ({ ...url, text })),
    dates: dates.map(({ date, type }) => ({ date: toPartialDate(date), type })),
    relations: [...relations],
    messagingHandles: [...messagingHandles],
    customFields: [...customFields],
    languages: [...contact.languages],
    vcardProperties: [...contact.properties],
    labelIds: [...contact.labelIds],
    birthday: birthday && toPartialDate(birthday),
    createTime: timestampFromMs(contact.createMs),
    updateTime: timestampFromMs(contact.updateMs),
    ...(contact.deleteMs === null ? {} : { deleteTime: timestampFromMs(contact.deleteMs) }),
    ...(contact.purgeMs === null ? {} : { purgeTime: timestampFromMs(contact.purgeMs) }),
  });
}

export async function toContactPage(page: Page<Contact>): Promise<MessageInitShape<typeof ListContactsResponseSchema>> {
  return {
    contacts: await mapInSlices(page.items, toContactMessage),
    nextPageToken: page.nextPageToken,
    ...totalOf(page),
  };
}

export function fromCreate(request: CreateContactRequest): NewContact {
  const fields = {
    // In this order, since the fields are part of what a request id stands for.
    ...NO_FIELDS,
    ...pick(request, SAME_FIELDS),
    ...readLists((name) => request[name]),
    birthday: fromPartialDate(request.birthday),
  };
  return { fields, phoneRegion: request.phoneRegion, requestId: request.requestId };
}

/** The contacts of a batch. What breaks the rules of the contract in one is the refusal of that one. */
function fromRows<Row, Item>(check: (row: Row) => PartRefusal | undefined, read: (row: Row) => Item) {
  return (rows: readonly Row[]): Promise<(Item | Refused)[]> =>
    mapInSlices(rows, (row) => {
      const refusal = check(row);
      return refusal === undefined ? read(row) : { status: 'refused', refusal };
    });
}

const checkCreate = createMessageCheck(CreateContactRequestSchema);

export const fromCreates = fromRows(checkCreate, fromCreate);

export const fromUpdates = fromRows(createMessageCheck(UpdateContactRequestSchema), fromUpdate);

export const fromVersions = fromRows(
  createMessageCheck(ContactVersionSchema),
  ({ contactId, etag }): ContactVersion => ({ id: contactId, etag }),
);

const STATUSES = {
  created: ContactStatus.CREATED,
  refused: ContactStatus.REFUSED,
  left_out: ContactStatus.LEFT_OUT,
  updated: ContactStatus.UPDATED,
  deleted: ContactStatus.DELETED,
} satisfies Record<BatchResult<unknown>['status'], ContactStatus>;

/** A response with a contact. */
interface WithContact {
  readonly contact?: ContactMessage | undefined;
}

export function toBatchResults(results: readonly BatchResult<WithContact>[]): {
  results: MessageInitShape<typeof ContactResultSchema>[];
} {
  return {
    results: results.map((result) => ({
      status: STATUSES[result.status],
      ...('response' in result && result.response.contact && { contact: result.response.contact }),
      ...(result.status === 'refused' && { refusal: toRefusal(result.refusal) }),
    })),
  };
}

/** Leaves of a contact what tells which one and which version it is. */
export function shorten<Response extends WithContact>({ contact, ...rest }: Response): Response {
  return { ...rest, contact: contact && create(ContactSchema, { id: contact.id, etag: contact.etag }) } as Response;
}

/** The fields of a contact by their numbers in the contract. */
const FIELDS_BY_NUMBER: ReadonlyMap<ContactField, FieldName> = new Map(
  (Object.keys(NO_FIELDS) as FieldName[]).map((field) => [
    ContactField[nameOfField(field).toUpperCase() as keyof typeof ContactField],
    field,
  ]),
);

export function nameOfField(field: FieldName): string {
  if (field === 'properties') return 'vcard_properties';
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function fromMerge(request: MergeContactsRequest): Merge {
  return {
    contacts: request.contacts.map(({ contactId, etag }) => ({ id: contactId, etag })),
    keptId: request.keptContactId,
    choices: request.choices.map(({ field, contactId }) => ({ field: FIELDS_BY_NUMBER.get(field)!, contactId })),
    prefersOwn: request.preferKept,
    requestId: request.requestId,
  };
}

/** The number of a field in the contract, by its name. */
function numberOfField(name: FieldName): ContactField[] {
  const number = NUMBERS_OF_FIELDS.get(name);
  // A name that a later version wrote is none here.
  return number === undefined ? [] : [number];
}

const NUMBERS_OF_FIELDS = new Map([...FIELDS_BY_NUMBER].map(([number, name]) => [name, number]));

export function toVersionMessage(version: EarlierContact): EarlierContactMessage {
  return create(EarlierContactSchema, {
    version: version.version,
    contact: toFieldsMessage(version.fields),
    changeTime: timestampFromMs(version.changeMs),
    action: version.action,
    actorSessionId: version.actorSessionId,
    changedFields: version.changed.flatMap(numberOfField),
    purgeTime: timestampFromMs(version.purgeMs),
  });
}

export async function toVersionsPage(
  page: Page<EarlierContact>,
): Promise<MessageInitShape<typeof ListContactVersionsResponseSchema>> {
  return { versions: await mapInSlices(page.items, toVersionMessage), nextPageToken: page.nextPageToken };
}

/** The fields of a contact that is not there as such: without id, etag and times. */
export function toFieldsMessage(fields: ContactFields): ContactMessage {
  const unversioned = { id: '', etag: '', createMs: 0, updateMs: 0, deleteMs: null, purgeMs: null };
  const { createTime: _, updateTime: _u, ...message } = toContactMessage({ ...fields, ...unversioned });
  return create(ContactSchema, message);
}

export function toMergeMessage(merge: ContactMerge): ContactMergeMessage {
  return create(ContactMergeSchema, {
    contactId: merge.contactId,
    mergedContactIds: [...merge.mergedIds],
    before: toFieldsMessage(merge.before),
    createTime: timestampFromMs(merge.createMs),
    purgeTime: timestampFromMs(merge.purgeMs),
  });
}

export async function toMergesPage(
  page: Page<ContactMerge>,
): Promise<MessageInitShape<typeof ListContactMergesResponseSchema>> {
  return { merges: await mapInSlices(page.items, toMergeMessage), nextPageToken: page.nextPageToken };
}

const DUPLICATE_REASONS = {
  email: DuplicateReason.EMAIL,
  phone: DuplicateReason.PHONE,
  name_and_company: DuplicateReason.NAME_AND_COMPANY,
  name_and_birthday: DuplicateReason.NAME_AND_BIRTHDAY,
  name: DuplicateReason.NAME,
} satisfies Record<MatchReason, DuplicateReason>;

export async function toDuplicatesPage({
  items,
  nextPageToken,
}: Page<Duplicate>): Promise<MessageInitShape<typeof ListContactDuplicatesResponseSchema>> {
  const duplicates = await mapInSlices(items, ({ first, second, reasons, score }) => ({
    first: toContactMessage(first),
    second: toContactMessage(second),
    reasons: reasons.map((reason) => DUPLICATE_REASONS[reason]),
    score,
  }));
  return { duplicates, nextPageToken };
}

export async function toSyncPage(page: SyncPage): Promise<MessageInitShape<typeof SyncContactsResponseSchema>> {
  return {
    contacts: await mapInSlices(page.contacts, toContactMessage),
    tombstones: page.tombstones.map(({ id, mergedInto }) => ({ contactId: id, mergedIntoContactId: mergedInto })),
    labelsChanged: page.isLabelChanged,
    nextCursor: page.nextCursor,
    hasMore: page.hasMore,
  };
}

export function fromList(request: ListContactsRequest): ContactListRequest {
  const { pageSize, pageToken, includeTotalSize, query, starred, deleted } = request;
  return { pageSize, pageToken, includeTotalSize, query, starred, deleted, labels: fromLabels(request.labels) };
}

function fromLabels(filter: LabelFilterMessage | undefined): LabelFilter {
  const { anyOf = [], allOf = [], noneOf = [] } = filter ?? {};
  return { anyOf: fromIds(anyOf), allOf: fromIds(allOf), noneOf: fromIds(noneOf) };
}

/** Ids as they are stored: each once, in lower case. */
export function fromIds(ids: readonly string[]): string[] {
  return [...new Set(ids.map((id) => id.toLowerCase()))];
}

export function fromUpdate(request: UpdateContactRequest): ContactUpdate {
  const { contactId, etag, birthday, phoneRegion, requestId } = request;
  const fields = {
    ...pick(request, SAME_FIELDS),
    ...readLists((name) => request[name]?.values),
    birthday: birthday && (fromPartialDate(birthday.value) ?? null),
    properties: undefined,
    photoId: undefined,
  };
  return { id: contactId, etag, fields, phoneRegion, requestId };
}

/** The most contacts that one call imports. */
const IMPORTED_MAX = 500;

/** The contacts of a file. What breaks the rules of the contract in one is the refusal of that one. Throws import_too_large. */
export async function fromImport(request: ImportContactsRequest): Promise<ImportRow[]> {
  const rows: ImportRow[] = [];
  for (const read of readCards(request)) {
    if (rows.length === IMPORTED_MAX) {
      const message = `one call imports at most ${IMPORTED_MAX} contacts: send the file in parts`;
      throw new Failure('import_too_large', message, { limit: String(IMPORTED_MAX) });
    }
    if (rows.length % READ_AT_ONCE === READ_AT_ONCE - 1) await setImmediate();
    rows.push(toImportRow(read, request.linesBefore));
  }
  return rows;
}

/** How many contacts of a file are read before others have their turn. */
const READ_AT_ONCE = 10;

function readCards({ format, content, columns }: ImportContactsRequest): Iterable<ReadCard> {
  if (format === ContactFormat.CSV) return readCsv(content, new Map(columns.map(({ name, holds }) => [name, holds])));
  return format === ContactFormat.JSCONTACT ? readJSContact(content) : readVCards(content);
}

function toImportRow({ card, line, notes, photoLine = line, error }: ReadCard, linesBefore: number): ImportRow {
  const about = {
    line: line + linesBefore,
    name: displayName(card),
    notes: notes.map((note) => ({ ...note, line: note.line + linesBefore })),
  };
  if (error !== '') return { ...about, refusal: { reason: 'contact_unreadable', metadata: {}, message: error } };
  const { properties, labels, photo, ...fields } = card;
  const request = create(CreateContactRequestSchema, fields as MessageInitShape<typeof CreateContactRequestSchema>);
  const refusal = checkCreate(request);
  return refusal === undefined
    ? {
        ...about,
        fields: { ...fromCreate(request).fields, properties },
        labels,
        photo: photo && { picture: photo, line: photoLine + linesBefore },
      }
    : { ...about, refusal };
}

const IMPORT_STATUSES = {
  created: ContactImportStatus.CREATED,
  updated: ContactImportStatus.UPDATED,
  same: ContactImportStatus.SAME,
  refused: ContactImportStatus.REFUSED,
} satisfies Record<ImportResult['status'], ContactImportStatus>;

export function toImportResults(
  rows: readonly ImportRow[],
  { results, importId }: Imported,
): MessageInitShape<typeof ImportContactsResponseSchema> {
  return {
    importId,
    results: results.map((result, i) => ({
      status: IMPORT_STATUSES[result.status],
      line: rows[i]!.line,
      name: rows[i]!.name,
      notes: [...rows[i]!.notes, ...(result.notes ?? []).map((note) => ({ line: rows[i]!.line, ...note }))],
      ...(result.status === 'refused'
        ? { refusal: toRefusal(result.refusal) }
        : { contactId: result.id, possibleDuplicates: (result.duplicates ?? []).map(toPossibleDuplicate) }),
    })),
  };
}

function toPossibleDuplicate({
  id,
  name,
  reasons,
  score,
}: PossibleDuplicate): MessageInitShape<typeof PossibleDuplicateSchema> {
  return { contactId: id, name, reasons: reasons.map((reason) => DUPLICATE_REASONS[reason]), score };
}

export function toImportMessage({ createMs, purgeMs, ...same }: ContactImport): ContactImportMessage {
  return create(ContactImportSchema, {
    ...same,
    createTime: timestampFromMs(createMs),
    purgeTime: timestampFromMs(purgeMs),
  });
}

const UNDO_STATUSES = {
  deleted: ContactUndoStatus.DELETED,
  restored: ContactUndoStatus.RESTORED,
  changed: ContactUndoStatus.CHANGED,
  gone: ContactUndoStatus.GONE,
} satisfies Record<UndoneContact['status'], ContactUndoStatus>;

export function toUndoneContacts({
  items,
  nextPageToken,
}: Pick<Page<UndoneContact>, 'items' | 'nextPageToken'>): MessageInitShape<typeof UndoContactImportResponseSchema> {
  return {
    results: items.map(({ id, status }) => ({ contactId: id, status: UNDO_STATUSES[status] })),
    nextPageToken,
  };
}

export function fromExport({ format, query, starred, labels }: ExportContactsRequest): ContactsExport {
  return { format: EXPORTED[format] ?? 'csv', query, starred, labels: fromLabels(labels) };
}

const PHOTO_SIZES_ASKED: Partial<Record<PhotoSize, PhotoSizeName>> = { [PhotoSize.SMALL]: 'small' };

export function fromPhotoSize(size: PhotoSize): PhotoSizeName {
  return PHOTO_SIZES_ASKED[size] ?? 'large';
}

export function fromPhoto({ contactId, etag, image }: SetContactPhotoRequest): PhotoChange {
  return { contactId, etag, image };
}

export function toPhotoMessage(image: Uint8Array): MessageInitShape<typeof GetContactPhotoResponseSchema> {
  return { image: Uint8Array.from(image), contentType: 'image/jpeg' };
}

const EXPORTED: Partial<Record<ContactFormat, ContactsExport['format']>> = {
  [ContactFormat.VCARD_3]: '3.0',
  [ContactFormat.VCARD_4]: '4.0',
  [ContactFormat.JSCONTACT]: 'jscontact',
};

/** Reads the lists that a request has: undefined stays undefined. */
function readLists<Values extends readonly (object | string)[] | undefined>(
  valuesOf: (name: ListField) => Values,
): { readonly [Name in ListField]: ContactFields[Name] | Extract<Values, undefined> } {
  const lists = LIST_FIELDS.map((name) => [
    name,
    valuesOf(name)?.map(ENTRIES[name] as (entry: object | string) => unknown),
  ]);
  return Object.fromEntries(lists) as never;
}

function toPartialDate({ year, month, day }: PartialDate): MessageInitShape<typeof PartialDateSchema> {
  return {
    ...(year !== undefined && { year }),
    ...(month !== undefined && { month }),
    ...(day !== undefined && { day }),
  };
}

function fromPartialDate(date: PartialDateMessage | undefined): PartialDate | undefined {
  return date && { year: date.year, month: date.month, day: date.day };
}

/** Responses to CreateContact, which are stored for a caller that sends the request again. */
export const createResponse = responseFormat(ContactService.method.createContact, (contact: Contact) => ({
  contact: toContactMessage(contact),
}));

/** Likewise to UpdateContact. */
export const updateResponse = responseFormat(ContactService.method.updateContact, (contact: Contact) => ({
  contact: toContactMessage(contact),
}));

/** Likewise of batches whose responses are not stored. */
export const contactResponse = responseFormat(ContactService.method.getContact, (contact: Contact) => ({
  contact: toContactMessage(contact),
}));

/** Likewise to MergeContacts. */
export const mergeResponse = responseFormat(ContactService.method.mergeContacts, (contact: Contact) => ({
  contact: toContactMessage(contact),
}));

/** Likewise to UnmergeContact. */
export const unmergeResponse = responseFormat(
  ContactService.method.unmergeContact,
  ({ contact, restoredIds }: Unmerged) => ({
    contact: toContactMessage(contact),
    restoredContactIds: [...restoredIds],
  }),
);
