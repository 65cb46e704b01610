import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Contact as ContactMessage,
  ContactSchema,
  type EmailAddress,
  type PartialDate as PartialDateMessage,
  type PartialDateSchema,
  type PhoneNumber,
  type PostalAddress,
  type WebAddress,
} from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactService,
  type CreateContactRequest,
  type ListContactsRequest,
  type ListContactsResponseSchema,
  type UpdateContactRequest,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { responseFormat } from '../rpc/response-format.ts';
import { mapInSlices, type Page, totalOf } from '../storage/pages.ts';
import type { PartialUpdate } from '../resources/partial-update.ts';
import type { Address, Contact, ContactFields, Email, PartialDate, Phone, Url } from './contact.ts';
import type { ContactListRequest } from './contacts.ts';

export function toContactMessage(contact: Contact): ContactMessage {
  const { givenName, familyName, company, jobTitle, birthday, notes, starred } = contact;
  const fields = {
    givenName,
    familyName,
    company,
    jobTitle,
    emails: [...contact.emails],
    phones: [...contact.phones],
    addresses: [...contact.addresses],
    urls: [...contact.urls],
    birthday: birthday && toPartialDate(birthday),
    notes,
    starred,
  } satisfies Record<keyof ContactFields, unknown>;
  return create(ContactSchema, {
    ...fields,
    id: contact.id,
    createTime: timestampFromMs(contact.createMs),
    updateTime: timestampFromMs(contact.updateMs),
    ...(contact.deleteMs === null ? {} : { deleteTime: timestampFromMs(contact.deleteMs) }),
    ...(contact.purgeMs === null ? {} : { purgeTime: timestampFromMs(contact.purgeMs) }),
    etag: contact.etag,
  });
}

export async function toContactPage(page: Page<Contact>): Promise<MessageInitShape<typeof ListContactsResponseSchema>> {
  return {
    contacts: await mapInSlices(page.items, toContactMessage),
    nextPageToken: page.nextPageToken,
    ...totalOf(page),
  };
}

export function fromCreate(request: CreateContactRequest): ContactFields {
  const { givenName, familyName, company, jobTitle, notes, starred } = request;
  return {
    givenName,
    familyName,
    company,
    jobTitle,
    emails: request.emails.map(fromEmail),
    phones: request.phones.map(fromPhone),
    addresses: request.addresses.map(fromAddress),
    urls: request.urls.map(fromUrl),
    birthday: fromPartialDate(request.birthday),
    notes,
    starred,
  };
}

export function fromList(request: ListContactsRequest): ContactListRequest {
  const { pageSize, pageToken, includeTotalSize, query, starred, deleted } = request;
  return { pageSize, pageToken, includeTotalSize, query, starred, deleted };
}

export function fromUpdate(request: UpdateContactRequest): PartialUpdate<ContactFields> {
  const { givenName, familyName, company, jobTitle, notes, starred, birthday } = request;
  return {
    givenName,
    familyName,
    company,
    jobTitle,
    emails: request.emails?.values.map(fromEmail),
    phones: request.phones?.values.map(fromPhone),
    addresses: request.addresses?.values.map(fromAddress),
    urls: request.urls?.values.map(fromUrl),
    birthday: birthday && (fromPartialDate(birthday.value) ?? null),
    notes,
    starred,
  };
}

/** Entries as plain data, without what protobuf adds to its messages. */
function fromEmail({ address, type, primary }: EmailAddress): Email {
  return { address, type, primary };
}

function fromPhone({ number, type, primary }: PhoneNumber): Phone {
  return { number, type, primary };
}

function fromAddress({ street, city, region, postalCode, country, type, primary }: PostalAddress): Address {
  return { street, city, region, postalCode, country, type, primary };
}

function fromUrl({ url, type, primary }: WebAddress): Url {
  return { url, type, primary };
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
