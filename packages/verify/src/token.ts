import { base64url, errors, type JWTPayload, jwtVerify } from 'jose';
import { ALGORITHM, type KeySet, type PublicKey } from './keys.ts';
import { type Role, roleNamed } from './roles.ts';
import { VerificationError } from './verification-error.ts';

const TYPE = 'at+jwt';

/** Longer tokens are not looked at. Kith's have some 500 characters. */
const LENGTH_MAX = 4096;

/** Kith signs none that is good for longer, and tells of revocations for as long as that, seconds. */
const LIFETIME_MAX = 3600;

/** How far the clocks of those who sign and those who verify may differ, seconds. */
const CLOCKS_DIFFER = 60;

/** What a token says, whether it was revoked or not. */
export interface Claims {
  readonly userId: string;
  readonly sessionId: string;
  readonly role: Role;
  /** The permissions of an API key; undefined for a session. */
  readonly scope: readonly string[] | undefined;
  /** Seconds since 1970. */
  readonly issueSeconds: number;
  readonly expireSeconds: number;
  readonly authSeconds: number | undefined;
  readonly amr: readonly string[];
}

/** A token whose signature and claims are right, and what made it so. */
export interface SignedToken {
  readonly claims: Claims;
  readonly kid: string;
  readonly key: PublicKey;
}

export interface TokenOptions {
  readonly keys: KeySet;
  readonly issuer: string;
  readonly audience: string;
  readonly nowMs: () => number;
}

/**
 * Reads an access token of Kith's (RFC 9068). Its header must be, letter by letter,
 * the one that Kith writes for a key of the issuer's set: that pins `alg`, `typ` and
 * `kid`, and leaves no place for `jku`, `jwk`, `x5u`, `crit` or a member that is
 * there twice (RFC 8725). Issuer, audience and times are pinned as well.
 *
 * Throws token_invalid, token_expired, keys_unavailable.
 */
export async function readToken(token: string, options: TokenOptions): Promise<SignedToken> {
  const { keys, issuer, audience, nowMs } = options;
  const kid = token.length <= LENGTH_MAX && isCanonical(token) ? kidOf(token) : undefined;
  const key = kid === undefined ? undefined : await keys.find(kid);
  if (kid === undefined || key === undefined) throw invalid();
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer,
      audience,
      currentDate: new Date(nowMs()),
      requiredClaims: ['sub', 'sid', 'iat', 'exp', 'jti', 'roles'],
    });
    return { claims: claimsOf(payload, Math.floor(nowMs() / 1000)), kid, key };
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw expired();
    throw error instanceof VerificationError ? error : invalid(error);
  }
}

/**
 * Three parts in base64url, each spelt as its bytes are: decoders skip what they do
 * not know, and the bits of the last letter that no byte needs.
 */
function isCanonical(token: string): boolean {
  const parts = token.split('.', 4);
  const spelling = /^(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?$/;
  return parts.length === 3 && parts.every((part) => part !== '' && spelling.test(part));
}

/** The key that a token names, or undefined when its header is not as Kith writes it. A kid is a thumbprint: 32 bytes. */
function kidOf(token: string): string | undefined {
  const [header = ''] = token.split('.', 1);
  const kid = /"kid":"([\w-]{43})"\}$/.exec(new TextDecoder().decode(base64url.decode(header)))?.[1];
  return header === base64url.encode(JSON.stringify({ alg: ALGORITHM, typ: TYPE, kid })) ? kid : undefined;
}

function claimsOf(payload: JWTPayload, nowSeconds: number): Claims {
  const { sub, sid, jti, roles, scope, client_id: clientId, iat, exp, auth_time: authTime, amr = [] } = payload;
  const role = Array.isArray(roles) && roles.length === 1 ? roleNamed(roles[0]) : undefined;
  if (!isText(sub) || !isText(sid) || !isText(jti) || !isSeconds(iat) || !isSeconds(exp) || role === undefined) {
    throw invalid();
  }
  if (exp - iat > LIFETIME_MAX) throw invalid();
  if (!Array.isArray(amr) || !amr.every((method) => typeof method === 'string')) throw invalid();
  const claims = { userId: sub, sessionId: sid, role, issueSeconds: iat, expireSeconds: exp, amr };
  if (!isCurrent(claims, nowSeconds)) throw expired();
  // An API key's token names the key as its client, and is worth what its scope says (RFC 9068, 2.2).
  if (clientId === undefined && scope === undefined && isSeconds(authTime)) {
    return { ...claims, scope: undefined, authSeconds: authTime };
  }
  if (clientId === sid && typeof scope === 'string' && authTime === undefined) {
    return { ...claims, scope: scope.split(' ').filter(Boolean), authSeconds: undefined };
  }
  throw invalid();
}

/**
 * Whether a token is good by the time. One of the future was signed before the
 * issuer's clock was set back: it is taken for an old one, which is refreshed.
 */
export function isCurrent(claims: Pick<Claims, 'issueSeconds' | 'expireSeconds'>, nowSeconds: number): boolean {
  return claims.expireSeconds > nowSeconds && claims.issueSeconds <= nowSeconds + CLOCKS_DIFFER;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** A NumericDate (RFC 7519, 2) as Kith writes it: whole and not before 1970. */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(cause?: unknown): VerificationError {
  return new VerificationError('token_invalid', 'the token is not an access token of this issuer', { cause });
}

export function expired(): VerificationError {
  return new VerificationError('token_expired', 'the access token has expired: refresh it');
}
