import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { AuthService, type Tokens } from './gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from './gen/kith/user/v1/user_pb.ts';
import { KithError, type Reason, reasonOf } from './kith-error.ts';
import { isTransient, repeat } from './retries.ts';
import type { SessionStore, StoredSession } from './session-store.ts';
import { type MailedCodeCredentials, type PasswordCredentials, signInWith } from './sign-in.ts';

/** Where the bearer token of a call comes from. What it throws is a ConnectError. */
export interface TokenSource {
  /** The token to send; undefined for a call without one. */
  token(): Promise<string | undefined>;
  /** Another token in place of one that was refused as expired; undefined when there is none. */
  renew(refused: string): Promise<string | undefined>;
  /** The token that was given last, if it is still of use. */
  current(): string | undefined;
  /** Told that a call with this token was refused because the session is over. */
  ended(token: string, error: ConnectError): void;
}

/** The refusals that say that a refresh token is of no use any more. */
const OVER: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'SESSION_ENDED',
  'REFRESH_TOKEN_INVALID',
  'REFRESH_TOKEN_REUSED',
]);

/** An access token is replaced this long before it expires, or a fifth of its lifetime where that is less. */
const MARGIN_MS = 30_000;

/**
 * A refresh is repeated within the 30 seconds in which the same token answers the same successor, so that an answer that
 * was lost does no harm.
 */
const REFRESH = { attemptsMax: 4, attemptTimeoutMs: 10_000, timeoutMs: 20_000 };

export interface SessionOptions {
  /** Carries calls without credentials. */
  readonly transport: Transport;
  readonly store: SessionStore;
  /** Signs in when there is no session. */
  readonly signIn?: PasswordCredentials | MailedCodeCredentials | undefined;
  /** Told once of each session that ended otherwise than by `signOut`. */
  readonly onSessionEnded?: ((error: KithError) => void) | undefined;
  /** Told when another client of the store opens a session, true, or ends it, false. Needs a store that tells. */
  readonly onChangedElsewhere?: ((isSignedIn: boolean) => void) | undefined;
}

interface SessionEnd {
  readonly error: ConnectError;
  readonly refreshToken: string;
}

