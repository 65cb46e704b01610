import { hash, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  AccessTokenError,
  accessTokenHeader,
  isCurrent,
  readAccessToken,
  type TokenClaims,
} from '../../../packages/verify/src/access-token.ts';
import { type Caller, knownPermissions, type Permission, type Role, type SignInMethod } from '../../kernel/access.ts';
import type { Clock } from '../../kernel/clock.ts';
import { Failure } from '../../kernel/failure.ts';

/** How many verified tokens are remembered, at about 400 bytes each. */
const VERIFIED_MAX = 20_000;

export interface AccessTokenOptions extends Pick<Clock, 'now'> {
  /** `iss`: the address of this installation. */
  readonly issuer: string;
  /** `aud`. */
  readonly audience: string;
  /** At most ACCESS_TOKEN_TTL_MAX_MS of the reader: none is good for longer. */
  readonly ttlMs: number;
}

/** The keys of this installation. Ids are JWK thumbprints (RFC 7638). */
export interface AccessTokenKeys {
  /** The key that signs at present. */
  signer(): { readonly kid: string; readonly privateKey: KeyObject };
  /** Whether a key is known and was not removed. */
  has(kid: string): boolean;
  /** The public key with this id, or undefined. Throws server_unavailable when that cannot be found out. */
  find(kid: string): Promise<KeyObject | undefined>;
}

/** What an access token says. */
export interface AccessTokenClaims {
  readonly userId: string;
  /** `sid`: what can be ended, the session or the API key. */
  readonly sessionId: string;
  readonly kind: Caller['kind'];
  /** The role when the token was signed. */
  readonly role: Role;
  /** What the API key was created with; undefined for a session, which may what the role may. */
  readonly scope: ReadonlySet<Permission> | undefined;
  /** When the user proved who they are, milliseconds since 1970; undefined for an API key. */
  readonly signInMs: number | undefined;
  /** Milliseconds since 1970, a whole second. */
  readonly expireMs: number;
}

/** For whom to sign: a session. */
export interface SessionGrant {
  readonly userId: string;
  readonly sessionId: string;
  readonly role: Role;
  readonly methods: readonly SignInMethod[];
  readonly signInMs: number;
  /** When the session ends: the token does not outlive it. */
  readonly notAfterMs: number;
}

/** For whom to sign: an API key that was exchanged. */
export interface ApiKeyGrant {
  /** The owner. */
  readonly userId: string;
  readonly apiKeyId: string;
  /** The owner's. */
  readonly role: Role;
  readonly scope: ReadonlySet<Permission>;
  /** When the key expires, if it does: the token does not outlive it. */
  readonly notAfterMs: number | undefined;
}

export interface AccessToken {
  readonly token: string;
  /** Milliseconds since 1970, a whole second. */
  readonly expireMs: number;
  /** How long the token is good from when it was signed on, milliseconds, rounded down to whole seconds. */
  readonly lifetimeMs: number;
}

/** Signs and verifies access tokens (RFC 9068). */
export interface AccessTokens {
  sign(grant: SessionGrant): Promise<AccessToken>;
  signForApiKey(grant: ApiKeyGrant): Promise<AccessToken>;
  /**
   * Rejects with access_token_invalid and access_token_expired, and server_unavailable
   * when the key of the token is unknown and the database cannot be asked for it.
   * Whether the session or API key still lives is not looked at. No promise for a token
   * that was verified before: there is nothing to wait for.
   */
  verify(token: string): AccessTokenClaims | Promise<AccessTokenClaims>;
  /** What a token says that was verified before and is remembered, whether or not it is still good: for who waits, and not for who may. */
  recall(token: string): AccessTokenClaims | undefined;
}

interface Verified extends Pick<TokenClaims, 'issueMs' | 'expireMs'> {
  readonly claims: AccessTokenClaims;
  readonly kid: string;
}

