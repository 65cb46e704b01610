import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomFillSync,
  timingSafeEqual,
} from 'node:crypto';

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
  /**
   * A value that callers hold and send back, and that tells them nothing but its length:
   * base64url of a synthetic IV and of what is encrypted under it, `salt` and `value`
   * (Rogaway and Shrimpton's SIV as in RFC 5297, with HMAC-SHA-256, cut to 16 bytes, for
   * the IV and AES-256-CTR; unlike GCM with random nonces, any number of them is safe).
   * `scope` is authenticated along and not contained. The same three give the same token;
   * without a salt, a random one makes each token another.
   */
  writeToken(purpose: TokenPurpose, value: Uint8Array, scope?: string, salt?: Uint8Array): string;
  /** The value, or undefined when the token is not one that this secret wrote for this purpose and scope, to the letter. */
  readToken(purpose: TokenPurpose, token: string, scope?: string): Buffer | undefined;
}

const MAC_PURPOSES = [
  'api-key',
  'login-challenge',
  'mailed-code',
  'recovery-code',
  'refresh-token',
  'request-fingerprint',
  'throttle',
] as const;
const SEAL_PURPOSES = ['mail', 'signing-key', 'totp-secret'] as const;

const TOKEN_PURPOSES = ['cursor', 'page-token'] as const;

export type MacPurpose = (typeof MAC_PURPOSES)[number];
export type SealPurpose = (typeof SEAL_PURPOSES)[number];

export type TokenPurpose = (typeof TOKEN_PURPOSES)[number];

export const SECRET_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const IV_BYTES = 16;
/** Of a token. */
export const SALT_BYTES = 8;

/** How many random bytes are drawn at once. */
const RANDOM_BYTES = 2048;

/**
 * Gives out random bytes, each once. They are drawn many at a time, as Node does for UUIDs: a call for a few bytes takes
 * some 20 us. What was given out is not kept.
 */
function createRandom(): (bytes: number) => Buffer {
  const drawn = Buffer.alloc(RANDOM_BYTES);
  let next = drawn.length;
  return (bytes) => {
    if (next + bytes > drawn.length) {
      randomFillSync(drawn);
      next = 0;
    }
    const given = Buffer.from(drawn.subarray(next, next + bytes));
    drawn.fill(0, next, next + bytes);
    next += bytes;
    return given;
  };
}

/** Derives the keys. `secret` is 32 random bytes. */
export function createKeyring(secret: Uint8Array): Keyring {
  const random = createRandom();
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', `kith ${purpose}`, 32));
  const macKeys = Object.fromEntries(MAC_PURPOSES.map((purpose) => [purpose, derive(purpose)])) as Record<
    MacPurpose,
    Buffer
  >;
  const sealKeys = Object.fromEntries(SEAL_PURPOSES.map((purpose) => [purpose, derive(purpose)])) as Record<
    SealPurpose,
    Buffer
  >;
  const tokenKeys = Object.fromEntries(
    TOKEN_PURPOSES.map((purpose) => [
      purpose,
      { iv: createSecretKey(derive(`${purpose} iv`)), cipher: createSecretKey(derive(`${purpose} cipher`)) },
    ]),
  ) as Record<TokenPurpose, { readonly iv: KeyObject; readonly cipher: KeyObject }>;
  const ivOf = (purpose: TokenPurpose, scope: string, salted: Uint8Array) =>
    createHmac('sha256', tokenKeys[purpose].iv)
      .update(`${Buffer.byteLength(scope)} ${scope}`)
      .update(salted)
      .digest()
      .subarray(0, IV_BYTES);
  return {
    writeToken(purpose, value, scope = '', salt = random(SALT_BYTES)) {
      const salted = Buffer.concat([salt, value]);
      const iv = ivOf(purpose, scope, salted);
      const cipher = createCipheriv('aes-256-ctr', tokenKeys[purpose].cipher, iv);
      return Buffer.concat([iv, cipher.update(salted)]).toString('base64url');
    },
    readToken(purpose, token, scope = '') {
      const bytes = Buffer.from(token, 'base64url');
      // Decoding skips what is not base64url; only one spelling is what was given out.
      if (bytes.length < IV_BYTES + SALT_BYTES || bytes.toString('base64url') !== token) return undefined;
      const iv = bytes.subarray(0, IV_BYTES);
      const salted = createDecipheriv('aes-256-ctr', tokenKeys[purpose].cipher, iv).update(bytes.subarray(IV_BYTES));
      return equalBytes(iv, ivOf(purpose, scope, salted)) ? salted.subarray(SALT_BYTES) : undefined;
    },
    mac: (purpose, data) => createHmac('sha256', macKeys[purpose]).update(data).digest(),
    seal(purpose, plaintext, owner = '') {
      const nonce = random(NONCE_BYTES);
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
