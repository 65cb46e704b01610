import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { equalBytes, type Keyring } from '../../kernel/keyring.ts';
import { bytesOfUuid, UUID_BYTES, uuidAt } from '../../kernel/signed-token.ts';
import { apiKeyInvalid } from '../revocations/revocations.ts';

/** Tells an API key apart, for people and for scanners that look for leaked secrets. */
const PREFIX = 'kith_ak_';
const RANDOM_BYTES = 32;
const MAC_BYTES = 8;
const BYTES = UUID_BYTES + RANDOM_BYTES + MAC_BYTES;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BODY_DIGITS = 76; // 62^75 < 2^448 < 62^76
const CHECKSUM_DIGITS = 6; // 62^5 < 2^32 < 62^6
const LENGTH = PREFIX.length + BODY_DIGITS + CHECKSUM_DIGITS;
const HINT_LENGTH = 4;

/** Whether a bearer token claims to be an API key. */
export function isApiKey(bearerToken: string): boolean {
  return bearerToken.startsWith(PREFIX);
}

/**
 * The secret of a new API key, in base62: the key's id, 32 random bytes, the first
 * 8 bytes of an HMAC-SHA256 over both, and a CRC-32 of all that.
 *
 * The checksum lets anybody tell a leaked key from a text that looks like one. The
 * MAC lets this server tell a key it has made from one that somebody made up: that
 * one is refused without asking the database. What proves the key are the random bytes.
 */
export function writeApiKey(keyring: Keyring, id: string): string {
  const body = Buffer.concat([bytesOfUuid(id), randomBytes(RANDOM_BYTES)]);
  const number = BigInt(`0x${Buffer.concat([body, macOf(keyring, body)]).toString('hex')}`);
  return withChecksum(PREFIX + toBase62(number, BODY_DIGITS));
}

/** The id in an API key that this server has made, perhaps revoked since. Throws api_key_invalid for anything else. */
export function readApiKey(keyring: Keyring, secret: string): string {
  if (secret.length !== LENGTH || !isApiKey(secret)) throw apiKeyInvalid();
  if (withChecksum(secret.slice(0, -CHECKSUM_DIGITS)) !== secret) throw apiKeyInvalid();
  const hex = fromBase62(secret.slice(PREFIX.length, -CHECKSUM_DIGITS))
    ?.toString(16)
    .padStart(BYTES * 2, '0');
  if (hex?.length !== BYTES * 2) throw apiKeyInvalid();
  const bytes = Buffer.from(hex, 'hex');
  const body = bytes.subarray(0, -MAC_BYTES);
  if (!equalBytes(bytes.subarray(-MAC_BYTES), macOf(keyring, body))) throw apiKeyInvalid();
  return uuidAt(bytes);
}

/** What may be shown of a secret, to tell keys apart. */
export function hintOf(secret: string): string {
  return secret.slice(-HINT_LENGTH);
}

function macOf(keyring: Keyring, body: Uint8Array): Buffer {
  return keyring.mac('api-key', body).subarray(0, MAC_BYTES);
}

function withChecksum(text: string): string {
  return text + toBase62(BigInt(crc32(text)), CHECKSUM_DIGITS);
}

/** With leading zeros, so that a number has one spelling. */
function toBase62(number: bigint, digits: number): string {
  let text = '';
  for (let rest = number; text.length < digits; rest /= 62n) text = DIGITS.charAt(Number(rest % 62n)) + text;
  return text;
}

function fromBase62(text: string): bigint | undefined {
  let number = 0n;
  for (const char of text) {
    const digit = DIGITS.indexOf(char);
    if (digit === -1) return undefined;
    number = number * 62n + BigInt(digit);
  }
  return number;
}
