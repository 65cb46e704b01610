import { createHash, randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Role } from '../access.ts';
import { Failure } from '../failure.ts';
import { ALGORITHM, type SigningKeys } from './signing-keys.ts';

const TYPE = 'at+jwt';

/** Longer tokens are not looked at. Kith's have some 500 characters. */
const LENGTH_MAX = 4096;

/** How many verified tokens are remembered, at about 200 bytes each. */
const VERIFIED_MAX = 20_000;

export interface AccessTokenOptions {
  /** `iss`: the address of this installation. */
  readonly issuer: string;
  /** `aud`. */
  readonly audience: string;
  readonly ttlMs: number;
  readonly now: () => number;
}

export interface AccessTokenClaims {
  readonly userId: string;
  readonly sessionId: string;
}

export interface AccessToken {
  readonly token: string;
  /** Milliseconds since 1970, a whole second. */
  readonly expireMs: number;
}

/** Signs and verifies access tokens (RFC 9068). */
export interface AccessTokens {
  sign(claims: AccessTokenClaims & { role: Role; signInMs: number }): Promise<AccessToken>;
  /** Throws access_token_invalid and access_token_expired. Whether the session still lives is not looked at. */
  verify(token: string): Promise<AccessTokenClaims>;
}

/**
 * Type, algorithm, issuer, audience and expiry are pinned, and keys are found by
 * `kid` among the own ones alone: `jku`, `jwk` and `x5u` are ignored (RFC 8725).
 */
export function createAccessTokens(keys: SigningKeys, options: AccessTokenOptions): AccessTokens {
  const { issuer, audience, ttlMs, now } = options;
  const verified = new LRUCache<string, AccessTokenClaims & { expireMs: number }>({ max: VERIFIED_MAX });

  async function verifySignature(token: string): Promise<AccessTokenClaims & { expireMs: number }> {
    if (token.length > LENGTH_MAX || !isCanonical(token)) throw invalid();
    try {
      const { payload } = await jwtVerify(
        token,
        ({ kid }) => {
          const key = kid === undefined ? undefined : keys.publicKey(kid);
          if (key === undefined) throw invalid();
          return key;
        },
        {
          algorithms: [ALGORITHM],
          typ: TYPE,
          issuer,
          audience,
          currentDate: new Date(now()),
          requiredClaims: ['sub', 'sid', 'iat', 'exp', 'jti'],
        },
      );
      return claimsOf(payload);
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw expired();
      throw error instanceof Failure ? error : invalid(error);
    }
  }

  return {
    async sign({ userId, sessionId, role, signInMs }) {
      const issuedAt = seconds(now());
      const expireAt = issuedAt + seconds(ttlMs);
      const token = await new SignJWT({
        sid: sessionId,
        roles: [role],
        auth_time: seconds(signInMs),
        amr: ['pwd'], // RFC 8176
      })
        .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: keys.current.kid })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(userId)
        .setJti(randomUUID())
        .setIssuedAt(issuedAt)
        .setExpirationTime(expireAt)
        .sign(keys.current.privateKey);
      return { token, expireMs: expireAt * 1000 };
    },

    async verify(token) {
      // Verifying costs some 100 us, hashing under 1: a token is verified once.
      const digest = createHash('sha256').update(token).digest('base64');
      const known = verified.get(digest);
      if (known !== undefined && known.expireMs > now()) return known;
      const claims = await verifySignature(token);
      verified.set(digest, claims);
      return claims;
    },
  };
}

/** Whether each part is spelt as its bytes are: base64url decoders skip what they do not know, and spare bits. */
function isCanonical(token: string): boolean {
  return token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

function claimsOf({ sub, sid, exp }: JWTPayload): AccessTokenClaims & { expireMs: number } {
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof exp !== 'number') throw invalid();
  return { userId: sub, sessionId: sid, expireMs: exp * 1000 };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function invalid(cause?: unknown): Failure {
  return new Failure('access_token_invalid', 'the access token is not one of this server: sign in', {}, { cause });
}

function expired(): Failure {
  return new Failure('access_token_expired', 'the access token has expired: refresh it');
}
