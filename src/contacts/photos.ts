import { createHash } from 'node:crypto';
import { callerPayer } from '../budget/payer.ts';
import type { App } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import { changeResource, readToChange } from '../resources/resource.ts';
import type { Db } from '../storage/database.ts';
import { type Page, type PageRequest, pageTokens, readBounded } from '../storage/pages.ts';
import { type Contact, toFields } from './contact.ts';
import { changeFields, contactResource, type ContactsApp, toShown } from './contacts.ts';
import type { MadePhoto, PhotoSize } from './photos/photo.ts';
import type { PhotoMaker } from './photos/photo-maker.ts';
import {
  type ContactPhotoRow,
  deletePhotos,
  insertPhoto,
  keepPhotos,
  photoImages,
  selectOwnerToCheck,
  selectPhoto,
  selectPhotoOf,
  selectPhotosAfter,
  selectToCheck,
} from './photos-store.ts';

export interface PhotosApp extends ContactsApp {
  readonly photoMaker: PhotoMaker;
}

/** Approximate overhead in a database of a photo with its images, bytes. */
const BYTES_PER_PHOTO = 600;

/** A photo that is to be given to contacts. */
export interface PreparedPhoto {
  readonly id: string;
  readonly pictureHash: string;
  /** Undefined where the caller has the photo already. */
  readonly made: MadePhoto | undefined;
}

/**
 * Makes a photo of a picture, or finds the one that was made of it: the same picture again is not read again, and what
 * an export has of a photo is that photo. Throws photo_unreadable, photo_too_large, budget_exceeded, server_busy.
 */
