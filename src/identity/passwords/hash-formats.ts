import { pbkdf2 as pbkdf2WithCallback, scrypt as scryptWithCallback, timingSafeEqual } from 'node:crypto';
import type { ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import { verify as verifyArgon2 } from '@node-rs/argon2';
import { Failure } from '../../kernel/failure.ts';
import { verifyBcrypt } from './bcrypt.ts';

/** Says whether a password is the one hashed. Takes its time on another thread. */
export type VerifyPassword = (password: string) => Promise<boolean>;

const scrypt = promisify<string, Buffer, number, ScryptOptions, Buffer>(scryptWithCallback);
const pbkdf2 = promisify(pbkdf2WithCallback);

/**
 * Reads a hash in one of the formats that CreateUserRequest.password_hash names;
 * undefined when it is malformed or its parameters are out of bounds, in size or in work: what a hash
 * asks for is what every sign-in of its user costs the server. The bounds of
 * each format come to about one second of a core.
 */
export function readHash(text: string): VerifyPassword | undefined {
  return readArgon2(text) ?? readBcrypt(text) ?? readScrypt(text) ?? readPbkdf2(text);
}

/** A hash of another system as it is stored. Throws password_hash_unsupported. */
export function importHash(text: string): string {
  if (readHash(text) !== undefined) return text;
  throw new Failure(
    'password_hash_unsupported',
    'password_hash must be bcrypt, argon2i, argon2id, scrypt or PBKDF2 in the form and within the bounds of the contract',
  );
}

/** Without leading zeros, as the PHC string format asks, and no longer than any bound. */
const NUMBER = '[1-9]\\d{0,6}';
const BASE64 = '[A-Za-z0-9+/]+';

const SALT_BYTES_MAX = 64;
/** Less than 128 bits could be found by trying. */
const HASH_BYTES = { min: 16, max: 64 };

/** Version 1.3 alone (RFC 9106). */
const ARGON2 = new RegExp(
  `^\\$argon2id?\\$v=19\\$m=(${NUMBER}),t=(${NUMBER}),p=(${NUMBER})\\$(${BASE64})\\$(${BASE64})$`,
);
const ARGON2_KIB_MAX = 256 * 1024;
const ARGON2_PASSES_MAX = 10;
const ARGON2_PARALLELISM_MAX = 16;
const ARGON2_WORK_MAX = 1024 * 1024; // KiB over all passes
const ARGON2_SALT_BYTES_MIN = 8;

function readArgon2(text: string): VerifyPassword | undefined {
  const [, memory, passes, parallelism, salt, hash] = ARGON2.exec(text) ?? [];
  const [m, t, p] = [Number(memory), Number(passes), Number(parallelism)];
  if (bytesOf(salt, ARGON2_SALT_BYTES_MIN, SALT_BYTES_MAX) === undefined || hashOf(hash) === undefined)
    return undefined;
  if (m > ARGON2_KIB_MAX || t > ARGON2_PASSES_MAX || p > ARGON2_PARALLELISM_MAX) return undefined;
  if (m < 8 * p || m * t > ARGON2_WORK_MAX) return undefined;
  return (password) => verifyArgon2(text, password);
}

/**
 * `2x` marks the hashes of a crypt_blowfish that took signs for characters, `2` is older still: both
 * are refused.
 */
const BCRYPT = /^(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21})([./A-Za-z0-9])([./A-Za-z0-9]{30})([./A-Za-z0-9])$/;
const BCRYPT_ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** Of the last character of the salt 2 bits count, and of that of the hash 4. */
const BCRYPT_PADDING = { salt: 0b1111, hash: 0b11 };
const BCRYPT_COST = { min: 4, max: 14 };

function readBcrypt(text: string): VerifyPassword | undefined {
  const [, start = '', cost, saltEnd = '', hashStart = '', hashEnd = ''] = BCRYPT.exec(text) ?? [];
  if (cost === undefined || Number(cost) < BCRYPT_COST.min || Number(cost) > BCRYPT_COST.max) return undefined;
  // Some libraries left bits there that do not count, and compared without them (passlib has met such hashes).
  const salt = start + withoutPadding(saltEnd, BCRYPT_PADDING.salt);
  const canonical = salt + hashStart + withoutPadding(hashEnd, BCRYPT_PADDING.hash);
  return (password) => verifyBcrypt(password, canonical);
}

