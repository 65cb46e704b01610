import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactField,
  ContactFormat,
  ContactImportStatus,
  ContactService,
  ContactStatus,
  ContactUndoStatus,
  PhotoSize,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { type Cast, ETAG, examplesOf, TIME } from '../../test/support/example.ts';
import type { SignedIn } from '../../test/support/kith.ts';
import { quarters, toPng } from './photos/pictures.testkit.ts';

const ADA = {
  givenName: 'Ada',
  familyName: 'Lovelace',
  emails: [{ address: 'ada@example.org', type: 'work', primary: true }],
  phones: [{ number: '+44 20 7946 0000', type: '', primary: true }],
  addresses: [{ street: '12 St James’s Square', city: 'London', country: 'GB', primary: true }],
  urls: [{ url: 'https://example.org/ada', type: 'home', primary: true }],
  birthday: { year: 1815, month: 12, day: 10 },
  notes: 'First line\nsecond line',
  starred: true,
};

const PICTURE = toPng(quarters(8));

export const contacts = examplesOf(ContactService, {
  async createContact({ caller }) {
    const { accessToken } = await caller();
    return {
      accessToken,
      request: { ...ADA, requestId: randomUUID() },
      answer: { contact: { ...ADA, id: expect.any(String), createTime: TIME, updateTime: TIME, etag: ETAG } },
    };
  },
  async batchCreateContacts({ caller }) {
    const { accessToken } = await caller();
    return {
      accessToken,
      request: { contacts: [ADA, { givenName: 'a\nb' }] },
      answer: {
        results: [
          { status: ContactStatus.CREATED, contact: { ...ADA, id: expect.any(String), etag: ETAG } },
          {
            status: ContactStatus.REFUSED,
            refusal: { detail: { reason: ErrorReason.FIELDS_INVALID, metadata: { field: 'given_name' } } },
          },
        ],
      },
    };
  },
  async labelContacts(cast) {
    const { accessToken, contact } = await withContact(cast);
    const { label } = await cast.kith.client(LabelService, accessToken).createLabel({ name: randomUUID() });
    return {
      accessToken,
      request: { contacts: [{ contactId: contact.id, etag: contact.etag }], addLabelIds: [label!.id] },
      answer: {
        results: [{ status: ContactStatus.UPDATED, contact: { ...ADA, id: contact.id, labelIds: [label!.id] } }],
      },
    };
  },
  async getContact(cast) {
    const { accessToken, contact } = await withContact(cast);
    return { accessToken, request: { contactId: contact.id }, answer: { contact } };
  },
  async listContacts(cast) {
    const { accessToken, contact } = await withContact(cast);
    return {
      accessToken,
      request: { query: 'lovel', starred: true, pageSize: 10, includeTotalSize: true },
      answer: { contacts: [contact], nextPageToken: '', totalSize: 1, totalSizeAtLeast: false },
    };
  },
  async updateContact(cast) {
    const { accessToken, contact } = await withContact(cast);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag, starred: false, notes: '', emails: {}, birthday: {} },
      answer: { contact: { id: contact.id, givenName: 'Ada', starred: false, notes: '', emails: [] } },
      absent: ['contact.birthday'],
    };
  },
  async deleteContact(cast) {
    const { accessToken, contact } = await withContact(cast);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag },
      answer: { contact: { id: contact.id, deleteTime: TIME, purgeTime: TIME } },
    };
  },
  async batchUpdateContacts(cast) {
    const { accessToken, contact } = await withContact(cast);
    const change = { contactId: contact.id, etag: contact.etag, starred: false, requestId: randomUUID() };
    return {
      accessToken,
      request: { contacts: [change, { ...change, requestId: randomUUID() }] },
      answer: {
        results: [
          { status: ContactStatus.UPDATED, contact: { ...ADA, id: contact.id, starred: false, etag: ETAG } },
          { status: ContactStatus.REFUSED, refusal: { detail: { reason: ErrorReason.ETAG_MISMATCH } } },
        ],
      },
    };
  },
  async batchDeleteContacts(cast) {
    const { accessToken, contact } = await withContact(cast);
    const version = { contactId: contact.id, etag: contact.etag };
    return {
      accessToken,
      request: { contacts: [version, { contactId: randomUUID() }] },
      answer: {
        results: [
          { status: ContactStatus.DELETED, contact: { id: contact.id, deleteTime: TIME, purgeTime: TIME } },
          { status: ContactStatus.REFUSED, refusal: { detail: { reason: ErrorReason.CONTACT_NOT_FOUND } } },
        ],
      },
    };
  },
  async importContacts({ caller }) {
    const { accessToken } = await caller();
    // Another contact in each call: the same one again would change nothing.
    const uid = randomUUID();
    const content = `BEGIN:VCARD\r\nVERSION:3.0\r\nN:Lovelace;Ada;;;\r\nUID:${uid}\r\nEND:VCARD\r\nEND:VCARD\r\n`;
    return {
      accessToken,
      request: {
        format: ContactFormat.VCARD_3,
        content: Buffer.from(content),
        source: 'a.vcf',
        linesBefore: 10,
        importId: randomUUID(),
      },
      answer: {
        importId: expect.any(String),
        results: [
          { status: ContactImportStatus.CREATED, contactId: expect.any(String), line: 11, name: 'Ada Lovelace' },
          {
            status: ContactImportStatus.REFUSED,
            line: 16,
            refusal: { detail: { reason: ErrorReason.CONTACT_UNREADABLE } },
          },
        ],
      },
    };
  },
  async listContactVersions(cast) {
    const { accessToken, contact } = await withVersion(cast);
    const version = {
      version: 1,
      contact: expect.objectContaining({ givenName: contact.givenName, notes: contact.notes, id: '' }),
      action: 'kith.contact.updated',
      changedFields: [ContactField.NOTES],
      changeTime: expect.objectContaining(TIME),
      purgeTime: expect.objectContaining(TIME),
    };
    return {
      accessToken,
      request: { contactId: contact.id, pageSize: 10 },
      answer: { versions: [expect.objectContaining(version)], nextPageToken: '' },
    };
  },
  async restoreContactVersion(cast) {
    const { accessToken, contact } = await withVersion(cast);
    const restored = { id: contact.id, notes: contact.notes };
    return {
      accessToken,
      request: { contactId: contact.id, version: 1 },
      answer: { contact: expect.objectContaining(restored) },
    };
  },
  async undoContactImport(cast) {
    const { accessToken, importId, contactId } = await withImported(cast);
    return {
      accessToken,
      request: { importId },
      answer: { results: [{ status: ContactUndoStatus.DELETED, contactId }], nextPageToken: '' },
    };
  },
  async listContactImports(cast) {
    const { accessToken, importId } = await withImported(cast);
    const time: unknown = expect.objectContaining(TIME);
    const counts = { createdContacts: 1, updatedContacts: 0, remainingContacts: 1 };
    const listed = { id: importId, source: 'a.vcf', ...counts, createTime: time, purgeTime: time };
    return {
      accessToken,
      request: { pageSize: 10 },
      answer: { imports: expect.arrayContaining([expect.objectContaining(listed)]) },
    };
  },
  async exportContacts(cast) {
    const { accessToken } = await withContact(cast);
    return {
      accessToken,
      request: { format: ContactFormat.CSV, query: 'lovel', starred: true, labels: {} },
      answer: { data: expect.anything() },
    };
  },
  async listContactDuplicates(cast) {
    const { accessToken, contact } = await withContact(cast);
    const { contact: second } = await cast.kith.client(ContactService, accessToken).createContact({
      nickname: 'The Countess',
      emails: [{ address: 'ADA@example.org' }],
    });
    return {
      accessToken,
      request: { pageSize: 10 },
      answer: { duplicates: expect.arrayContaining([expect.objectContaining({ first: contact, second })]) },
    };
  },
  async markContactsDistinct(cast) {
    const { accessToken, contact } = await withContact(cast);
    const { contact: other } = await cast.kith.client(ContactService, accessToken).createContact(ADA);
    return { accessToken, request: { contactIds: [contact.id, other!.id] }, answer: { markedPairs: 1 } };
  },
  async unmarkContactsDistinct(cast) {
    const { accessToken, contact } = await withContact(cast);
    const client = cast.kith.client(ContactService, accessToken);
    const { contact: other } = await client.createContact(ADA);
    const contactIds = [contact.id, other!.id];
    await client.markContactsDistinct({ contactIds });
    return { accessToken, request: { contactIds }, answer: { unmarkedPairs: 1 } };
  },
  async mergeContacts(cast) {
    const { accessToken, kept, other } = await withTwo(cast);
    return {
      accessToken,
      request: {
        contacts: [kept, other].map(({ id, etag }) => ({ contactId: id, etag })),
        keptContactId: kept.id,
        choices: [{ field: ContactField.NICKNAME, contactId: other.id }],
        requestId: randomUUID(),
      },
      answer: { contact: { ...ADA, id: kept.id, nickname: 'The Countess', etag: ETAG } },
      verify: async () => {
        const { contacts: left } = await cast.kith
          .client(ContactService, accessToken)
          .listContacts({ query: 'countess' });
        expect(left.map(({ id }) => id)).toContain(kept.id);
        expect(left.map(({ id }) => id)).not.toContain(other.id);
      },
    };
  },
  async unmergeContact(cast) {
    const { accessToken, kept, other } = await withMerged(cast);
    return {
      accessToken,
      request: { contactId: kept.id, requestId: randomUUID() },
      answer: { contact: { ...ADA, id: kept.id, nickname: '' }, restoredContactIds: [other.id] },
    };
  },
  async listContactMerges(cast) {
    const { accessToken, kept, other } = await withMerged(cast);
    const time: unknown = expect.objectContaining(TIME);
    const merge = { contactId: kept.id, mergedContactIds: [other.id], createTime: time, purgeTime: time };
    return {
      accessToken,
      request: { pageSize: 10 },
      answer: { merges: expect.arrayContaining([expect.objectContaining(merge)]) },
    };
  },
  async setContactPhoto(cast) {
    const { accessToken, contact } = await withContact(cast);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag, image: PICTURE },
      answer: { contact: { ...ADA, id: contact.id, photoId: expect.stringMatching(/^[\w-]{43}$/), etag: ETAG } },
    };
  },
  async deleteContactPhoto(cast) {
    const { accessToken, contact } = await withPhoto(cast);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag },
      answer: { contact: { ...ADA, id: contact.id, photoId: '', etag: ETAG } },
    };
  },
  async getContactPhoto(cast) {
    const { accessToken, contact } = await withPhoto(cast);
    return {
      accessToken,
      request: { photoId: contact.photoId, size: PhotoSize.SMALL },
      answer: { contentType: 'image/jpeg', image: expect.anything() },
    };
  },
  async syncContacts(cast) {
    const { accessToken, contact } = await withContact(cast);
    return {
      accessToken,
      request: { pageSize: 1000 },
      answer: { contacts: expect.arrayContaining([contact]), labelsChanged: true, nextCursor: expect.any(String) },
    };
  },
  async undeleteContact(cast) {
    const { accessToken, contact } = await withContact(cast);
    await cast.kith.client(ContactService, accessToken).deleteContact({ contactId: contact.id });
    return {
      accessToken,
      request: { contactId: contact.id },
      answer: { contact: { id: contact.id, ...ADA } },
      absent: ['contact.deleteTime', 'contact.purgeTime'],
    };
  },
});

