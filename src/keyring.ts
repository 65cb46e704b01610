import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * Keys derived from the one secret of an installation, one for each purpose
 * (HKDF-SHA256, RFC 5869), so that a value made for one cannot pass for another.
 */
export interface Keyring {
  /** HMAC-SHA256 of `data`, 32 bytes. */
  mac(purpose: MacPurpose, data: string | Uint8Array): Buffer;
  /** Encrypts with AES-256-GCM under a random nonce; base64url of nonce, ciphertext and tag. */
  seal(purpose: SealPurpose, plaintext: string): string;
  /** What `seal` was given, or undefined when the value is not one that this secret sealed for this purpose. */
  open(purpose: SealPurpose, sealed: string): string | undefined;
}

export type MacPurpose = 'cursor' | 'page-token' | 'refresh-token' | 'request-fingerprint';
export type SealPurpose = 'signing-key';

export const SECRET_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Derives the keys. `secret` is 32 random bytes. */
export function createKeyring(secret: Uint8Array): Keyring {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', `kith ${purpose}`, 32));
  const macKeys: Record<MacPurpose, Buffer> = {
    cursor: derive('cursor'),
    'page-token': derive('page-token'),
    'refresh-token': derive('refresh-token'),
    'request-fingerprint': derive('request-fingerprint'),
  };
  const sealKeys: Record<SealPurpose, Buffer> = { 'signing-key': derive('signing-key') };
  return {
    mac: (purpose, data) => createHmac('sha256', macKeys[purpose]).update(data).digest(),
    seal(purpose, plaintext) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealKeys[purpose], nonce);
      return Buffer.concat([nonce, cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString(
        'base64url',
      );
    },
    open(purpose, sealed) {
      const bytes = Buffer.from(sealed, 'base64url');
      if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', sealKeys[purpose], bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
      } catch {
        return undefined; // the tag does not fit: another secret, or not ours
      }
    },
  };
}

/** Compares in a time that depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