/** A session that is kept fresh, one refresh at a time. */
export class Session implements TokenSource {
  readonly #options: SessionOptions;
  readonly #auth: Client<typeof AuthService>;
  #current: StoredSession | undefined;
  #renewing: Promise<StoredSession | undefined> | undefined;
  /** Why the last session is over, and its refresh token, until there is another session. */
  #end: SessionEnd | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#auth = createClient(AuthService, withHeaders(options.transport, this.headers));
    options.store.onChangedElsewhere?.((session) => {
      const previous = this.#current?.refreshToken;
      this.#current = session;
      if (session !== undefined) this.#end = undefined;
      if (previous !== session?.refreshToken) options.onChangedElsewhere?.(session !== undefined);
    });
  }

  /** What calls that open, refresh or end the session send along. */
  get headers(): Readonly<Record<string, string>> {
    return this.#options.store.headers ?? {};
  }

  async token(): Promise<string | undefined> {
    const current = this.#current;
    if (current !== undefined && isFresh(current)) return current.accessToken;
    try {
      return (await this.#renew(current?.accessToken))?.accessToken;
    } catch (error) {
      // It is replaced before it expires, so that it may be good for a while: the server knows.
      if (current === undefined || current !== this.#current || !isTransient(ConnectError.from(error))) throw error;
      return current.accessToken;
    }
  }

  async renew(refused: string): Promise<string | undefined> {
    if (this.#current !== undefined && this.#current.accessToken !== refused) return this.#current.accessToken;
    return (await this.#renew(refused))?.accessToken;
  }

  current(): string | undefined {
    return this.#current?.accessToken;
  }

  ended(token: string, error: ConnectError): void {
    if (this.#current === undefined) return;
    const { accessToken, refreshToken } = this.#current;
    // A stream may have begun with an earlier token of the session.
    const isOfSession = accessToken === token || (sessionIdOf(token) ?? '') === sessionIdOf(accessToken);
    if (isOfSession) this.#finish({ error, refreshToken });
  }

  /** Opens a session in place of the one that there is. */
  async signIn(credentials: PasswordCredentials | MailedCodeCredentials): Promise<User> {
    // Outside of the lock: people take their time to answer.
    const { tokens, user } = await this.#answers(credentials);
    await this.#options.store.exclusive(() => this.#keep(tokens));
    return user;
  }

  /** Forgets the session. To end it on the server too, call Logout before. */
  async clear(): Promise<void> {
    this.#current = undefined;
    this.#end = undefined;
    await this.#options.store.exclusive(() => this.#options.store.save(undefined));
  }

  /** One renewal for all who wait for one. */
  #renew(refused: string | undefined): Promise<StoredSession | undefined> {
    this.#renewing ??= this.#options.store
      .exclusive(() => this.#renewAlone(refused))
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  async #renewAlone(refused: string | undefined): Promise<StoredSession | undefined> {
    const { store, signIn } = this.#options;
    const stored = await store.load();
    if (stored !== undefined && stored.refreshToken === this.#end?.refreshToken) {
      await store.save(undefined);
    } else if (stored !== undefined) {
      // Another client may have refreshed it, or this one before it was started again.
      if (stored.accessToken !== refused && isFresh(stored)) return this.#adopt(stored);
      try {
        return await this.#refresh(stored.refreshToken);
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        if (!OVER.has(reasonOf(error))) throw error;
        await store.save(undefined);
        if (signIn === undefined) this.#finish({ error, refreshToken: stored.refreshToken });
      }
    }
    if (signIn !== undefined) return this.#keep((await this.#answers(signIn)).tokens);
    if (this.#end !== undefined) throw this.#end.error;
    this.#current = undefined;
    return undefined;
  }

  async #refresh(refreshToken: string): Promise<StoredSession> {
    const { tokens } = await repeat(REFRESH, undefined, (timeoutMs) =>
      this.#auth.refreshAccessToken({ refreshToken: this.#options.store.headers ? '' : refreshToken }, { timeoutMs }),
    );
    return this.#keep(tokens);
  }

  async #answers(
    credentials: PasswordCredentials | MailedCodeCredentials,
  ): Promise<{ tokens: Tokens | undefined; user: User }> {
    const { tokens, user } = await signInWith(this.#auth, credentials);
    if (user === undefined) throw new ConnectError('the answer of the sign-in has no user', Code.Internal);
    return { tokens, user };
  }

  async #keep(tokens: Tokens | undefined): Promise<StoredSession> {
    if (tokens === undefined) throw new ConnectError('the answer has no tokens', Code.Internal);
    const { accessToken, accessTokenLifetime: lifetime } = tokens;
    const refreshToken = tokens.refreshToken || (sessionIdOf(accessToken) ?? '');
    // By the lifetime: the clock of this machine may be wrong.
    const lifetimeMs = Number(lifetime?.seconds ?? 0n) * 1000;
    const replaceTimeMs = Date.now() + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 5);
    const session = { refreshToken, accessToken, replaceTimeMs };
    await this.#options.store.save(session);
    return this.#adopt(session);
  }

  #adopt(session: StoredSession): StoredSession {
    this.#current = session;
    this.#end = undefined;
    return session;
  }

  #finish(end: SessionEnd): void {
    this.#current = undefined;
    this.#end = end;
    this.#options.onSessionEnded?.(KithError.from(end.error));
  }
}

function withHeaders(transport: Transport, headers: Readonly<Record<string, string>>): Transport {
  return {
    ...transport,
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      transport.unary(
        method,
        signal,
        timeoutMs,
        { ...Object.fromEntries(new Headers(header)), ...headers },
        input,
        contextValues,
      ),
  };
}

/** What an access token says its session is (docs/sessions.md), which is not verified: the server does that. */
function sessionIdOf(accessToken: string): string | undefined {
  const { sid } = claimsOf(accessToken);
  return typeof sid === 'string' ? sid : undefined;
}

/** What an access token says; nothing for what is none. */
export function claimsOf(token: string): Readonly<Record<string, unknown>> {
  try {
    const [, payload = ''] = token.split('.');
    return Object(JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function isFresh({ accessToken, replaceTimeMs }: StoredSession): boolean {
  return accessToken !== '' && Date.now() < replaceTimeMs;
}
