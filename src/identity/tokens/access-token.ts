import { hash, randomUUID } from 'node:crypto';
import { type CryptoKey, decodeJwt, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import {
  type Caller,
  isRole,
  knownPermissions,
  type Permission,
  type Role,
  type SignInMethod,
} from '../../kernel/access.ts';
import { CLOCKS_DIFFER_MS } from '../../kernel/clock.ts';
import { Failure } from '../../kernel/failure.ts';

/** The only algorithm tokens are signed with (RFC 7518, ECDSA on P-256 with SHA-256). */
export const ALGORITHM = 'ES256';

const TYPE = 'at+jwt';

/** Longer tokens are not looked at. Kith's have some 500 characters. */
const LENGTH_MAX = 4096;

/** How many verified tokens are remembered, at about 400 bytes each. */
const VERIFIED_MAX = 20_000;

/** The longest that the settings let an access token be good for, milliseconds. None is good for longer. */
export const ACCESS_TOKEN_TTL_MAX_MS = 3600 * 1000;

export interface AccessTokenOptions {
  /** `iss`: the address of this installation. */
  readonly issuer: string;
  /** `aud`. */
  readonly audience: string;
  /** At most ACCESS_TOKEN_TTL_MAX_MS. */
  readonly ttlMs: number;
  readonly now: () => number;
}

/** The keys of this installation. Ids are JWK thumbprints (RFC 7638). */
export interface AccessTokenKeys {
  /** The key that signs at present. */
  signer(): { readonly kid: string; readonly privateKey: CryptoKey };
  /** Whether a key is known and was not removed. */
  has(kid: string): boolean;
  /** The public key with this id, or undefined. Throws server_unavailable when that cannot be found out. */
  find(kid: string): Promise<CryptoKey | undefined>;
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

interface Verified {
  readonly claims: AccessTokenClaims;
  readonly kid: string;
  /** When the token was signed, milliseconds since 1970. */
  readonly issueMs: number;
}

/**
 * Only what this installation signs is accepted, and it signs in one form: the
 * header must be, letter by letter, the one that Kith writes for a key of its own.
 * That pins `alg`, `typ` and `kid`, and leaves no place for `jku`, `jwk`, `x5u`,
 * `x5c`, `crit` or a member that is there twice (RFC 8725). Issuer, audience and
 * times are pinned as well, and nothing is ever fetched.
 *
 * ECDSA signatures come in pairs: whoever has (r, s) can write (r, -s), another
 * token with the same claims. Nothing here knows a token by its letters, a session
 * is ended by its id, so the pair is as good as one.
 */
export function createAccessTokens(keys: AccessTokenKeys, options: AccessTokenOptions): AccessTokens {
  const { issuer, audience, ttlMs, now } = options;
  const verified = new LRUCache<string, Verified>({ max: VERIFIED_MAX });

  async function verifySignature(token: string): Promise<Verified> {
    const kid = token.length <= LENGTH_MAX && isCanonical(token) ? kidOf(token) : undefined;
    const key = kid === undefined ? undefined : await keys.find(kid);
    if (kid === undefined) throw invalid();
    if (key === undefined) throw isAddressedHere(token) ? expired() : invalid();
    return { kid, ...(await readClaims(token, key)) };
  }

  async function verifyNew(token: string, digest: string): Promise<AccessTokenClaims> {
    const fresh = await verifySignature(token);
    verified.set(digest, fresh);
    return fresh.claims;
  }

  /**
   * Whether a token that no key verifies says that it is from here and for here. Most
   * likely its key was removed since, as keys are some time after they signed last:
   * its holder has nothing to do but to refresh it. Refused it is either way.
   */
  function isAddressedHere(token: string): boolean {
    try {
      const { iss, aud } = decodeJwt(token);
      return iss === issuer && aud === audience;
    } catch {
      return false;
    }
  }

  async function readClaims(token: string, key: CryptoKey): Promise<Omit<Verified, 'kid'>> {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        typ: TYPE,
        issuer,
        audience,
        currentDate: new Date(now()),
        requiredClaims: ['sub', 'sid', 'jti', 'iat', 'exp', 'roles'],
      });
      return claimsOf(payload, now());
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw expired();
      throw error instanceof Failure ? error : invalid(error);
    }
  }

  async function write(claims: JWTPayload, userId: string, notAfterMs = Infinity): Promise<AccessToken> {
    const { kid, privateKey } = keys.signer();
    const signMs = now();
    const issuedAt = seconds(signMs);
    const expireAt = Math.min(issuedAt + seconds(ttlMs), seconds(notAfterMs));
    const token = await new SignJWT(claims)
      .setProtectedHeader(headerOf(kid))
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(userId)
      .setJti(randomUUID())
      .setIssuedAt(issuedAt)
      .setExpirationTime(expireAt)
      .sign(privateKey);
    return { token, expireMs: expireAt * 1000, lifetimeMs: Math.max(0, seconds(expireAt * 1000 - signMs) * 1000) };
  }

  return {
    sign: async ({ userId, sessionId, role, methods, signInMs, notAfterMs }) =>
      write({ sid: sessionId, roles: [role], auth_time: seconds(signInMs), amr: amrOf(methods) }, userId, notAfterMs),
    signForApiKey: async ({ userId, apiKeyId, role, scope, notAfterMs }) =>
      write({ sid: apiKeyId, roles: [role], scope: [...scope].join(' '), client_id: apiKeyId }, userId, notAfterMs),

    verify(token) {
      // Verifying costs some 100 us, hashing half of one: a token is verified once. Its digest is what is
      // remembered: who reads the memory of the process must not find the tokens of all who are signed in.
      const digest = hash('sha256', token, 'base64');
      const known = verified.get(digest);
      if (known !== undefined && isCurrent(known, now()) && keys.has(known.kid)) return known.claims;
      verified.delete(digest);
      return verifyNew(token, digest);
    },

    recall: (token) => verified.peek(hash('sha256', token, 'base64'))?.claims,
  };
}