export async function preparePhoto(
  app: PhotosApp,
  caller: Caller,
  picture: Uint8Array,
  signal?: AbortSignal,
): Promise<PreparedPhoto> {
  const pictureHash = hashOf(picture);
  const known = await selectPhotoOf(app.database.db, caller.userId, pictureHash);
  if (known !== undefined) return { id: known.id, pictureHash, made: undefined };
  const made = await app.photoMaker.make(picture, callerPayer(caller), signal);
  return { id: hashOf(made.large), pictureHash, made };
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

/** What it takes to write a prepared photo: nothing of one that is there. */
export function bytesOfPhoto({ made }: PreparedPhoto): number {
  if (made === undefined) return 0;
  const base64 = ({ length }: Uint8Array) => Math.ceil(length / 3) * 4;
  return BYTES_PER_PHOTO + base64(made.large) + base64(made.small);
}

/**
 * Writes a prepared photo in the transaction that gives it to a contact. Throws photo_not_found for one that was there
 * when it was prepared, and is not any more.
 */
export async function writePhoto(tx: Db, at: App, ownerId: string, photo: PreparedPhoto): Promise<void> {
  if ((await selectPhoto(tx, ownerId, photo.id)) !== undefined) return;
  if (photo.made === undefined) throw photoNotFound();
  const row: ContactPhotoRow = {
    owner_id: ownerId,
    id: photo.id,
    picture_hash: photo.pictureHash,
    bytes: bytesOfPhoto(photo),
    create_ms: at.now(),
    // Until then it is kept whatever becomes of the contact, as every photo that a contact has lost.
    check_ms: at.now() + at.purgeAfterMs,
  };
  await insertPhoto(tx, row, photo.made);
}

/** Which contact to give a photo, and which. */
export interface PhotoChange {
  readonly contactId: string;
  readonly etag: string | undefined;
  readonly image: Uint8Array;
}

/**
 * Gives a contact of the caller's a photo.
 *
 * Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch, photo_unreadable, photo_too_large,
 * budget_exceeded, server_busy.
 */
export async function setPhoto(
  app: PhotosApp,
  caller: Caller,
  { contactId, etag, image }: PhotoChange,
  signal?: AbortSignal,
): Promise<Contact> {
  const resource = contactResource(app, caller, contactId);
  // Before it is read: a picture for nothing takes as long as one for a contact.
  await readToChange(app, app.database.db, resource, etag);
  const photo = await preparePhoto(app, caller, image, signal);
  const row = await changeResource(app, 'update', resource, etag, async ({ tx, at, row: present }) => {
    if (present.photo_id === photo.id) return undefined;
    const change = await changeFields(
      tx,
      at,
      present,
      { ...toFields(present), photoId: photo.id },
      bytesOfPhoto(photo),
    );
    await writePhoto(tx, at, caller.userId, photo);
    return change;
  });
  return toShown(app.database.db, row);
}

/** Takes the photo from a contact of the caller's. Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch. */
export async function deletePhoto(
  app: ContactsApp,
  caller: Caller,
  contactId: string,
  etag: string | undefined,
): Promise<Contact> {
  const resource = contactResource(app, caller, contactId);
  const row = await changeResource(app, 'update', resource, etag, ({ tx, at, row: present }) =>
    changeFields(tx, at, present, { ...toFields(present), photoId: '' }),
  );
  return toShown(app.database.db, row);
}

/** An image of a photo of the caller's. Throws photo_not_found. */
export async function getPhoto(app: App, { userId }: Caller, photoId: string, size: PhotoSize): Promise<Uint8Array> {
  const image = await photoImages.read(app.database.db, userId, photoId, size);
  if (image === undefined) throw photoNotFound();
  return image;
}

/** The large image of a contact's photo; undefined without one. */
export async function readPhoto(
  app: Pick<App, 'database'>,
  { userId }: Caller,
  { photoId }: Pick<Contact, 'photoId'>,
): Promise<Uint8Array | undefined> {
  return photoId === '' ? undefined : photoImages.read(app.database.db, userId, photoId, 'large');
}

function photoNotFound(): Failure {
  return new Failure('photo_not_found', 'none of your photos has this id: get the contact again');
}

/** A photo as exports of all that is kept of a user have it. */
export interface ExportedPhoto {
  readonly id: string;
  readonly image: Uint8Array;
}

/** How many photos a page of them has: some 40 kB each. */
const PAGE_PHOTOS = 10;

/** A page of the caller's photos in their large size. Throws page_token_invalid. */
export async function listPhotos(app: App, { userId }: Caller, request: PageRequest): Promise<Page<ExportedPhoto>> {
  const { db } = app.database;
  const tokens = pageTokens<[id: string]>(app.keyring, 'photos', userId);
  const [begin = ''] = tokens.read(request.pageToken) ?? [];
  const { rows, last } = await readBounded<ContactPhotoRow>(PAGE_PHOTOS, (row, limit) =>
    selectPhotosAfter(db, userId, row?.id ?? begin, limit),
  );
  const items: ExportedPhoto[] = [];
  for (const { id } of rows) {
    const image = await photoImages.read(db, userId, id, 'large');
    if (image !== undefined) items.push({ id, image });
  }
  return { items, nextPageToken: tokens.write(last && [last.id]), total: undefined };
}

/**
 * Removes photos that no contact has any more and that no earlier version, merge or import can bring back: of up to `limit`
 * that may be such. Returns how many it looked at.
 */
export async function purgePhotos({ database, now }: App, limit: number): Promise<number> {
  const ownerId = await selectOwnerToCheck(database.db, now());
  if (ownerId === undefined) return 0;
  return database.transaction(async (tx) => {
    const photos = await selectToCheck(tx, ownerId, now(), limit);
    const unused = photos.filter(({ used }) => used === 0);
    await deletePhotos(tx, ownerId, unused);
    await keepPhotos(
      tx,
      ownerId,
      photos.filter(({ used }) => used > 0).map(({ id }) => id),
    );
    return photos.length;
  }, ownerId);
}

/** Removes up to `limit` photos of a user who is about to be purged. Returns how many were removed. */
export function purgePhotosOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const some = await selectPhotosAfter(tx, ownerId, '', limit);
    await deletePhotos(tx, ownerId, some);
    return some.length;
  }, ownerId);
}