/** Only what this installation signs is accepted, and nothing is ever fetched: see readAccessToken. */
export function createAccessTokens(keys: AccessTokenKeys, options: AccessTokenOptions): AccessTokens {
  const { issuer, audience, ttlMs, now } = options;
  const verified = new LRUCache<string, Verified>({ max: VERIFIED_MAX });

  const digestOf = createDigests();
  const reader = { issuer, audience, findKey: (kid: string) => keys.find(kid), isSigned, now };

  async function verifyNew(token: string, digest: string): Promise<AccessTokenClaims> {
    const { claims, kid } = await readAccessToken(token, reader).catch(refuse);
    const fresh = { claims: toClaims(claims), kid, issueMs: claims.issueMs, expireMs: claims.expireMs };
    verified.set(digest, fresh);
    return fresh.claims;
  }

  function write(claims: object, userId: string, notAfterMs = Infinity): AccessToken {
    const { kid, privateKey } = keys.signer();
    const signMs = now();
    const iat = seconds(signMs);
    const exp = Math.min(iat + seconds(ttlMs), seconds(notAfterMs));
    const payload = { ...claims, iss: issuer, aud: audience, sub: userId, jti: randomUUID(), iat, exp };
    const signed = `${encode(accessTokenHeader(kid))}.${encode(payload)}`;
    const token = `${signed}.${sign(HASH, Buffer.from(signed), ecdsaOf(privateKey)).toString('base64url')}`;
    return { token, expireMs: exp * 1000, lifetimeMs: Math.max(0, seconds(exp * 1000 - signMs) * 1000) };
  }

  return {
    sign: async ({ userId, sessionId, role, methods, signInMs, notAfterMs }) =>
      write({ sid: sessionId, roles: [role], auth_time: seconds(signInMs), amr: amrOf(methods) }, userId, notAfterMs),
    signForApiKey: async ({ userId, apiKeyId, role, scope, notAfterMs }) =>
      write({ sid: apiKeyId, roles: [role], scope: [...scope].join(' '), client_id: apiKeyId }, userId, notAfterMs),

    verify(token) {
      // Verifying costs some 100 us: a token is verified once. Its digest is what is remembered: who reads
      // the memory of the process must not find the tokens of all who are signed in.
      const digest = digestOf(token);
      const known = verified.get(digest);
      if (known !== undefined && isCurrent(known, now()) && keys.has(known.kid)) return known.claims;
      verified.delete(digest);
      return verifyNew(token, digest);
    },

    recall: (token) => verified.peek(digestOf(token))?.claims,
  };
}

const HASH = 'sha256';

/** A key for ES256: signatures are r and s as they are (RFC 7518, 3.4), not in DER. */
function ecdsaOf(key: KeyObject) {
  return { key, dsaEncoding: 'ieee-p1363' } as const;
}

/**
 * In this thread: it takes some 70 us, a third less than WebCrypto does, whose work would wait for the threads that hash
 * passwords.
 */
function isSigned(key: KeyObject, signature: Uint8Array, bytes: Uint8Array): boolean {
  return verify(HASH, bytes, ecdsaOf(key), signature);
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

/** How long the digests of tokens are kept beside the tokens, milliseconds: as long as a call and those beside it take. */
const DIGESTS_MS = 20;
const DIGESTS_MAX = 512;

/**
 * The SHA-256 of a token. A call asks twice, for whom it waits and whether it may, and a busy caller asks again at once:
 * digests are kept with their tokens for the moment in which the calls hold the tokens as well.
 */
function createDigests(): (token: string) => string {
  const digests = new Map<string, string>();
  const forget = (): void => digests.clear();
  return (token) => {
    const known = digests.get(token);
    if (known !== undefined) return known;
    const digest = hash('sha256', token, 'base64');
    if (digests.size === 0) setTimeout(forget, DIGESTS_MS).unref();
    if (digests.size < DIGESTS_MAX) digests.set(token, digest);
    return digest;
  };
}

/**
 * The claim amr (RFC 8176), which has no word for a recovery code but that more than one factor was used, and none for a
 * code by mail: that is "email", and no factor (NIST SP 800-63B-4, 3.1.3.1), so that nothing is "mfa" with it.
 */
function amrOf(methods: readonly SignInMethod[]): string[] {
  const named = methods.flatMap((method) => (method === 'recovery' ? [] : method === 'mail' ? ['email'] : [method]));
  return methods.length > 1 && !methods.includes('mail') ? [...named, 'mfa'] : named;
}

function toClaims({ userId, sessionId, role, scope, signInMs, expireMs }: TokenClaims): AccessTokenClaims {
  const kind = scope === undefined ? 'session' : 'api_key';
  return { userId, sessionId, kind, role, scope: scope && knownPermissions(scope), signInMs, expireMs };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

/**
 * A token whose key is unknown has most likely outlived it, as keys are removed some time after they signed last:
 * its holder has nothing to do but to refresh it.
 */
function refuse(error: unknown): never {
  if (!(error instanceof AccessTokenError)) throw error;
  if (error.reason !== 'invalid') {
    throw new Failure('access_token_expired', 'the access token has expired, or its key was removed: refresh it');
  }
  const cause = { cause: error };
  throw new Failure('access_token_invalid', 'the access token is not one of this server: sign in', {}, cause);
}
