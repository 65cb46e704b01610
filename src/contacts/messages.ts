import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Birthday as BirthdayMessage,
  type Contact as ContactMessage,
  ContactSchema,
  type EmailAddress,
  type PhoneNumber,
  type PostalAddress,
  type WebAddress,
} from '../../gen/kith/contact/v1/contact_pb.ts';
import type {
  CreateContactRequest,
  ListContactsRequest,
  ListContactsResponseSchema,
  UpdateContactRequest,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { mapInSlices, type Page, totalOf } from '../pages.ts';
import type { Address, Birthday, Contact, ContactFields, Email, Phone, Url } from './contact.ts';
import type { ContactListRequest } from './contacts.ts';

export function toContactMessage(contact: Contact): ContactMessage {
  const { id, givenName, familyName, company, title, notes, starred, etag, birthday } = contact;
  return create(ContactSchema, {
    id,
    givenName,
    familyName,
    company,
    title,
    emails: [...contact.emails],
    phones: [...contact.phones],
    addresses: [...contact.addresses],
    urls: [...contact.urls],
    ...(birthday === undefined ? {} : { birthday: toBirthday(birthday) }),
    notes,
    starred,
    createTime: timestampFromMs(contact.createMs),
    updateTime: timestampFromMs(contact.updateMs),
    ...(contact.deleteMs === null ? {} : { deleteTime: timestampFromMs(contact.deleteMs) }),
    ...(contact.purgeMs === null ? {} : { purgeTime: timestampFromMs(contact.purgeMs) }),
    etag,
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
  const { givenName, familyName, company, title, notes, starred } = request;
  return {
    givenName,
    familyName,
    company,
    title,
    emails: request.emails.map(fromEmail),
    phones: request.phones.map(fromPhone),
    addresses: request.addresses.map(fromAddress),
    urls: request.urls.map(fromUrl),
    birthday: fromBirthday(request.birthday),
    notes,
    starred,
  };
}

export function fromList(request: ListContactsRequest): ContactListRequest {
  const { pageSize, pageToken, includeTotalSize, query, starred, deleted } = request;
  return { pageSize, pageToken, includeTotalSize, query, starred, deleted };
}

/** The fields that are present. */
export function fromUpdate(request: UpdateContactRequest): Partial<ContactFields> {
  const { givenName, familyName, company, title, notes, starred, birthday } = request;
  const change = {
    givenName,
    familyName,
    company,
    title,
    emails: request.emails?.values.map(fromEmail),
    phones: request.phones?.values.map(fromPhone),
    addresses: request.addresses?.values.map(fromAddress),
    urls: request.urls?.values.map(fromUrl),
    notes,
    starred,
  };
  const present = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  return birthday === undefined ? present : { ...present, birthday: fromBirthday(birthday.value) };
}

/** Entries as plain data, without what protobuf adds to its messages. */
function fromEmail({ address, label, primary }: EmailAddress): Email {
  return { address, label, primary };
}

function fromPhone({ number, label, primary }: PhoneNumber): Phone {
  return { number, label, primary };
}

function fromAddress({ street, city, region, postalCode, country, label, primary }: PostalAddress): Address {
  return { street, city, region, postalCode, country, label, primary };
}

function fromUrl({ url, label, primary }: WebAddress): Url {
  return { url, label, primary };
}

function toBirthday({ year, month, day }: Birthday) {
  return year === undefined ? { month, day } : { year, month, day };
}

function fromBirthday(birthday: BirthdayMessage | undefined): Birthday | undefined {
  return birthday && { year: birthday.year, month: birthday.month, day: birthday.day };
}
