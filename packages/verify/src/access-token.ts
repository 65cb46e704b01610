import { base64url } from 'jose';
import { isObject } from './body.ts';
import { type Role, roleNamed } from './roles.ts';

/** The only algorithm that Kith signs with (RFC 7518, ECDSA on P-256 with SHA-256). */
export const ALGORITHM = 'ES256';

const TYPE = 'at+jwt';

/** Longer tokens are not looked at. Kith's have some 500 characters. */
const LENGTH_MAX = 4096;

/** The longest that an access token may be good for, milliseconds. Kith tells of revocations for as long as that. */
export const ACCESS_TOKEN_TTL_MAX_MS = 3600 * 1000;

/** How far the clocks of those who sign and those who verify may differ, milliseconds. */
const CLOCKS_DIFFER_MS = 60 * 1000;

/** The length of a signature: r and s, as they are (RFC 7518, 3.4). */
const SIGNATURE_BYTES = 64;

/** What a token says, whether it was revoked or not. Times in milliseconds since 1970, whole seconds. */
export interface TokenClaims {
  readonly userId: string;
  /** `sid`: what can be ended, the session or the API key. */
  readonly sessionId: string;
  /** The role when the token was signed. */
  readonly role: Role;
  /** The permissions of an API key; undefined for a session. */
  readonly scope: readonly string[] | undefined;
  readonly issueMs: number;
  readonly expireMs: number;
  /** When the user signed in; undefined for an API key. */
  readonly signInMs: number | undefined;
  readonly amr: readonly string[];
}

/** A token whose signature and claims are right, and the key that signed it. */
export interface SignedToken<Key> {
  readonly claims: TokenClaims;
  readonly kid: string;
  readonly key: Key;
}

export interface TokenReader<Key> {
  /** `iss`, to the letter. */
  readonly issuer: string;
  /** What `aud` is or holds. */
  readonly audience: string;
  /** The issuer's key with this id, or undefined if it has none. What it rejects with, readAccessToken does too. */
  readonly findKey: (kid: string) => Promise<Key | undefined>;
  /** Whether 64 bytes are the signature of a key's, in ES256, under some bytes. */
  readonly isSigned: (key: Key, signature: Uint8Array, bytes: Uint8Array) => boolean | Promise<boolean>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Why a token is refused. `key_unknown`: it says that it is of this issuer and for this audience, but the issuer has
 * no such key. The issuer may have removed the key since, or somebody made the token up.
 */
export type AccessTokenReason = 'invalid' | 'expired' | 'key_unknown';

/** A token that is refused. Whoever reads it turns this into a refusal of their own. */
export class AccessTokenError extends Error {
  override readonly name = 'AccessTokenError';
  readonly reason: AccessTokenReason;