function headerOf(kid: string) {
  return { alg: ALGORITHM, typ: TYPE, kid };
}

/** The key that a token names, or undefined when its header is not as Kith writes it. A kid is a thumbprint: 32 bytes. */
function kidOf(token: string): string | undefined {
  const [header = ''] = token.split('.', 1);
  const kid = /"kid":"([\w-]{43})"\}$/.exec(Buffer.from(header, 'base64url').toString())?.[1];
  if (kid === undefined) return undefined;
  return header === Buffer.from(JSON.stringify(headerOf(kid))).toString('base64url') ? kid : undefined;
}

/** Whether each part is spelt as its bytes are: base64url decoders skip what they do not know, and spare bits. */
function isCanonical(token: string): boolean {
  return token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

/** The claim amr (RFC 8176), which has no word for a recovery code but that more than one factor was used. */
function amrOf(methods: readonly SignInMethod[]): string[] {
  const named = methods.filter((method) => method !== 'recovery');
  return methods.length > 1 ? [...named, 'mfa'] : named;
}

/**
 * Whether a token is good by the time. One of the future was signed before the clock
 * was set back: it is taken for an old one, which is refreshed, and not for a forged one.
 */
function isCurrent({ claims, issueMs }: Omit<Verified, 'kid'>, nowMs: number): boolean {
  return claims.expireMs > nowMs && issueMs <= nowMs + CLOCKS_DIFFER_MS;
}

/** Signature, issuer, audience and expiry are right: what is checked here only a faulty signer could have got wrong. */
function claimsOf(payload: JWTPayload, nowMs: number): Omit<Verified, 'kid'> {
  const { sub: userId, sid: sessionId, jti, iat, exp, roles } = payload;
  const role: unknown = Array.isArray(roles) && roles.length === 1 ? roles[0] : undefined;
  if (!isText(userId) || !isText(sessionId) || !isText(jti) || !isSeconds(iat) || !isSeconds(exp) || !isRole(role)) {
    throw invalid();
  }
  const issueMs = iat * 1000;
  const expireMs = exp * 1000;
  if (expireMs - issueMs > ACCESS_TOKEN_TTL_MAX_MS) throw invalid();
  const verified = { claims: { userId, sessionId, role, expireMs, ...kindOf(payload, sessionId) }, issueMs };
  if (!isCurrent(verified, nowMs)) throw expired();
  return verified;
}

function kindOf(
  { auth_time: authTime, scope, client_id: clientId }: JWTPayload,
  sessionId: string,
): Pick<AccessTokenClaims, 'kind' | 'scope' | 'signInMs'> {
  if (clientId === undefined && scope === undefined && isSeconds(authTime)) {
    return { kind: 'session', scope: undefined, signInMs: authTime * 1000 };
  }
  if (clientId === sessionId && typeof scope === 'string' && authTime === undefined) {
    return { kind: 'api_key', scope: knownPermissions(scope.split(' ')), signInMs: undefined };
  }
  throw invalid();
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** A NumericDate (RFC 7519, 2) as Kith writes it: whole and not before 1970. JSON has numbers beyond all bounds. */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function invalid(cause?: unknown): Failure {
  return new Failure('access_token_invalid', 'the access token is not one of this server: sign in', {}, { cause });
}

function expired(): Failure {
  return new Failure('access_token_expired', 'the access token has expired, or its key was removed: refresh it');
}
