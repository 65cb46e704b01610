import type { Db } from '../../storage/database.ts';
import { identifierKey } from '../../kernel/text.ts';
import { writeNotice } from '../../mail/notices.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { selectUser, selectUserByIdentifier, type UserRow, updateUserRow } from './store.ts';
import { toUser, type User } from './user.ts';

/** A user with what sign-in needs beside the contract's fields. */
export interface Account {
  readonly user: User;
  /** Undefined for a user without a password, whom every password is wrong for. */
  readonly passwordHash: string | undefined;
  readonly sessionEpoch: number;
  /** Whether the user has to set a new password at the next sign-in. */
  readonly mustChangePassword: boolean;
}

/** The account with this username or email address. */
export async function findAccount(db: Db, identifier: string): Promise<Account | undefined> {
  const row = await selectUserByIdentifier(db, identifierKey(identifier));
  return row && toAccount(row);
}

export async function getAccount(db: Db, id: string): Promise<Account | undefined> {
  const row = await selectUser(db, id);
  return row && toAccount(row);
}

/** Stores the time of a sign-in. The etag stays, since the contract's User does not change. */
export async function recordSignIn(tx: Db, id: string, nowMs: number): Promise<void> {
  await updateUserRow(tx, id, { last_sign_in_ms: nowMs });
}

/** Replaces the hash of a password by a stronger hash of the same password. */
export async function strengthenHash(tx: Db, id: string, passwordHash: string): Promise<void> {
  await updateUserRow(tx, id, { password_hash: passwordHash });
}

/**
 * Sets a password and begins a new session epoch, so that sign-ins that began with the old password
 * fail. Tells the user by mail. Returns the epoch. The caller has to end the present sessions (endSessionsOf).
 */
export async function replacePassword(
  tx: Db,
  app: MailApp,
  account: Pick<Account, 'user' | 'sessionEpoch'>,
  passwordHash: string,
  { mustChange = false }: { readonly mustChange?: boolean } = {},
): Promise<number> {
  const sessionEpoch = account.sessionEpoch + 1;
  await updateUserRow(tx, account.user.id, {
    password_hash: passwordHash,
    must_change_password: mustChange ? 1 : 0,
    session_epoch: sessionEpoch,
  });
  await writeNotice(tx, app, account.user, 'password_changed', { timeMs: app.now() });
  return sessionEpoch;
}

function toAccount(row: UserRow): Account {
  return {
    user: toUser(row),
    passwordHash: row.password_hash || undefined,
    sessionEpoch: row.session_epoch,
    mustChangePassword: row.must_change_password === 1,
  };
}
