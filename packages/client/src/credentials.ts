import { ConnectError, type StreamResponse, type Transport } from '@connectrpc/connect';
import type { DescMessage } from '@bufbuild/protobuf';
import { untilAborted } from './backoff.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import { type KithError, reasonOf } from './kith-error.ts';
import { Session, type TokenSource } from './session.ts';
import { memoryStore, type SessionStore } from './session-store.ts';
import type { MailedCodeCredentials, PasswordCredentials } from './sign-in.ts';

/** What a client keeps a session in, and whom it tells when one is over. */
export interface SessionCredentials {
  /** Where the session is kept. Default: in memory. */
  readonly store?: SessionStore | undefined;
  /**
   * Called once when a session is over without `signOut`: it expired, was revoked, or its refresh token came twice. The calls
   * that find out fail with the same error.
   */
  readonly onSessionEnded?: ((error: KithError) => void) | undefined;
}

/** Gives the bearer token of a call. `refused`: the one before, which has expired. */
export type TokenFunction = (refused: string | undefined) => string | undefined | Promise<string | undefined>;

/**
 * Who calls:
 *
 * - `{ apiKey }`: a service or a script.
 * - `{ identifier, password }`: signs in at the first call, and anew when the session is over.
 * - `{ identifier, mailedCode }`: as before, with a code that is mailed to the user.
 * - `{ refreshToken }`: goes on with a session.
 * - `{ session }`: goes on with a session that was opened with `@kith/client/session`.
 * - `{ store }`: goes on with the session in the store, if there is one; `signIn` opens one.
 * - A function that gives a bearer token.
 */
export type Credentials =
  | { readonly apiKey: string }
  | (PasswordCredentials & SessionCredentials)
  | (MailedCodeCredentials & SessionCredentials)
  | ({ readonly refreshToken: string } & Omit<SessionCredentials, 'store'>)
  | (SessionCredentials & { readonly store: SessionStore })
  | { readonly session: Session }
  | TokenFunction;

/** The session that the credentials are about; undefined when there is none. */
export function openSession(credentials: Credentials | undefined, transport: Transport): Session | undefined {
  if (typeof credentials === 'function' || (credentials !== undefined && 'apiKey' in credentials)) return undefined;
  if (credentials === undefined) return new Session({ transport, store: memoryStore() });
  if ('session' in credentials) return credentials.session;
  const { onSessionEnded } = credentials;
  if ('refreshToken' in credentials)
    return new Session({ transport, store: memoryStore(credentials.refreshToken), onSessionEnded });
  const { store = memoryStore() } = credentials;
  const signIn = 'identifier' in credentials ? credentials : undefined;
  return new Session({ transport, store, signIn, onSessionEnded });
}

/** Where the tokens of credentials without a session come from. */
export function tokensOf(credentials: Credentials | undefined): TokenSource {
  if (typeof credentials === 'function') {
    let current: string | undefined;
    return {
      token: async () => (current = await credentials(undefined)),
      async renew(refused) {
        current = await credentials(refused);
        return current === refused ? undefined : current;
      },
      current: () => current,
      ended: () => {},
    };
  }
  const apiKey = credentials !== undefined && 'apiKey' in credentials ? credentials.apiKey : undefined;
  return { token: async () => apiKey, renew: async () => undefined, current: () => apiKey, ended: () => {} };
}

/** The methods that give credentials, and take none. */
const PUBLIC: ReadonlySet<unknown> = new Set([
  AuthService.method.login,
  AuthService.method.requestLoginCode,
  AuthService.method.loginWithCode,
  AuthService.method.completeLogin,
  AuthService.method.refreshAccessToken,
]);

/**
 * Signs every call with the token of the source, but those that bring an `authorization` of their own. A call that is
 * refused because its token has expired is sent once more with another token: it was refused before it took effect. A call
 * that streams its requests is not, since they cannot be had twice; the next one has the other token.
 */
export function withCredentials(transport: Transport, source: TokenSource): Transport {
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const headers = new Headers(header);
      const send = (sent: Headers) => transport.unary(method, signal, timeoutMs, sent, input, contextValues);
      const token =
        PUBLIC.has(method) || headers.has('authorization') ? undefined : await untilAborted(source.token(), signal);
      if (token === undefined) return send(headers);
      const attempt = (bearer: string) =>
        send(signed(headers, bearer)).catch((thrown: unknown) => {
          throw noteEnd(thrown, bearer, source);
        });
      try {
        return await attempt(token);
      } catch (thrown) {
        return attempt(await renewAfter(thrown, token, source, signal));
      }
    },
    async stream<I extends DescMessage, O extends DescMessage>(
      ...[method, signal, timeoutMs, header, input, contextValues]: Parameters<typeof transport.stream<I, O>>
    ): Promise<StreamResponse<I, O>> {
      const headers = new Headers(header);
      const send = (sent: Headers, messages: typeof input) =>
        transport.stream(method, signal, timeoutMs, sent, messages, contextValues);
      const token = headers.has('authorization') ? undefined : await untilAborted(source.token(), signal);
      if (token === undefined) return send(headers, input);
      const requests = method.methodKind === 'server_streaming' ? await collect(input) : undefined;
      const attempt = async (bearer: string): Promise<StreamResponse<I, O>> => {
        try {
          const response = await send(signed(headers, bearer), requests === undefined ? input : values(requests));
          return { ...response, message: notingEnd(response.message, bearer, source) };
        } catch (thrown) {
          throw noteEnd(thrown, bearer, source);
        }
      };
      const again = async (thrown: unknown): Promise<StreamResponse<I, O>> => {
        const renewed = await renewAfter(thrown, token, source, signal);
        if (requests === undefined) throw thrown;
        return attempt(renewed);
      };
      let first: StreamResponse<I, O>;
      try {
        first = await attempt(token);
      } catch (thrown) {
        return again(thrown);
      }
      return {
        ...first,
        message: (async function* () {
          let count = 0;
          try {
            for await (const message of first.message) {
              count += 1;
              yield message;
            }
          } catch (thrown) {
            // A refusal of a stream comes when the first message is read.
            if (count > 0) throw thrown;
            yield* (await again(thrown)).message;
          }
        })(),
      };
    },
  };
}

function signed(headers: Headers, token: string): Headers {
  const copy = new Headers(headers);
  copy.set('authorization', `Bearer ${token}`);
  return copy;
}

/** The token to send a refused call again with. Throws when that would change nothing. */
async function renewAfter(
  thrown: unknown,
  token: string,
  source: TokenSource,
  signal: AbortSignal | undefined,
): Promise<string> {
  const error = ConnectError.from(thrown);
  if (reasonOf(error) !== 'ACCESS_TOKEN_EXPIRED') throw error;
  const renewed = await untilAborted(source.renew(token), signal);
  if (renewed === undefined) throw error;
  return renewed;
}

/** Tells the source when the session of a token is over. */
function noteEnd(thrown: unknown, token: string, source: TokenSource): ConnectError {
  const error = ConnectError.from(thrown);
  if (reasonOf(error) === 'SESSION_ENDED') source.ended(token, error);
  return error;
}

async function* notingEnd<T>(messages: AsyncIterable<T>, token: string, source: TokenSource): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw noteEnd(thrown, token, source);
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* values<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