function withoutPadding(character: string, padding: number): string {
  return BCRYPT_ALPHABET.charAt(BCRYPT_ALPHABET.indexOf(character) & ~padding);
}

/** As passlib writes it. */
const SCRYPT = new RegExp(`^\\$scrypt\\$ln=(${NUMBER}),r=(${NUMBER}),p=(${NUMBER})\\$(${BASE64})\\$(${BASE64})$`);
const SCRYPT_LN_MAX = 20;
const SCRYPT_R_MAX = 32;
const SCRYPT_BLOCKS_MAX = 1024 * 1024; // N * r blocks of 128 bytes
const SCRYPT_WORK_MAX = 2 * SCRYPT_BLOCKS_MAX; // N * r * p

function readScrypt(text: string): VerifyPassword | undefined {
  const [, logN, blockSize, parallelism, encodedSalt, encodedHash] = SCRYPT.exec(text) ?? [];
  const [ln, r, p] = [Number(logN), Number(blockSize), Number(parallelism)];
  const salt = bytesOf(encodedSalt, 1, SALT_BYTES_MAX);
  const hash = hashOf(encodedHash);
  if (salt === undefined || hash === undefined || ln > SCRYPT_LN_MAX || r > SCRYPT_R_MAX) return undefined;
  const N = 2 ** ln;
  if (N * r > SCRYPT_BLOCKS_MAX || N * r * p > SCRYPT_WORK_MAX) return undefined;
  const maxmem = 128 * r * (N + p + 2); // what OpenSSL reckons with
  return async (password) => timingSafeEqual(await scrypt(password, salt, hash.length, { N, r, p, maxmem }), hash);
}

/** The iterations alone as passlib writes them, or `i=` and perhaps `l=` as PHC has it. */
const PBKDF2_ROUNDS = `(?:(?<rounds>${NUMBER})|i=(?<rounds>${NUMBER})(?:,l=(?<length>${NUMBER}))?)`;
/** passlib's base64 has "." for "+". */
const PBKDF2_BASE64 = '[A-Za-z0-9./+]+';
const PBKDF2 = new RegExp(
  `^\\$pbkdf2(?:-(?<digest>sha1|sha256|sha512))?\\$${PBKDF2_ROUNDS}\\$(?<salt>${PBKDF2_BASE64})\\$(?<hash>${PBKDF2_BASE64})$`,
);
const PBKDF2_ITERATIONS_MAX = 2_000_000;
const DIGEST_BYTES = { sha1: 20, sha256: 32, sha512: 64 };

function readPbkdf2(text: string): VerifyPassword | undefined {
  const { digest = 'sha1', rounds, length, ...encoded } = PBKDF2.exec(text)?.groups ?? {};
  const salt = bytesOf(encoded['salt']?.replaceAll('.', '+'), 1, SALT_BYTES_MAX);
  const hash = hashOf(encoded['hash']?.replaceAll('.', '+'));
  if (salt === undefined || hash === undefined || (length !== undefined && Number(length) !== hash.length)) {
    return undefined;
  }
  const iterations = Number(rounds);
  const blocks = Math.ceil(hash.length / DIGEST_BYTES[digest as keyof typeof DIGEST_BYTES]);
  if (iterations * blocks > PBKDF2_ITERATIONS_MAX) return undefined;
  return async (password) => timingSafeEqual(await pbkdf2(password, salt, iterations, hash.length, digest), hash);
}

function hashOf(base64: string | undefined): Buffer | undefined {
  return bytesOf(base64, HASH_BYTES.min, HASH_BYTES.max);
}

/** The bytes of base64 without padding (RFC 4648, 3.5: bits that do not count are zero), if there are as many as that. */
function bytesOf(base64: string | undefined, min: number, max: number): Buffer | undefined {
  if (base64 === undefined) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  const isCanonical = bytes.toString('base64').replace(/=+$/, '') === base64;
  return isCanonical && bytes.length >= min && bytes.length <= max ? bytes : undefined;
}
