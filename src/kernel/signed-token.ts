import { equalBytes, type Keyring, type MacPurpose } from './keyring.ts';

const MAC_BYTES = 32;

/** The layout of the tokens of one purpose. */
export interface TokenLayout {
  readonly purpose: MacPurpose;
  /** Tells a token apart, for people and for scanners that look for leaked secrets. */
  readonly prefix: string;
  /** How long the value is that a token holds, bytes. */
  readonly bytes: number;
}

/** Tokens that callers can read and not make: a prefix, and base64url of a value and an HMAC-SHA256 over it. */
export interface SignedTokens {
  /** The same value gives the same token. */
  write(keyring: Keyring, value: Buffer): string;
  /** The value of a token, or undefined for any text that `write` did not write with this secret, to the letter. */
  read(keyring: Keyring, token: string): Buffer | undefined;
}

export function signedTokens({ purpose, prefix, bytes }: TokenLayout): SignedTokens {
  return {
    write: (keyring, value) => prefix + Buffer.concat([value, keyring.mac(purpose, value)]).toString('base64url'),
    read(keyring, token) {
      const all = Buffer.from(token.slice(prefix.length), 'base64url');
      // Decoding skips what is not base64url; only one spelling is what was given out.
      if (token !== prefix + all.toString('base64url') || all.length !== bytes + MAC_BYTES) return undefined;
      const value = all.subarray(0, bytes);
      return equalBytes(all.subarray(bytes), keyring.mac(purpose, value)) ? value : undefined;
    },
  };
}

/** How long a UUID is in a token, bytes. */
export const UUID_BYTES = 16;

export function bytesOfUuid(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}

/** The UUID that begins at an offset. */
export function uuidAt(bytes: Buffer, offset = 0): string {
  return bytes
    .toString('hex', offset, offset + UUID_BYTES)
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