async function withContact({ kith, caller }: Cast): Promise<SignedIn & { contact: Contact }> {
  const owner = await caller();
  const { contact } = await kith.client(ContactService, owner.accessToken).createContact(ADA);
  return { ...owner, contact: contact! };
}

async function withPhoto(cast: Cast): Promise<SignedIn & { contact: Contact }> {
  const { contact: before, ...owner } = await withContact(cast);
  const client = cast.kith.client(ContactService, owner.accessToken);
  const { contact } = await client.setContactPhoto({ contactId: before.id, image: PICTURE });
  return { ...owner, contact: contact! };
}

async function withTwo(cast: Cast): Promise<SignedIn & { kept: Contact; other: Contact }> {
  const { contact: kept, ...owner } = await withContact(cast);
  const client = cast.kith.client(ContactService, owner.accessToken);
  const { contact: other } = await client.createContact({ givenName: 'Ada', nickname: 'The Countess' });
  return { ...owner, kept, other: other! };
}

async function withImported({ kith, caller }: Cast): Promise<SignedIn & { importId: string; contactId: string }> {
  const owner = await caller();
  const { importId, results } = await kith.client(ContactService, owner.accessToken).importContacts({
    format: ContactFormat.VCARD_3,
    content: Buffer.from(`BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nUID:${randomUUID()}\r\nEND:VCARD\r\n`),
    source: 'a.vcf',
  });
  return { ...owner, importId, contactId: results[0]!.contactId };
}

async function withVersion(cast: Cast): Promise<SignedIn & { contact: Contact }> {
  const one = await withContact(cast);
  const { contact, accessToken } = one;
  await cast.kith.client(ContactService, accessToken).updateContact({ contactId: contact.id, notes: 'Other notes' });
  return one;
}

async function withMerged(cast: Cast): Promise<SignedIn & { kept: Contact; other: Contact }> {
  const two = await withTwo(cast);
  const { kept, other } = two;
  await cast.kith.client(ContactService, two.accessToken).mergeContacts({
    contacts: [kept, other].map(({ id, etag }) => ({ contactId: id, etag })),
    keptContactId: kept.id,
  });
  return two;
}
