import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactField,
  ContactFormat,
  ContactImportStatus,
  ContactService,
  PhotoSize,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { purge } from '../purge.ts';
import { readImageHeader } from './photos/image-header.ts';
import {
  BLUE,
  coloursOf,
  fromJpeg,
  GREEN,
  pngThatSays,
  quarters,
  RED,
  toJpeg,
  toPng,
} from './photos/pictures.testkit.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const [FIRST, SECOND, THIRD] = [RED, GREEN, BLUE].map((colour) =>
  toPng(quarters(120, 120, [colour, colour, colour, colour])),
) as [Buffer, Buffer, Buffer];

describe.each(databases)('photos of contacts, on $name', (kind) => {
  let kith: Kith;
  let app: Awaited<ReturnType<typeof openApp>>;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACT_BYTES_PER_USER: '1048576' } });
    app = await openApp(kith);
  });
  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    await kith[Symbol.asyncDispose]();
  });

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    return {
      client,
      create: async (contact: object) => (await client.createContact(contact)).contact!,
      get: async (contactId: string) => (await client.getContact({ contactId })).contact!,
      set: async ({ id: contactId }: Contact, image: Uint8Array) =>
        (await client.setContactPhoto({ contactId, image })).contact!,
      isThere: (photoId: string) =>
        client.getContactPhoto({ photoId }).then(
          () => true,
          () => false,
        ),
      photosStored: async () =>
        (await app.database.db.selectFrom('contact_photos').select('id').where('owner_id', '=', user.id).execute())
          .length,
      bytes: async () =>
        Number((await kith.client(UserService, accessToken).getUsage({ userId: user.id })).contactBytes!.used),
    };
  };
  /** Purges as if so many days had gone by. */
  const purgeIn = (days: number) => purge({ ...app, now: () => app.now() + days * DAY_MS });

  test('are got by their ids in both sizes, by their owner alone', async () => {
    const { client, create, set } = await newBook();
    const contact = await create({ givenName: 'Ada' });
    expect(contact.photoId).toBe('');
    const { photoId, etag } = await set(contact, await toJpeg(quarters(800, 600)));
    expect(etag).not.toBe(contact.etag);
    const large = await client.getContactPhoto({ photoId });
    const small = await client.getContactPhoto({ photoId, size: PhotoSize.SMALL });
    expect([large.contentType, small.contentType]).toEqual(['image/jpeg', 'image/jpeg']);
    expect([readImageHeader(large.image).width, readImageHeader(small.image).width]).toEqual([512, 96]);
    expect(coloursOf(await fromJpeg(large.image))).toBe('RGBY');
    expect(photoId).toBe(createHash('sha256').update(large.image).digest('base64url'));
    const { accessToken } = await kith.user();
    const refused = { code: 'NotFound', reason: 'PHOTO_NOT_FOUND' };
    expect(await refusalOf(kith.client(ContactService, accessToken).getContactPhoto({ photoId }))).toMatchObject(
      refused,
    );
    expect(await refusalOf(client.getContactPhoto({ photoId: 'x' }))).toMatchObject(refused);
  });

  test('are set on a contact that is there and has the etag, once', async () => {
    const { client, create, set, get } = await newBook();
    const contact = await create({ givenName: 'Ada' });
    const { id: contactId } = contact;
    const first = await set(contact, FIRST);
    expect(await set(contact, FIRST)).toEqual(first);
    const again = client.setContactPhoto({ contactId, etag: contact.etag, image: SECOND });
    expect(await refusalOf(again)).toMatchObject({ reason: 'ETAG_MISMATCH' });
    expect(await refusalOf(client.setContactPhoto({ contactId, image: Buffer.from('GIF89a') }))).toMatchObject({
      code: 'InvalidArgument',
      reason: 'PHOTO_UNREADABLE',
    });
    const bomb = client.setContactPhoto({ contactId, image: pngThatSays(50_000, 50_000) });
    expect(await refusalOf(bomb)).toMatchObject({ reason: 'PHOTO_TOO_LARGE', metadata: { limit: '4200000' } });
    const { contact: without } = await client.deleteContactPhoto({ contactId, etag: first.etag });
    expect(without!.photoId).toBe('');
    expect((await client.deleteContactPhoto({ contactId })).contact).toEqual(without);
    expect(await get(contactId)).toEqual(without);
    await client.deleteContact({ contactId });
    expect(await refusalOf(client.setContactPhoto({ contactId, image: FIRST }))).toMatchObject({
      reason: 'RESOURCE_DELETED',
    });
    const { accessToken } = await kith.user();
    const others = kith.client(ContactService, accessToken);
    expect(await refusalOf(others.setContactPhoto({ contactId, image: FIRST }))).toMatchObject({
      reason: 'CONTACT_NOT_FOUND',
    });
  });

  test('that are set at once on many contacts are one, and counted once', async () => {
    const { create, set, bytes } = await newBook();
    const made = await Promise.all(['A', 'B', 'C', 'D', 'E', 'F'].map((givenName) => create({ givenName })));
    const before = await bytes();
    const shown = await Promise.all(made.map((contact) => set(contact, THIRD)));
    expect(new Set(shown.map(({ photoId }) => photoId)).size).toBe(1);
    expect((await bytes()) - before).toBeLessThan(3000);
    expect(await kith.database.faults()).toEqual([]);
  });

  test('come back with versions, and are synchronised as any field', async () => {
    const { client, create, set } = await newBook();
    const contact = await create({ givenName: 'Ada' });
    const { id: contactId } = contact;
    const { nextCursor: listed } = await client.syncContacts({});
    const { nextCursor } = await client.syncContacts({ cursor: listed });
    const { photoId } = await set(contact, FIRST);
    await client.deleteContactPhoto({ contactId });
    const { versions } = await client.listContactVersions({ contactId });
    expect(versions.map(({ contact: was, changedFields }) => [was!.photoId, changedFields])).toEqual([
      [photoId, [ContactField.PHOTO_ID]],
      ['', [ContactField.PHOTO_ID]],
    ]);
    const { contact: restored } = await client.restoreContactVersion({ contactId, version: versions[0]!.version });
    expect(restored!.photoId).toBe(photoId);
    expect((await client.syncContacts({ cursor: nextCursor })).contacts).toEqual([restored]);
  });

  test('are chosen where merged contacts have different ones, and come back when that is taken back', async () => {
    const { client, create, set, get } = await newBook();
    const [one, other, third] = [
      await create({ givenName: 'A' }),
      await create({ givenName: 'A' }),
      await create({ givenName: 'A' }),
    ];
    const [first, second] = [await set(one, FIRST), await set(other, SECOND)];
    const contacts = [first, second].map(({ id, etag }) => ({ contactId: id, etag }));
    expect(await refusalOf(client.mergeContacts({ contacts, keptContactId: one.id }))).toMatchObject({
      reason: 'MERGE_CHOICE_MISSING',
      metadata: { fields: 'photo_id' },
    });
    const choices = [{ field: ContactField.PHOTO_ID, contactId: other.id }];
    const { contact: merged } = await client.mergeContacts({ contacts, keptContactId: one.id, choices });
    expect(merged!.photoId).toBe(second.photoId);
    await client.unmergeContact({ contactId: one.id });
    expect([(await get(one.id)).photoId, (await get(other.id)).photoId]).toEqual([first.photoId, second.photoId]);
    // The one photo that there is stands.
    const { contact: only } = await client.mergeContacts({
      contacts: [await get(one.id), third].map(({ id, etag }) => ({ contactId: id, etag })),
      keptContactId: third.id,
    });
    expect(only!.photoId).toBe(first.photoId);
  });

  test('count in the bytes of their owner, once for contacts that share one, and are refused beyond the limit', async () => {
    const { create, set, bytes, get } = await newBook();
    const [one, other] = [await create({ givenName: 'A' }), await create({ givenName: 'B' })];
    const before = await bytes();
    await set(one, FIRST);
    const withOne = (await bytes()) - before;
    await set(other, FIRST);
    expect(withOne).toBeGreaterThan(1000);
    expect((await bytes()) - before - withOne).toBeLessThan(200);
    const last = await create({ givenName: 'C' });
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 40; i++) {
      const image = await toJpeg(noise(i));
      refused = await refusalOf(set(last, image)).catch(() => undefined);
    }
    expect(refused).toMatchObject({ reason: 'BUDGET_EXCEEDED', metadata: { budget: 'contact_bytes' } });
    expect(await bytes()).toBeLessThanOrEqual(1_048_576);
    expect((await get(last.id)).photoId).not.toBe('');
  });

  test('are removed when no contact has them and nothing can bring them back', async () => {
    const { client, create, set, isThere, photosStored, bytes } = await newBook();
    const [one, other] = [await create({ givenName: 'A' }), await create({ givenName: 'B' })];
    const empty = await bytes();
    const { photoId: shared } = await set(one, FIRST);
    await set(other, FIRST);
    const { photoId: replaced } = await set(await create({ givenName: 'C' }), SECOND);
    const third = (await client.listContacts({ query: 'C' })).contacts[0]!;
    await set(third, THIRD);
    await client.deleteContactPhoto({ contactId: one.id });
    await purgeIn(29);
    expect([await isThere(shared), await isThere(replaced)]).toEqual([true, true]);
    await client.restoreContactVersion({ contactId: third.id, version: 2 });
    await purgeIn(31);
    // What was restored over is gone; the others are those of contacts.
    expect([await isThere(shared), await isThere(replaced), await photosStored()]).toEqual([true, true, 2]);
    await client.deleteContact({ contactId: other.id });
    await client.deleteContact({ contactId: third.id });
    await purgeIn(31);
    expect([await isThere(shared), await isThere(replaced), await photosStored()]).toEqual([false, false, 0]);
    expect(await bytes()).toBeLessThan(empty);
    expect(await kith.database.faults()).toEqual([]);
  });

  test('of files are read, told of where they cannot be, and the same file changes nothing', async () => {
    const { client, get, photosStored } = await newBook();
    const base64 = FIRST.toString('base64');
    const folded = base64.replaceAll(/(.{60})/g, '$1\r\n ');
    const content = Buffer.from(
      [
        card('a', '2.1', `PHOTO;PNG;ENCODING=BASE64:\r\n ${folded}\r\n`),
        card('b', '3.0', `PHOTO;ENCODING=b;TYPE=PNG:${folded}`),
        card('c', '4.0', `PHOTO:data:image/png;base64,${base64}`),
        card('d', '4.0', `PHOTO:data:image/png;base64\\,${SECOND.toString('base64')}`),
        card('e', '4.0', 'PHOTO:https://example.org/e.jpg'),
        card('f', '3.0', 'PHOTO;ENCODING=b:R0lGODlhAQABAIAAAA=='),
      ].join(''),
    );
    const importing = { format: ContactFormat.VCARD_4, content };
    const previewed = await client.importContacts({ ...importing, preview: true });
    expect(await photosStored()).toBe(0);
    const { results, importId } = await client.importContacts(importing);
    expect(results.map(({ notes }) => notes)).toEqual(previewed.results.map(({ notes }) => notes));
    expect(results.flatMap(({ notes }) => notes.map(({ text }) => text))).toEqual([
      'PHOTO is left out: the photo is not in JPEG, PNG or WebP',
    ]);
    const contacts = await Promise.all(results.map(({ contactId }) => get(contactId)));
    const [a, b, c, d, e, f] = contacts.map(({ photoId }) => photoId);
    expect([b, c, e, f]).toEqual([a, a, '', '']);
    expect([a, d].map((id) => id?.length)).toEqual([43, 43]);
    expect(a).not.toBe(d);
    expect(contacts[4]!.vcardProperties).toEqual(['PHOTO:https://example.org/e.jpg']);
    const again = await client.importContacts(importing);
    expect(again.results.every(({ status }) => status === ContactImportStatus.SAME)).toBe(true);
    await client.undoContactImport({ importId });
    expect((await client.listContacts({})).contacts).toEqual([]);
  });

  test.each([
    ['3.0', ContactFormat.VCARD_3],
    ['4.0', ContactFormat.VCARD_4],
  ])('come out of an export to vCard %s and in again as they are', async (_, format) => {
    const { client, create, set } = await newBook();
    const made: Contact[] = [];
    for (const [i, image] of [FIRST, SECOND, THIRD].entries())
      made.push(await set(await create({ givenName: `N${i}` }), image));
    made.push(await create({ givenName: 'N4' }));
    const exported = async () => {
      const parts: Uint8Array[] = [];
      for await (const { data } of client.exportContacts({ format })) parts.push(data);
      return Buffer.concat(parts);
    };
    const content = await exported();
    expect(content.toString().split('PHOTO')).toHaveLength(4);
    expect(
      content
        .toString()
        .split('\r\n')
        .every((line) => line.length <= 75),
    ).toBe(true);
    const { results } = await client.importContacts({ format, content });
    expect(results.map(({ status }) => status)).toEqual(made.map(() => ContactImportStatus.SAME));
    for (const { id: contactId, photoId } of made) if (photoId !== '') await client.deleteContactPhoto({ contactId });
    await client.importContacts({ format, content });
    const { contacts } = await client.listContacts({});
    expect(contacts.map(({ photoId }) => photoId)).toEqual(made.map(({ photoId }) => photoId));
    expect(await exported()).toEqual(content);
  });
});

function card(uid: string, version: string, photo: string): string {
  return `BEGIN:VCARD\r\nVERSION:${version}\r\nUID:${uid}\r\nN:${uid};;;;\r\nFN:${uid}\r\n${photo}\r\nEND:VCARD\r\n`;
}

function noise(seed: number) {
  const pixels = quarters(400);
  let next = seed + 1;
  for (let i = 0; i < pixels.data.length; i++) {
    next = (next * 48_271) % 0x7fffffff;
    pixels.data[i] = i % 4 === 3 ? 255 : next & 0xff;
  }
  return pixels;
}
