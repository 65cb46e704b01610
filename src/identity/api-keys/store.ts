import { knownPermissions, type Permission, type Role } from '../../kernel/access.ts';
import { latestBelievable } from '../../kernel/clock.ts';
import type { Db } from '../../storage/database.ts';
import type { UserTable } from '../../storage/schema.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    api_keys: ApiKeyRow;
  }
}

export interface ApiKeyRow {
  id: string;
  user_id: string;
  name: string;
  /** SHA-256 of the secret, base64url: the secret is random, so nothing slower is needed. */
  secret_hash: string;
  secret_hint: string;
  /** JSON. */
  permissions: string;
  create_ms: number;
  expire_ms: number | null;
  last_used_ms: number | null;
}

/** What the key was created with. */
export function permissionsOf({ permissions }: ApiKeyRow): ReadonlySet<Permission> {
  return knownPermissions(JSON.parse(permissions) as string[]);
}

export async function insertApiKey(db: Db, row: ApiKeyRow): Promise<void> {
  await db.insertInto('api_keys').values(row).execute();
}

export async function countApiKeyRows(db: Db, userId: string): Promise<number> {
  const { count } = await db
    .selectFrom('api_keys')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .executeTakeFirstOrThrow();
  return count;
}

/** The keys of a user, newest first. */
export function selectApiKeys(db: Db, userId: string): Promise<ApiKeyRow[]> {
  return db.selectFrom('api_keys').selectAll().where('user_id', '=', userId).orderBy('id', 'desc').execute();
}

/** A key with its owner's role and state. */
export interface ApiKeyState {
  readonly key: ApiKeyRow;
  readonly ownerState: UserTable['state'];
  readonly ownerRole: Role;
}

export async function selectApiKey(db: Db, id: string): Promise<ApiKeyState | undefined> {
  const row = await db
    .selectFrom('api_keys')
    .innerJoin('users', 'users.id', 'api_keys.user_id')
    .selectAll('api_keys')
    .select(['users.state', 'users.role'])
    .where('api_keys.id', '=', id)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { state, role, ...key } = row;
  return { key, ownerState: state, ownerRole: role };
}

/** Removes a key of a user. Returns whether there was one. */
export async function deleteApiKey(db: Db, userId: string, id: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('api_keys')
    .where('user_id', '=', userId)
    .where('id', '=', id)
    .executeTakeFirst();
  return numDeletedRows === 1n;
}

/** Stores the time of a use, unless a time after `unlessAfterMs` and not in the future is stored. */
export async function updateLastUsed(db: Db, id: string, nowMs: number, unlessAfterMs: number): Promise<void> {
  await db
    .updateTable('api_keys')
    .set({ last_used_ms: nowMs })
    .where('id', '=', id)
    .where(({ eb, or }) =>
      or([
        eb('last_used_ms', 'is', null),
        eb('last_used_ms', '<=', unlessAfterMs),
        eb('last_used_ms', '>', latestBelievable(0, nowMs)),
      ]),
    )
    .execute();
}
