import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * Keys derived from the one secret of an installation, one for each purpose
 * (HKDF-SHA256, RFC 5869), so that a value made for one cannot pass for another.
 */
export interface Keyring {
  /** HMAC-SHA256 of `data`, 32 bytes. */
  mac(purpose: MacPurpose, data: string | Uint8Array): Buffer;
  /**
   * Encrypts with AES-256-GCM under a random nonce; base64url of nonce, ciphertext
   * and tag. `owner` is authenticated along and not contained: what was sealed for
   * one does not open for another.
   */
  seal(purpose: SealPurpose, plaintext: string, owner?: string): string;
  /** What `seal` was given, or undefined when the value is not one that this secret sealed for this purpose and owner. */
  open(purpose: SealPurpose, sealed: string, owner?: string): string | undefined;
}

const MAC_PURPOSES = [
  'api-key',
  'cursor',
  'login-challenge',
  'page-token',
  'recovery-code',
  'refresh-token',
  'request-fingerprint',
  'throttle',
] as const;
const SEAL_PURPOSES = ['signing-key', 'totp-secret'] as const;

export type MacPurpose = (typeof MAC_PURPOSES)[number];
export type SealPurpose = (typeof SEAL_PURPOSES)[number];

export const SECRET_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Derives the keys. `secret` is 32 random bytes. */
export function createKeyring(secret: Uint8Array): Keyring {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', `kith ${purpose}`, 32));
  const macKeys = Object.fromEntries(MAC_PURPOSES.map((purpose) => [purpose, derive(purpose)])) as Record<
    MacPurpose,
    Buffer
  >;
  const sealKeys = Object.fromEntries(SEAL_PURPOSES.map((purpose) => [purpose, derive(purpose)])) as Record<
    SealPurpose,
    Buffer
  >;
  return {
    mac: (purpose, data) => createHmac('sha256', macKeys[purpose]).update(data).digest(),
    seal(purpose, plaintext, owner = '') {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealKeys[purpose], nonce).setAAD(Buffer.from(owner));
      return Buffer.concat([nonce, cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString(
        'base64url',
      );
    },
    open(purpose, sealed, owner = '') {
      const bytes = Buffer.from(sealed, 'base64url');
      if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', sealKeys[purpose], bytes.subarray(0, NONCE_BYTES));
      decipher.setAAD(Buffer.from(owner));
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
