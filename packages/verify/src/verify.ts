/// <reference lib="esnext.disposable" preserve="true" />
import { AccessTokenError, isCurrent, readAccessToken, type SignedToken, type TokenClaims } from './access-token.ts';
import { createClock } from './clock.ts';
import { isSigned, KeySet } from './keys.ts';
import { Revocations } from './revocations.ts';
import { PERMISSIONS_OF_ROLE, type Role } from './roles.ts';
import { VerificationError, type VerificationReason } from './verification-error.ts';

export { type Role, VerificationError, type VerificationReason };

export interface VerifierOptions {
  /** What `iss` has to be, to the letter: KITH_ISSUER of the Kith that signs. An http or https URL. */
  readonly issuer: string;
  /** What `aud` has to be or hold: KITH_AUDIENCE. Default: kith. */
  readonly audience?: string | undefined;
  /** Where this service reaches Kith, when that is not where callers do. Default: the issuer. */
  readonly address?: string | undefined;
  /** Where the keys are. Default: `/.well-known/jwks.json` below the address. */
  readonly jwksUrl?: string | undefined;
  /** Learn of revoked sessions and API keys and of changed users within seconds. Default: not at all. */
  readonly revocations?: RevocationOptions | undefined;
  /** How long keys are used that cannot be fetched again, milliseconds. Default: one hour. */
  readonly keepKeysMs?: number | undefined;
  /** How many verified tokens are remembered, so that each is verified once. Default: 10,000, some 10 MB. */
  readonly rememberedMax?: number | undefined;
  /** Told of each failure to fetch keys or to follow revocations, to log it. They are tried again by themselves. */
  readonly onError?: ((error: Error) => void) | undefined;
  /** Default: the runtime's. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Milliseconds since 1970, for tests: nothing else tells the time then. Default: the runtime's clocks. */
  readonly now?: (() => number) | undefined;
}

/** How to follow revocations. The caller needs PERMISSION_REVOCATIONS_READ. */
export type RevocationOptions = {
  /**
   * What to do with tokens when nothing was heard of revocations for 5 s: refuse
   * them (revocations_stale), or go by what was heard before. Default: refuse.
   */
  readonly whenStale?: 'refuse' | 'accept' | undefined;
} & (
  | {
      /** An API key of Kith's. */
      readonly apiKey: string;
    }
  | {
      /** What to send as the bearer token, asked for at each connection. */
      readonly getToken: () => string | Promise<string>;
    }
);

/** Whom an access token speaks for. */
export interface VerifiedToken {
  /** The user, or the owner of the API key. A UUID. */
  readonly userId: string;
  /** The session, or the API key. A UUID. */
  readonly sessionId: string;
  /** Whether a user signed in, or an API key was exchanged. */
  readonly kind: 'session' | 'api_key';
  /** The role of the user: as it is, when revocations are followed; otherwise as it was when the token was signed. */
  readonly role: Role;
  /**
   * What is allowed at Kith, by the names of `kith.access.v1.Permission`, e.g.
   * `users.read`: what the role allows, or what the API key was given of it.
   */
  readonly permissions: ReadonlySet<string>;
  /** When the user signed in; undefined for an API key. */
  readonly authTime: Date | undefined;
  /** How the user signed in (RFC 8176), e.g. `pwd`, `otp`, `mfa`; empty for an API key. */
  readonly amr: readonly string[];
  readonly issueTime: Date;
  readonly expireTime: Date;
}

/** Verifies the access tokens of one Kith. */
export interface Verifier extends AsyncDisposable {
  /** Whom an access token speaks for. Throws VerificationError. */
  verify(token: string): Promise<VerifiedToken>;
  /**
   * Resolves once keys are there and, if they are followed, all revocations. Throws
   * VerificationError, with what went wrong as its cause, when that takes longer
   * than `timeoutMs` (default: 10,000). Everything is tried on all the same.
   */
  ready(timeoutMs?: number): Promise<void>;
  /** Ends the stream of revocations. Tokens are refused from then on. */
  close(): Promise<void>;
}

const WATCH_REVOCATIONS = '/kith.auth.v1.RevocationService/WatchRevocations';
const HOUR_MS = 3_600_000;

