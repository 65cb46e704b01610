import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type Caller, type Permission, permissionsOfRole, type Role } from '../../kernel/access.ts';
import type { App } from '../../app.ts';
import { ageOf, type Moment, momentOf, sinceMs } from '../../kernel/clock.ts';
import { equalBytes } from '../../kernel/keyring.ts';
import type { Revocations } from '../revocations/revocations.ts';
import { apiKeyInvalid } from '../revocations/revocations.ts';
import { readApiKey } from './api-key.ts';
import { type ApiKeyState, permissionsOf, selectApiKey, updateLastUsed } from './store.ts';

/** How many keys are cached, at about 1 KB each. */
const KNOWN_MAX = 10_000;

/** The precision of the time of the last use, milliseconds. */
const LAST_USED_MS = 60_000;

export interface ApiKeyCallersApp extends App {
  readonly revocations: Revocations;
  readonly knownApiKeys: KnownApiKeys;
}

/** A cache of keys read from the database, by the digests of their secrets. */
export type KnownApiKeys = LRUCache<string, KnownApiKey>;

interface KnownApiKey {
  /** Undefined for a key that was revoked, or removed with its owner. */
  readonly state: KeyState | undefined;
  /** When the key was read. */
  readonly asked: Moment;
  /** When a use was last stored, milliseconds since 1970. */
  notedMs: number;
}

interface KeyState {
  readonly id: string;
  readonly userId: string;
  readonly permissions: ReadonlySet<Permission>;
  readonly expireMs: number | null;
  /** Null for an owner who may not sign in. */
  readonly role: Role | null;
}

export function createKnownApiKeys(): KnownApiKeys {
  return new LRUCache({ max: KNOWN_MAX });
}

/** SHA-256, base64url. The secret is random, so that nothing slower is needed. */
export function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/**
 * The caller of an API key, with the present permissions of the key and its owner. Neither a key
 * that was used recently nor a secret that was never issued costs a query, so that guessing
 * secrets causes no load.
 *
 * A cached key is used for as long as an access token is valid and, like a token, is checked
 * against the revocations, which are kept for at least that long.
 *
 * Throws api_key_invalid, server_unavailable.
 */
export async function authenticateApiKey(app: ApiKeyCallersApp, secret: string): Promise<Caller> {
  const known = await lookUp(app, secret);
  if (known.state === undefined) throw apiKeyInvalid();
  const caller = await callerOf(app, known.state);
  noteUse(app, caller.sessionId, known);
  return caller;
}

/** The caller with their present permissions, for a long call. Throws api_key_invalid, server_unavailable. */
export async function renewApiKeyCaller(app: ApiKeyCallersApp, caller: Caller): Promise<Caller> {
  const state = await selectApiKey(app.database.db, caller.sessionId);
  if (state === undefined) throw apiKeyInvalid();
  return callerOf(app, toKeyState(state));
}

/** The owner of the key with this secret if it is cached, whether or not it is still valid: identifies who pays for a call, not who may make it. */
export function recallApiKeyOwner({ knownApiKeys }: ApiKeyCallersApp, secret: string): string | undefined {
  return knownApiKeys.peek(digestOf(secret))?.state?.userId;
}

async function callerOf(app: ApiKeyCallersApp, key: KeyState): Promise<Caller> {
  const { id, userId, expireMs } = key;
  if (expireMs !== null && expireMs <= app.now()) throw apiKeyInvalid();
  const ownerRole = await app.revocations.currentRole({ ...key, sessionId: id, kind: 'api_key' });
  return {
    userId,
    sessionId: id,
    kind: 'api_key',
    permissions: key.permissions.intersection(permissionsOfRole(ownerRole)),
    signInMs: undefined,
    apiKey: { ownerRole, expireMs },
  };
}

async function lookUp(app: ApiKeyCallersApp, secret: string): Promise<KnownApiKey> {
  const digest = digestOf(secret);
  const asked = momentOf(app);
  const known = app.knownApiKeys.get(digest);
  // By the clock that says more: revocations are not kept for as long as a clock may have been set back.
  if (known !== undefined && sinceMs(known.asked, app) < app.accessTokenTtlMs) return known;
  const found = await selectApiKey(app.database.db, readApiKey(app.keyring, secret));
  const isIt = found !== undefined && equalBytes(Buffer.from(found.key.secret_hash), Buffer.from(digest));
  const fresh = {
    state: isIt ? toKeyState(found) : undefined,
    asked,
    notedMs: found?.key.last_used_ms ?? 0,
  };
  app.knownApiKeys.set(digest, fresh);
  return fresh;
}

function toKeyState({ key, ownerState, ownerRole }: ApiKeyState): KeyState {
  return {
    id: key.id,
    userId: key.user_id,
    permissions: permissionsOf(key),
    expireMs: key.expire_ms,
    role: ownerState === 'active' ? ownerRole : null,
  };
}

/** Stores the time of the use in the background: no call waits for that or fails because of it. */
function noteUse(app: ApiKeyCallersApp, id: string, known: KnownApiKey): void {
  const now = app.now();
  if (ageOf(known.notedMs, now) < LAST_USED_MS) return;
  known.notedMs = now;
  app.background.run(() => updateLastUsed(app.database.db, id, now, now - LAST_USED_MS));
}
