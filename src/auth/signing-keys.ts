import { calculateJwkThumbprint, type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import type { Database, Db } from '../db/database.ts';
import type { Keyring } from '../keyring.ts';
import { SecretKeyError } from '../secret-key.ts';
import { insertSigningKey, selectSigningKeys, type SigningKeyRow } from './store.ts';

/** The only algorithm tokens are signed with (RFC 7518, ECDSA on P-256 with SHA-256). */
export const ALGORITHM = 'ES256';

export interface SigningKeys {
  /** The key that signs. */
  readonly current: { readonly kid: string; readonly privateKey: CryptoKey };
  /** The key with this id, if there is one. */
  publicKey(kid: string): CryptoKey | undefined;
  /** The public keys as a JWK set (RFC 7517), for everybody. */
  readonly jwks: { readonly keys: readonly JWK[] };
}

/** Loads the signing keys, and makes the first one. Throws SecretKeyError when the secret is not the one they were sealed with. */
export async function loadSigningKeys(database: Database, keyring: Keyring, nowMs: number): Promise<SigningKeys> {
  const rows = await ensureKey(database, keyring, nowMs);
  const publicKeys = new Map<string, CryptoKey>();
  const jwks: JWK[] = [];
  for (const row of rows) {
    const jwk = JSON.parse(row.public_key) as JWK;
    jwks.push(jwk);
    publicKeys.set(row.kid, await importKey(jwk));
  }
  const newest = rows[0];
  if (newest === undefined) throw new Error('a signing key was just made');
  const privateKey = keyring.open('signing-key', newest.private_key_sealed);
  if (privateKey === undefined) {
    throw new SecretKeyError(
      'the secret key is not the one that the database was made with: restore the key file or KITH_SECRET_KEY',
    );
  }
  return {
    current: { kid: newest.kid, privateKey: await importKey(JSON.parse(privateKey) as JWK) },
    publicKey: (kid) => publicKeys.get(kid),
    jwks: { keys: jwks },
  };
}

export async function hasSigningKeys(db: Db): Promise<boolean> {
  return (await selectSigningKeys(db)).length > 0;
}

async function ensureKey({ db, transaction }: Database, keyring: Keyring, nowMs: number): Promise<SigningKeyRow[]> {
  const rows = await selectSigningKeys(db);
  if (rows.length > 0) return rows;
  const first = await makeKey(keyring, nowMs);
  return transaction(async (tx: Db) => {
    const others = await selectSigningKeys(tx);
    if (others.length > 0) return others;
    await insertSigningKey(tx, first);
    return [first];
  });
}

async function makeKey(keyring: Keyring, nowMs: number): Promise<SigningKeyRow> {
  const pair = await generateKeyPair(ALGORITHM, { extractable: true });
  const publicJwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  return {
    kid,
    public_key: JSON.stringify({ ...publicJwk, kid, alg: ALGORITHM, use: 'sig' }),
    private_key_sealed: keyring.seal('signing-key', JSON.stringify(await exportJWK(pair.privateKey))),
    create_ms: nowMs,
  };
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, ALGORITHM);
  if (key instanceof Uint8Array) throw new TypeError('an EC key is expected');
  return key;
}
