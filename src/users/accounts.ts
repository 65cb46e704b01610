import type { Db } from '../db/database.ts';
import { identifierKey } from '../text.ts';
import { selectUser, selectUserByIdentifier, type UserRow, updateUserRow } from './store.ts';
import { toUser, type User } from './user.ts';

/** What signing in needs to know of a user, for auth alone. */
export interface Account {
  readonly user: User;
  readonly passwordHash: string;
  readonly sessionEpoch: number;
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

/** Notes a sign-in and, when there is one, a stronger hash of the same password. The etag stays: no user of the contract changes. */
export async function recordSignIn(tx: Db, id: string, nowMs: number, passwordHash: string | undefined): Promise<void> {
  await updateUserRow(tx, id, {
    last_sign_in_ms: nowMs,
    ...(passwordHash === undefined ? {} : { password_hash: passwordHash }),
  });
}

/** Sets a password and ends every session but those that are given the new epoch, which is returned. */
export async function replacePassword(tx: Db, account: Account, passwordHash: string): Promise<number> {
  const sessionEpoch = account.sessionEpoch + 1;
  await updateUserRow(tx, account.user.id, { password_hash: passwordHash, session_epoch: sessionEpoch });
  return sessionEpoch;
}

function toAccount(row: UserRow): Account {
  return { user: toUser(row), passwordHash: row.password_hash, sessionEpoch: row.session_epoch };
}
