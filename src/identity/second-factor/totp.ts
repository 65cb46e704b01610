import { createHmac, randomBytes } from 'node:crypto';
import { CLOCKS_DIFFER_MS } from '../../kernel/clock.ts';
import { equalBytes } from '../../kernel/keyring.ts';

/** What authenticator apps take for granted: most of them read no other values from a URI. */
const DIGITS = 6;
const STEP_MS = 30_000;

/** 160 bits, as RFC 4226, 4, R6 recommends. */
const SECRET_BYTES = 20;

/** How many steps before and after the present one are taken: for clocks that differ, and slow typists (RFC 6238, 5.2). */
const WINDOW_STEPS = 1;

/** A new secret. */
export function createTotpSecret(): Buffer {
  return randomBytes(SECRET_BYTES);
}

/** The time step of a moment in milliseconds since 1970 (RFC 6238, 4.2). */
export function stepAt(ms: number): number {
  return Math.floor(ms / STEP_MS);
}

/** The latest step of which a code can have been accepted until a moment, milliseconds since 1970, on any instance. */
export function latestStepAt(ms: number): number {
  return stepAt(ms + CLOCKS_DIFFER_MS) + WINDOW_STEPS;
}

/** The code of a counter (RFC 4226, 5.3: HMAC-SHA-1, dynamic truncation). With a time step it is the TOTP. */
export function hotp(secret: Uint8Array, counter: number): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac('sha1', secret).update(message).digest();
  const truncated = mac.readUInt32BE(mac.readUInt8(mac.length - 1) & 0xf) & 0x7fffffff;
  return String(truncated % 10 ** DIGITS).padStart(DIGITS, '0');
}

/**
 * The time step that a code is of, from one before the present to one after, or
 * undefined when it is of none of them. Of two with the same code the later one,
 * so that accepting it uses both up.
 */
export function matchingStep(secret: Uint8Array, code: string, nowMs: number): number | undefined {
  const given = Buffer.from(code);
  const present = stepAt(nowMs);
  let matching: number | undefined;
  for (let step = present - WINDOW_STEPS; step <= present + WINDOW_STEPS; step++) {
    if (equalBytes(Buffer.from(hotp(secret, step)), given)) matching = step;
  }
  return matching;
}

const BASE32_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** Base32 (RFC 4648, 6) without padding, which authenticator apps do not want. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32_ALPHABET.charAt((held >> (bits - 5)) & 31);
  }
  return bits === 0 ? text : text + BASE32_ALPHABET.charAt((held << (5 - bits)) & 31);
}

/**
 * What authenticator apps read from a QR code: the Key Uri Format of Google
 * Authenticator. A colon separates the issuer from the account, so neither holds one.
 */
export function otpauthUri(secret: Uint8Array, { issuer, account }: { issuer: string; account: string }): string {
  const part = (text: string) => encodeURIComponent(text.replaceAll(':', ''));
  const parameters = {
    secret: base32(secret),
    issuer: part(issuer),
    algorithm: 'SHA1',
    digits: DIGITS,
    period: STEP_MS / 1000,
  };
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  return `otpauth://totp/${part(issuer)}:${part(account)}?${query.join('&')}`;
}