/**
 * Makes a verifier, which follows revocations from now on, if that is asked for,
 * until it is closed. Keys are fetched with the first token. Throws TypeError for
 * options that cannot be right.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, audience = 'kith', address = issuer, revocations: following } = options;
  const { keepKeysMs = HOUR_MS, rememberedMax = 10_000 } = options;
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  // In a turn of its own, so that an error of the callback's is the program's and not the verifier's.
  const onError = (error: Error) => queueMicrotask(() => options.onError?.(error));
  requireUrl('issuer', issuer);
  const base = requireUrl('address', address).replace(/\/+$/, '');
  const jwksUrl = requireUrl('jwksUrl', options.jwksUrl ?? `${base}/.well-known/jwks.json`);
  if (audience === '') throw new TypeError('audience is empty');

  const clock = createClock(options.now, options.now);
  const getToken = following && tokenSource(following);
  const keys = new KeySet({ url: jwksUrl, fetch, clock, keepMs: keepKeysMs, onError });
  const revocations =
    getToken && new Revocations({ url: `${base}${WATCH_REVOCATIONS}`, fetch, clock, getToken, onError });
  const reader = { issuer, audience, findKey: (kid: string) => keys.find(kid), isSigned, now: clock.nowMs };
  const refusesStale = following?.whenStale !== 'accept';
  /** Tokens that were verified, the one used last at the end. */
  const remembered = new Map<string, SignedToken<CryptoKey>>();

  return {
    async verify(token) {
      if (typeof token !== 'string') throw new TypeError('a token is text');
      const { claims } = await verifySignature(token);
      if (revocations === undefined) return verifiedToken(claims, claims.role);
      // After a process stood still, what it was sent meanwhile is read in the next turn.
      if (refusesStale && revocations.isStale()) await new Promise((resolve) => setTimeout(resolve, 0));
      const role = revocations.roleOf(claims.userId);
      if (revocations.hasEnded(claims.sessionId) || role === null) throw revoked();
      if (refusesStale && revocations.isStale()) throw stale();
      return verifiedToken(claims, role ?? claims.role);
    },

    async ready(timeoutMs = 10_000) {
      const deadline = new AbortController();
      const timer = setTimeout(() => deadline.abort(), timeoutMs);
      try {
        await Promise.all([keys.ready(deadline.signal), revocations?.ready(deadline.signal)]);
        if (revocations?.isStale()) throw stale();
      } finally {
        clearTimeout(timer);
        deadline.abort();
      }
    },

    close,
    [Symbol.asyncDispose]: close,
  };

  async function verifySignature(token: string): Promise<SignedToken<CryptoKey>> {
    const known = remembered.get(token);
    if (known === undefined) {
      const signed = await readAccessToken(token, reader).catch(refuse);
      remembered.set(token, signed);
      for (const oldest of remembered.keys()) {
        if (remembered.size <= rememberedMax) break;
        remembered.delete(oldest);
      }
      return signed;
    }
    remembered.delete(token);
    if (!isCurrent(known.claims, clock.nowMs())) throw expired();
    // A key that the issuer has taken back has signed nothing.
    if ((await keys.find(known.kid)) !== known.key) return verifySignature(token);
    remembered.set(token, known);
    return known;
  }

  function stale(): VerificationError {
    return new VerificationError('revocations_stale', 'it is not known at present which tokens were revoked', {
      cause: revocations?.failure,
    });
  }

  async function close(): Promise<void> {
    keys.close();
    remembered.clear();
    await revocations?.close();
  }
}

/**
 * The token of an `authorization` header of the scheme Bearer (RFC 6750, 2.1);
 * undefined when there is none.
 */
export function bearerToken(authorization: string | null | undefined): string | undefined {
  return /^Bearer +([\w.~+/-]+=*) *$/i.exec(authorization ?? '')?.[1];
}

function verifiedToken(claims: TokenClaims, role: Role): VerifiedToken {
  const { userId, sessionId, scope, amr, issueMs, expireMs, signInMs } = claims;
  const ofRole: ReadonlySet<string> = PERMISSIONS_OF_ROLE[role];
  // The scope was within the role that the token was signed with.
  const scoped = role === claims.role ? scope : scope?.filter((permission) => ofRole.has(permission));
  return {
    userId,
    sessionId,
    kind: scope === undefined ? 'session' : 'api_key',
    role,
    permissions: scoped === undefined ? ofRole : new Set(scoped),
    authTime: signInMs === undefined ? undefined : new Date(signInMs),
    amr,
    issueTime: new Date(issueMs),
    expireTime: new Date(expireMs),
  };
}

function refuse(error: unknown): never {
  if (!(error instanceof AccessTokenError)) throw error;
  if (error.reason === 'expired') throw expired();
  throw new VerificationError('token_invalid', 'the token is not an access token of this issuer', { cause: error });
}

function expired(): VerificationError {
  return new VerificationError('token_expired', 'the access token has expired: refresh it');
}

function revoked(): VerificationError {
  return new VerificationError('token_revoked', 'the session or API key has ended, or its user may not sign in');
}

function tokenSource(options: RevocationOptions): () => string | Promise<string> {
  const { apiKey, getToken } = options as { apiKey?: unknown; getToken?: unknown };
  if (typeof getToken === 'function') return getToken as () => string | Promise<string>;
  if (typeof apiKey === 'string' && /^[\x21-\x7e]+$/.test(apiKey)) return () => apiKey;
  throw new TypeError('revocations takes an apiKey or getToken');
}

function requireUrl(name: string, url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new TypeError(`${name} is not an http or https URL`);
  }
  return url;
}