  constructor(reason: AccessTokenReason, options?: ErrorOptions) {
    super(`the access token is refused: ${reason}`, options);
    this.reason = reason;
  }
}

/** The header of a token, with its members in the order in which Kith writes them. */
export function accessTokenHeader(kid: string) {
  return { alg: ALGORITHM, typ: TYPE, kid };
}

/**
 * Reads an access token of Kith's (RFC 9068). Its header must be, letter by letter,
 * the one that Kith writes for a key of the issuer's: that pins `alg`, `typ` and
 * `kid`, and leaves no place for `jku`, `jwk`, `x5u`, `x5c`, `crit` or a member that is
 * there twice (RFC 8725). Issuer, audience and times are pinned as well.
 *
 * ECDSA signatures come in pairs: whoever has (r, s) can write (r, -s), another token
 * with the same claims. So identify a session by its id, never by the letters of a token.
 *
 * Rejects with AccessTokenError, and with what `findKey` rejects with.
 */
export async function readAccessToken<Key>(token: string, reader: TokenReader<Key>): Promise<SignedToken<Key>> {
  const kid = token.length <= LENGTH_MAX && isCanonical(token) ? kidOf(token) : undefined;
  if (kid === undefined) throw new AccessTokenError('invalid');
  const key = await reader.findKey(kid);
  const payload = payloadOf(token);
  if (key === undefined) throw new AccessTokenError(isAddressedTo(reader, payload) ? 'key_unknown' : 'invalid');
  const end = token.lastIndexOf('.');
  const signature = base64url.decode(token.slice(end + 1));
  const isSigned =
    signature.length === SIGNATURE_BYTES &&
    (await reader.isSigned(key, signature, new TextEncoder().encode(token.slice(0, end))));
  if (!isSigned || !isAddressedTo(reader, payload)) throw new AccessTokenError('invalid');
  return { claims: claimsOf(payload, reader.now()), kid, key };
}

/** The claims of a token, of whomever they are; undefined if they are no object of JSON. */
function payloadOf(token: string): Payload | undefined {
  const [, payload = ''] = token.split('.', 2);
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(base64url.decode(payload)));
    return isObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

type Payload = Readonly<Record<string, unknown>>;

/** Whether a token says that it is of this issuer and for this audience (RFC 7519, 4.1.1 and 4.1.3). */
function isAddressedTo(
  { issuer, audience }: Pick<TokenReader<never>, 'issuer' | 'audience'>,
  payload: Payload | undefined,
): payload is Payload {
  if (payload?.['iss'] !== issuer) return false;
  const { aud } = payload as { readonly aud?: unknown };
  return aud === audience || (Array.isArray(aud) && aud.includes(audience));
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

/** The key that a token names, or undefined if its header is not as Kith writes it. A kid is a thumbprint: 32 bytes. */
function kidOf(token: string): string | undefined {
  const [header = ''] = token.split('.', 1);
  const kid = /"kid":"([\w-]{43})"\}$/.exec(new TextDecoder().decode(base64url.decode(header)))?.[1];
  if (kid === undefined) return undefined;
  return header === base64url.encode(JSON.stringify(accessTokenHeader(kid))) ? kid : undefined;
}

/** Signature, issuer and audience are right: what is checked here but times only a faulty signer could have got wrong. */
function claimsOf(payload: Payload, nowMs: number): TokenClaims {
  const { sub, sid, jti, roles, scope, client_id: clientId, iat, exp, nbf, auth_time: authTime, amr = [] } = payload;
  if (typeof exp === 'number' && exp * 1000 <= nowMs) throw new AccessTokenError('expired');
  if (nbf !== undefined && !(isSeconds(nbf) && nbf * 1000 <= nowMs)) throw new AccessTokenError('invalid');
  const role = Array.isArray(roles) && roles.length === 1 ? roleNamed(roles[0]) : undefined;
  if (!isText(sub) || !isText(sid) || !isText(jti) || !isSeconds(iat) || !isSeconds(exp) || role === undefined) {
    throw new AccessTokenError('invalid');
  }
  const times = { issueMs: iat * 1000, expireMs: exp * 1000 };
  if (times.expireMs - times.issueMs > ACCESS_TOKEN_TTL_MAX_MS) throw new AccessTokenError('invalid');
  if (!Array.isArray(amr) || !amr.every((method) => typeof method === 'string')) throw new AccessTokenError('invalid');
  if (!isCurrent(times, nowMs)) throw new AccessTokenError('expired');
  const claims = { userId: sub, sessionId: sid, role, ...times, amr };
  // An API key's token names the key as its client, and is worth what its scope says (RFC 9068, 2.2).
  if (clientId === undefined && scope === undefined && isSeconds(authTime)) {
    return { ...claims, scope: undefined, signInMs: authTime * 1000 };
  }
  if (clientId === sid && typeof scope === 'string' && authTime === undefined) {
    return { ...claims, scope: scope.split(' ').filter(Boolean), signInMs: undefined };
  }
  throw new AccessTokenError('invalid');
}

/**
 * Whether a token is good by the time. One of the future was signed before the issuer's clock
 * was set back: it is taken for an old one, which is refreshed, and not for a forged one.
 */
export function isCurrent({ issueMs, expireMs }: Pick<TokenClaims, 'issueMs' | 'expireMs'>, nowMs: number): boolean {
  return expireMs > nowMs && issueMs <= nowMs + CLOCKS_DIFFER_MS;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** A NumericDate (RFC 7519, 2) as Kith writes it: whole and not before 1970. JSON has numbers beyond all bounds. */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
