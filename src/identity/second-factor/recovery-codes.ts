import { randomBytes } from 'node:crypto';
import type { Keyring } from '../../kernel/keyring.ts';
import { compact } from '../../kernel/text.ts';

/** How many codes a user is given. */
const RECOVERY_CODES = 10;

/** Five bits each: 60 in all, too many to guess at a few attempts in five minutes. */
const CODE_LENGTH = 12;
const GROUP_LENGTH = 4;

/** Crockford's base32: no two of its characters look alike, and what looks like one is read as it. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LOOK_ALIKES: Readonly<Record<string, string>> = { o: '0', i: '1', l: '1' };

/** Different random codes, as they are shown: `1k7q-x0bd-m3ve`. */
export function createRecoveryCodes(): string[] {
  const codes = new Set<string>();
  while (codes.size < RECOVERY_CODES) {
    const characters = Array.from(randomBytes(CODE_LENGTH), (byte) => ALPHABET.charAt(byte & 31)).join('');
    codes.add(characters.replaceAll(new RegExp(`(.{${GROUP_LENGTH}})(?!$)`, 'g'), '$1-'));
  }
  return [...codes];
}

/**
 * What is stored of a user's code, base64url: one MAC for all spellings, of another
 * case, with other hyphens or blanks, with a letter in place of the digit it looks like.
 */
export function recoveryCodeMac(keyring: Keyring, userId: string, code: string): string {
  const canonical = compact(code)
    .toLowerCase()
    .replaceAll(/[oil]/g, (letter) => LOOK_ALIKES[letter] ?? letter);
  return keyring.mac('recovery-code', `${userId} ${canonical}`).toString('base64url');
}
