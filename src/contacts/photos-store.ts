import { sql } from 'kysely';
import type { Db } from '../storage/database.ts';
import { TransactionConflict, UniqueViolation } from '../storage/dialect.ts';
import type { Schema } from '../storage/schema.ts';
import { addUsage } from './store.ts';
import type { MadePhoto, PhotoSize } from './photos/photo.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    contact_photos: ContactPhotoRow;
    contact_photo_images: PhotoImageTable;
  }
}

/** A photo of contacts of an owner: contacts with the same picture share it. */
export interface ContactPhotoRow {
  owner_id: string;
  /** SHA-256 of its large image. */
  id: string;
  /** SHA-256 of the picture that it was made of. */
  picture_hash: string;
  /** What it takes, in the usage of the owner. */
  bytes: number;
  create_ms: number;
  /** When it is to be looked for in contacts, and removed where none has it; null while one has it for all that is known. */
  check_ms: number | null;
}

interface PhotoImageTable {
  owner_id: string;
  photo_id: string;
  size: PhotoSize;
  /** JPEG, base64. */
  image: string;
}

/** Where the images of photos are. Something else than the database can take this place: an image is never changed. */
export interface PhotoImages {
  /** Writes the images of a new photo, before the transaction commits. */
  write(tx: Db, ownerId: string, photoId: string, photo: MadePhoto): Promise<void>;
  read(db: Db, ownerId: string, photoId: string, size: PhotoSize): Promise<Uint8Array | undefined>;
  /** Removes all images of photos, which may be read until the transaction has committed. */
  remove(tx: Db, ownerId: string, photoIds: readonly string[]): Promise<void>;
}

export const photoImages: PhotoImages = {
  async write(tx, ownerId, photoId, photo) {
    const rows = (['small', 'large'] as const).map((size) => ({
      owner_id: ownerId,
      photo_id: photoId,
      size,
      image: Buffer.from(photo[size]).toString('base64'),
    }));
    await tx.insertInto('contact_photo_images').values(rows).execute();
  },
  async read(db, ownerId, photoId, size) {
    const row = await db
      .selectFrom('contact_photo_images')
      .select('image')
      .where('owner_id', '=', ownerId)
      .where('photo_id', '=', photoId)
      .where('size', '=', size)
      .executeTakeFirst();
    return row && Buffer.from(row.image, 'base64');
  },
  async remove(tx, ownerId, photoIds) {
    await tx
      .deleteFrom('contact_photo_images')
      .where('owner_id', '=', ownerId)
      .where('photo_id', 'in', photoIds)
      .execute();
  },
};

/** Writes a photo, its images and what they take. Throws TransactionConflict if another transaction has done so meanwhile. */
export async function insertPhoto(tx: Db, row: ContactPhotoRow, photo: MadePhoto): Promise<void> {
  try {
    await tx.insertInto('contact_photos').values(row).execute();
  } catch (error) {
    throw error instanceof UniqueViolation
      ? new TransactionConflict('the photo was written meanwhile', { cause: error })
      : error;
  }
  await photoImages.write(tx, row.owner_id, row.id, photo);
  await addUsage(tx, row.owner_id, { contacts: 0, liveContacts: 0, bytes: row.bytes });
}

/** A photo of an owner by its id. */
export function selectPhoto(db: Db, ownerId: string, id: string): Promise<ContactPhotoRow | undefined> {
  return photosOf(db, ownerId).where('id', '=', id).executeTakeFirst();
}

/** The id of a photo of an owner, if it is still there; '' otherwise. */
export async function knownPhoto(db: Db, ownerId: string, id: string): Promise<string> {
  return id === '' ? '' : ((await selectPhoto(db, ownerId, id))?.id ?? '');
}

/** A photo of an owner that was made of a picture with this hash, or whose large image has it. */
export async function selectPhotoOf(db: Db, ownerId: string, hash: string): Promise<ContactPhotoRow | undefined> {
  return (
    (await selectPhoto(db, ownerId, hash)) ??
    (await photosOf(db, ownerId).where('picture_hash', '=', hash).orderBy('id').executeTakeFirst())
  );
}

/** Up to `limit` photos of an owner, by their ids after this one. */
export function selectPhotosAfter(db: Db, ownerId: string, id: string, limit: number): Promise<ContactPhotoRow[]> {
  return photosOf(db, ownerId).where('id', '>', id).orderBy('id').limit(limit).execute();
}

function photosOf(db: Db, ownerId: string) {
  return db.selectFrom('contact_photos').selectAll().where('owner_id', '=', ownerId);
}

/** Has a photo looked for from `checkMs` on, and not sooner if it was to be later. */
export async function checkPhotoAt(tx: Db, ownerId: string, id: string, checkMs: number): Promise<void> {
  await tx
    .updateTable('contact_photos')
    .set({ check_ms: checkMs })
    .where('owner_id', '=', ownerId)
    .where('id', '=', id)
    .where((eb) => eb.or([eb('check_ms', 'is', null), eb('check_ms', '<', checkMs)]))
    .execute();
}

/** The owner of the photo that is to be looked for first. */
export async function selectOwnerToCheck(db: Db, nowMs: number): Promise<string | undefined> {
  const row = await db
    .selectFrom('contact_photos')
    .select('owner_id')
    .where('check_ms', '<=', nowMs)
    .orderBy('check_ms')
    .limit(1)
    .executeTakeFirst();
  return row?.owner_id;
}

/** Up to `limit` photos of an owner that are to be looked for, each with whether a contact has it. */
export function selectToCheck(
  db: Db,
  ownerId: string,
  nowMs: number,
  limit: number,
): Promise<(ContactPhotoRow & { readonly used: number })[]> {
  return db
    .selectFrom('contact_photos')
    .selectAll()
    .select((eb) =>
      eb
        .selectFrom('contacts')
        .select((contacts) => contacts.fn.countAll<number>().as('used'))
        .whereRef('contacts.owner_id', '=', 'contact_photos.owner_id')
        .whereRef('contacts.photo_id', '=', 'contact_photos.id')
        .where('contacts.photo_id', '<>', sql<string>`''`) // the index has those alone
        .as('used'),
    )
    .$narrowType<{ used: number }>()
    .where('owner_id', '=', ownerId)
    .where('check_ms', '<=', nowMs)
    .limit(limit)
    .execute();
}

/** Has photos not looked for until a contact loses one. */
export async function keepPhotos(tx: Db, ownerId: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .updateTable('contact_photos')
    .set({ check_ms: null })
    .where('owner_id', '=', ownerId)
    .where('id', 'in', ids)
    .execute();
}

/** Removes photos, their images, and what they take from the usage. */
export async function deletePhotos(
  tx: Db,
  ownerId: string,
  photos: readonly Pick<Schema['contact_photos'], 'id' | 'bytes'>[],
): Promise<void> {
  if (photos.length === 0) return;
  const ids = photos.map(({ id }) => id);
  await photoImages.remove(tx, ownerId, ids);
  await tx.deleteFrom('contact_photos').where('owner_id', '=', ownerId).where('id', 'in', ids).execute();
  const bytes = photos.reduce((sum, photo) => sum + photo.bytes, 0);
  await addUsage(tx, ownerId, { contacts: 0, liveContacts: 0, bytes: -bytes });
}
