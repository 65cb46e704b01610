import {
  type Caller,
  type Permission,
  permissionMissing,
  permissionsOfRole,
  requireNotAbove,
} from '../../kernel/access.ts';
import { type KithActivity, recordActivity } from '../../activity/log/log.ts';
import { type App, atOneTime } from '../../app.ts';
import type { Db } from '../../storage/database.ts';
import { Failure } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import { writeNotice } from '../../mail/notices.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { revokeSession } from '../revocations/revocations.ts';
import { requireSession, sessionEnded, type SessionsApp } from '../sessions/sessions.ts';
import type { AccessToken } from '../tokens/access-token.ts';
import { getAccount } from '../users/accounts.ts';
import type { User } from '../users/user.ts';
import { getUser } from '../users/users.ts';
import { hintOf, writeApiKey } from './api-key.ts';
import { digestOf } from './authenticate.ts';
import { type ApiKeyRow, countApiKeyRows, deleteApiKey, insertApiKey, permissionsOf, selectApiKeys } from './store.ts';

export interface ApiKeysApp extends SessionsApp, MailApp {}

/** The most keys that a user may have, expired ones included. */
const KEYS_MAX = 100;

/** An API key without its secret; times in milliseconds since 1970. */
export interface ApiKey extends NewApiKey {
  readonly id: string;
  readonly userId: string;
  readonly secretHint: string;
  readonly createMs: number;
  readonly lastUsedMs: number | null;
}

export interface NewApiKey {
  readonly name: string;
  readonly permissions: ReadonlySet<Permission>;
  /** Null for never. */
  readonly expireMs: number | null;
}

/**
 * Creates a key of the caller's, and returns its secret, which is shown only once.
 *
 * Checks session and role again in the transaction: a session that another instance has just
 * revoked must not create a key.
 *
 * Throws permission_missing, api_key_limit_reached, session_ended.
 */
export async function createApiKey(
  app: ApiKeysApp,
  caller: Caller,
  { name, permissions, expireMs }: NewApiKey,
): Promise<{ key: ApiKey; secret: string }> {
  const id = newId();
  const secret = writeApiKey(app.keyring, id);
  const row: ApiKeyRow = {
    id,
    user_id: caller.userId,
    name,
    secret_hash: digestOf(secret),
    secret_hint: hintOf(secret),
    permissions: JSON.stringify([...permissions]),
    create_ms: app.now(),
    expire_ms: expireMs,
    last_used_ms: null,
  };
  await app.database.transaction(async (tx) => {
    await requireSession(tx, app, caller.sessionId);
    const owner = await requirePermissions(tx, caller.userId, permissions);
    await requireBelowKeyLimit(tx, caller.userId);
    await insertApiKey(tx, row);
    const at = atOneTime(app, row.create_ms);
    await recordActivity(tx, at, keyActivity(caller, row, 'created'));
    await writeNotice(tx, at, owner, 'api_key_created', { timeMs: row.create_ms });
  }, caller.userId);
  return { key: toApiKey(row), secret };
}

/** The keys of a user, newest first, expired ones included. Throws user_not_found. */
export async function listApiKeys(app: App, userId: string): Promise<ApiKey[]> {
  const { id } = await getUser(app, userId);
  return (await selectApiKeys(app.database.db, id)).map(toApiKey);
}

/** Removes a key, which every instance then refuses. Throws api_key_not_found, permission_missing. */
export async function revokeApiKey(app: App, caller: Caller, userId: string, id: string): Promise<void> {
  const key = { user_id: userId, id };
  await app.database.transaction(async (tx) => {
    const owner = (await getAccount(tx, userId))?.user;
    if (owner !== undefined) requireNotAbove(caller, owner);
    if (!(await deleteApiKey(tx, key.user_id, key.id))) {
      throw new Failure('api_key_not_found', 'the user has no API key with this id');
    }
    await revokeSession(tx, app, { userId: key.user_id, sessionId: key.id });
    await recordActivity(tx, app, keyActivity(caller, key, 'revoked'));
  }, key.user_id);
}

/**
 * An access token for the API key of the call, with the key's present permissions. An access token
 * cannot be exchanged for another one, so that a stolen token is valid only for minutes.
 *
 * Throws api_key_required.
 */
export async function exchangeApiKey(app: SessionsApp, caller: Caller): Promise<AccessToken> {
  const { userId, sessionId, permissions, apiKey } = caller;
  if (apiKey === undefined) throw new Failure('api_key_required', 'send the API key itself as the bearer token');
  return app.accessTokens.signForApiKey({
    userId,
    apiKeyId: sessionId,
    role: apiKey.ownerRole,
    scope: permissions,
    notAfterMs: apiKey.expireMs ?? undefined,
  });
}

/** The user, whose role allows these. Throws permission_missing, session_ended. */
async function requirePermissions(tx: Db, userId: string, permissions: ReadonlySet<Permission>): Promise<User> {
  const account = await getAccount(tx, userId);
  if (account === undefined) throw sessionEnded();
  const [missing] = permissions.difference(permissionsOfRole(account.user.role));
  if (missing !== undefined) throw permissionMissing(missing);
  return account.user;
}

/** Throws api_key_limit_reached. */
async function requireBelowKeyLimit(tx: Db, userId: string): Promise<void> {
  if ((await countApiKeyRows(tx, userId)) < KEYS_MAX) return;
  throw new Failure('api_key_limit_reached', `a user has at most ${KEYS_MAX} API keys: revoke one first`, {
    limit: String(KEYS_MAX),
  });
}

function keyActivity(
  by: Caller,
  { id, user_id }: Pick<ApiKeyRow, 'id' | 'user_id'>,
  change: 'created' | 'revoked',
): KithActivity {
  return { userId: user_id, by, action: `kith.api_key.${change}`, attributes: { api_key_id: id } };
}

function toApiKey(row: ApiKeyRow): ApiKey {
  return {
    id: row.id,
    userId: row.user_id,
    name: row.name,
    secretHint: row.secret_hint,
    permissions: permissionsOf(row),
    createMs: row.create_ms,
    expireMs: row.expire_ms,
    lastUsedMs: row.last_used_ms,
  };
}
