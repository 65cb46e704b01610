import type { Db } from '../../storage/database.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    signing_keys: SigningKeyRow;
  }
}

export interface SigningKeyRow {
  /** JWK thumbprint (RFC 7638). */
  kid: string;
  /** JWK, JSON. */
  public_key: string;
  /** JWK, JSON, sealed by the keyring. */
  private_key_sealed: string;
  create_ms: number;
  /** When it begins to sign. */
  activate_ms: number;
}

/** All keys, newest first. */
export function selectSigningKeys(db: Db): Promise<SigningKeyRow[]> {
  return db
    .selectFrom('signing_keys')
    .selectAll()
    .orderBy('activate_ms', 'desc')
    .orderBy('create_ms', 'desc')
    .orderBy('kid')
    .execute();
}

export async function insertSigningKey(db: Db, row: SigningKeyRow): Promise<SigningKeyRow> {
  await db.insertInto('signing_keys').values(row).execute();
  return row;
}

/** Lets the keys that would begin to sign after a time begin then. */
export async function activateUntil(db: Db, latestMs: number): Promise<void> {
  await db.updateTable('signing_keys').set({ activate_ms: latestMs }).where('activate_ms', '>', latestMs).execute();
}

/** Forgets private keys; what they signed can be verified as before. */
export async function erasePrivateKeys(db: Db, kids: readonly string[]): Promise<void> {
  await db.updateTable('signing_keys').set({ private_key_sealed: '' }).where('kid', 'in', kids).execute();
}

export async function deleteSigningKeys(db: Db, kids: readonly string[]): Promise<void> {
  await db.deleteFrom('signing_keys').where('kid', 'in', kids).execute();
}

export async function deleteAllSigningKeys(db: Db): Promise<void> {
  await db.deleteFrom('signing_keys').execute();
}
