import type { DescService } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { type Credentials, openSession, tokensOf, withCredentials } from './credentials.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from './gen/kith/user/v1/user_pb.ts';
import { KithError, type Reason } from './kith-error.ts';
import { createNamespace, type Namespace } from './namespaces.ts';
import { type RetryOptions, withRetries } from './retries.ts';
import type { TokenSource } from './session.ts';
import type { MailedCodeCredentials, PasswordCredentials } from './sign-in.ts';

/** Who calls, and how often a call is tried. */
export interface CallsOptions extends RetryOptions {
  /** Who calls. Without, `signIn` opens a session in memory. */
  readonly credentials?: Credentials | undefined;
}

/** Signed calls to the services that the caller names, and to no others: a bundle holds what is named. */
export interface Calls {
  /** The namespace of a service, whose methods are named without the noun: `of(UserService, 'User').get({ userId })`. */
  of<Service extends DescService, Noun extends string>(service: Service, noun: Noun): Namespace<Service, Noun>;
  /** Signs in, and keeps the session where the credentials say. Fails for credentials that have no session. */
  signIn(credentials: PasswordCredentials | MailedCodeCredentials): Promise<User>;
  /** Ends the session on the server and forgets it here; here also when the server cannot be reached. */
  signOut(): Promise<void>;
  /**
   * The client that Connect makes of a service, whose calls are signed and repeated as all are. It throws a `ConnectError`;
   * `KithError.from` makes a KithError of it.
   */
  raw<Service extends DescService>(service: Service): Client<Service>;
  /** What all calls go over, signed and repeated as `raw` says: for libraries that take a transport of Connect. */
  readonly transport: Transport;
  /** What signs the calls, and the same calls signed by something else: for watches that tabs share. */
  readonly signing: { readonly tokens: TokenSource; by(tokens: TokenSource): Transport };
}

/** Creates signed calls over a transport of Connect. */
export function createCalls(
  transport: Transport,
  { credentials, attemptsMax, attemptTimeoutMs, timeoutMs }: CallsOptions = {},
): Calls {
  const session = openSession(credentials, transport);
  const tokens = session ?? tokensOf(credentials);
  const signedBy = (source: TokenSource) =>
    withRetries(withCredentials(transport, source), { attemptsMax, attemptTimeoutMs, timeoutMs });
  const signed = signedBy(tokens);
  const needSession = () => {
    if (session === undefined)
      throw new TypeError('these credentials have no session: there is nothing to sign in or out');
    return session;
  };
  return {
    of: (service, noun) => createNamespace(service, noun, signed),
    async signIn(given) {
      try {
        return await needSession().signIn(given);
      } catch (thrown) {
        throw wrapped(thrown);
      }
    },
    async signOut() {
      const opened = needSession();
      try {
        if ((await opened.token()) !== undefined)
          await createClient(AuthService, signed).logout({}, { headers: opened.headers });
      } catch (thrown) {
        const error = KithError.from(thrown);
        if (!SIGNED_OUT.has(error.reason)) throw error;
      } finally {
        await opened.clear();
      }
    },
    raw: (service) => createClient(service, signed),
    transport: signed,
    signing: { tokens, by: signedBy },
  };
}

/** Refusals of Logout that say that there is no session to end. */
const SIGNED_OUT: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'SESSION_ENDED',
  'REFRESH_TOKEN_INVALID',
  'REFRESH_TOKEN_REUSED',
]);

/** What a callback of the caller's threw stays what it is. */
function wrapped(thrown: unknown): unknown {
  return thrown instanceof ConnectError ? KithError.from(thrown) : thrown;
}
