import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { App } from '../../app.ts';
import { Failure } from '../../kernel/failure.ts';
import type { Keyring } from '../../kernel/keyring.ts';
import { identifierKey } from '../../kernel/text.ts';
import type { Db } from '../../storage/database.ts';
import type { Account } from '../users/accounts.ts';
import {
  deleteExpiredCodes,
  deleteMailedCodes,
  deleteOlderCodes,
  type MailedCodeRow,
  replaceMailedCode,
  useMailedCode,
} from './store.ts';

const MINUTE_MS = 60 * 1000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const DIGITS = 8;
const TOKEN_BYTES = 32;
const ID_BYTES = 16;

/** How long a code that is typed is good, milliseconds. */
const CODE_MS = 10 * MINUTE_MS;

/**
 * What a code is mailed for; it is good for nothing else. A code of eight digits is typed by somebody who waits for
 * it, and bound to the email address and the password that the user had when it was made: with another of either, it
 * is good no more. Of a purpose, so many are good at a time, the newest. A token of 256 bits with the user's id is for somebody who is not signed in and reads the mail days
 * later, whatever has been changed meanwhile.
 */
const PURPOSES = {
  /**
   * Bound to the client that asked, and to the session epoch, too. More than strangers can have mailed while one is good
   * (MAILS): whoever goes on asking makes no other client's code void.
   */
  login: { lifetimeMs: CODE_MS, newestMax: 8 },
  /** Whoever asks, all come to one mailbox, and a guess is right for any of them. */
  password_reset: { lifetimeMs: CODE_MS, newestMax: 3 },
  /** The user alone asks for these. */
  email_verification: { lifetimeMs: CODE_MS, newestMax: 1 },
  email_change: { lifetimeMs: CODE_MS, newestMax: 1 },
  email_take_back: { lifetimeMs: 7 * DAY_MS, newestMax: undefined },
} as const satisfies Record<string, { readonly lifetimeMs: number; readonly newestMax: number | undefined }>;
export type CodePurpose = keyof typeof PURPOSES;

/** A code, and when it expires, milliseconds since 1970. */
export interface MailedCode {
  readonly code: string;
  readonly expireMs: number;
}

/** Stands for a user who does not exist: no row has this id. */
export const NOBODY: Account = {
  user: { id: '00000000-0000-0000-0000-000000000000', email: '' } as Account['user'],
  passwordHash: '',
  sessionEpoch: 0,
  mustChangePassword: false,
};

/** A code of eight digits, good from now on. */
export function drawCode({ now }: Pick<App, 'now'>): MailedCode {
  return { code: String(randomInt(10 ** DIGITS)).padStart(DIGITS, '0'), expireMs: now() + CODE_MS };
}

/** The latest time at which a code of digits can expire, milliseconds since 1970: a later one comes of a clock that was ahead. */
export function latestExpiry(nowMs: number): number {
  return nowMs + CODE_MS;
}

/** What is stored of a code: a MAC of it and of what it is good for. */
export function macOfCode(keyring: Keyring, parts: readonly unknown[]): string {
  return keyring.mac('mailed-code', JSON.stringify(parts)).toString('base64url');
}

/** Why a code is refused, whatever the reason. */
export function mailedCodeInvalid(): Failure {
  return new Failure('mailed_code_invalid', 'the code is wrong, was used or has expired: ask for another one');
}

/**
 * Makes a code in the transaction that mails it, to `address`, good together with `clientToken` alone where there is
 * one. A code of digits makes those void that are too many of its purpose, the oldest; of tokens, each address has its
 * own.
 */
export async function createMailedCode(
  tx: Db,
  app: App,
  account: Account,
  purpose: CodePurpose,
  { address = account.user.email, clientToken = '' }: { readonly address?: string; readonly clientToken?: string } = {},
): Promise<MailedCode> {
  const { lifetimeMs, newestMax } = PURPOSES[purpose];
  const isToken = newestMax === undefined;
  const { code, expireMs } = isToken
    ? { code: newToken(account.user.id), expireMs: app.now() + lifetimeMs }
    : drawCode(app);
  if (!isToken) await deleteOlderCodes(tx, account.user.id, purpose, newestMax - 1, expireMs);
  await replaceMailedCode(tx, {
    user_id: account.user.id,
    purpose,
    address_key: isToken ? identifierKey(address) : randomUUID(),
    address,
    code_mac: macOf(app, account, purpose, code, clientToken),
    expire_ms: expireMs,
  });
  return { code, expireMs };
}

/** Uses a code up. Returns what was stored of it, with the address that it proves, or undefined if it is not good. */
export function takeMailedCode(
  tx: Db,
  app: App,
  account: Account,
  purpose: CodePurpose,
  code: string,
  clientToken = '',
): Promise<MailedCodeRow | undefined> {
  const code_mac = macOf(app, account, purpose, code, clientToken);
  const nowMs = app.now();
  // An expiry further away than a code lasts comes of a clock that was ahead.
  const latestMs = nowMs + PURPOSES[purpose].lifetimeMs;
  return useMailedCode(tx, { user_id: account.user.id, purpose, code_mac }, nowMs, latestMs);
}

/** Makes tokens void that were mailed with this one or after it: whoever took later addresses has no claim any more. */
export function voidLaterTokens(tx: Db, { user_id, purpose, expire_ms }: MailedCodeRow): Promise<void> {
  return deleteMailedCodes(tx, user_id, purpose, expire_ms);
}

export function purgeMailedCodes(app: App, limit: number): Promise<number> {
  return deleteExpiredCodes(app.database.db, app.now(), limit);
}

function newToken(userId: string): string {
  return Buffer.concat([Buffer.from(userId.replaceAll('-', ''), 'hex'), randomBytes(TOKEN_BYTES)]).toString(
    'base64url',
  );
}

/** The id of the user to whom a token was mailed, if it is one. */
export function userOfToken(token: string): string | undefined {
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.length !== ID_BYTES + TOKEN_BYTES || bytes.toString('base64url') !== token) return undefined;
  return bytes.toString('hex', 0, ID_BYTES).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function macOf(
  { keyring }: App,
  { user, passwordHash, sessionEpoch }: Account,
  purpose: CodePurpose,
  code: string,
  clientToken: string,
): string {
  const bound = [
    ...(PURPOSES[purpose].newestMax === undefined ? [] : [identifierKey(user.email), passwordHash]),
    ...(purpose === 'login' ? [clientToken, sessionEpoch] : []),
  ];
  return macOfCode(keyring, [purpose, user.id, ...bound, code]);
}
