import { randomInt } from 'node:crypto';
import type { App } from '../../app.ts';
import { Failure } from '../../kernel/failure.ts';
import type { Keyring } from '../../kernel/keyring.ts';
import { identifierKey } from '../../kernel/text.ts';
import type { Db } from '../../storage/database.ts';
import type { Account } from '../users/accounts.ts';
import { deleteExpiredCodes, replaceMailedCode, useMailedCode } from './store.ts';

/** What a code was mailed for: it is good for nothing else. */
export type CodePurpose = 'password_reset';

/** How long a code is good, milliseconds. */
const CODE_MS = 10 * 60 * 1000;

const DIGITS = 8;

/** A code, and when it expires, milliseconds since 1970. */
export interface MailedCode {
  readonly code: string;
  readonly expireMs: number;
}

/** A code of eight digits, good from now on. */
export function drawCode({ now }: Pick<App, 'now'>): MailedCode {
  return { code: String(randomInt(10 ** DIGITS)).padStart(DIGITS, '0'), expireMs: now() + CODE_MS };
}

/** The latest time at which a code can expire, milliseconds since 1970: a later one comes of a clock that was ahead. */
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

/** Makes a code of eight digits for a user in place of the one before of the same purpose, in the transaction that mails it. */
export async function createMailedCode(tx: Db, app: App, account: Account, purpose: CodePurpose): Promise<MailedCode> {
  const { code, expireMs } = drawCode(app);
  await replaceMailedCode(tx, {
    user_id: account.user.id,
    purpose,
    code_mac: macOf(app, account, purpose, code),
    expire_ms: expireMs,
  });
  return { code, expireMs };
}

/** Uses a code up; whether it was good. */
export function takeMailedCode(
  tx: Db,
  app: App,
  account: Account,
  purpose: CodePurpose,
  code: string,
): Promise<boolean> {
  const code_mac = macOf(app, account, purpose, code);
  const nowMs = app.now();
  return useMailedCode(tx, { user_id: account.user.id, purpose, code_mac }, nowMs, latestExpiry(nowMs));
}

export function purgeMailedCodes(app: App, limit: number): Promise<number> {
  return deleteExpiredCodes(app.database.db, app.now(), limit);
}

/** With the address and the password of the user: with another of either, a code is good no more. */
function macOf({ keyring }: App, { user, passwordHash }: Account, purpose: CodePurpose, code: string): string {
  return macOfCode(keyring, [purpose, user.id, identifierKey(user.email), passwordHash, code]);
}
