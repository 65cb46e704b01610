import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import {
  type Revocation,
  RevocationSchema,
  RevocationService,
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from '../../../gen/kith/auth/v1/revocation_service_pb.ts';
import { type Issuer, seconds, startIssuer } from './issuer.testkit.ts';
import type { Verifier, VerifierOptions } from './verify.ts';

/** An issuer that tells of revocations too, by the contract, and only of what it is told. */
export interface Feed extends Issuer {
  /** The bearer token of each connection so far. */
  readonly credentials: string[];
  /** How many connections there are now. */
  readonly open: number;
  /** What each new connection is told first, or how it is refused. */
  first: Revocation[] | ConnectError;
  /** Whether messages say that they are. */
  incomplete: boolean;
  /** Tells all connections. */
  send(...revocations: Revocation[]): void;
  /** Ends all connections. */
  end(error?: ConnectError): void;
  /** A session that ended, or what became of a user, to be forgotten in 10 minutes. */
  session(sessionId: string): Revocation;
  user(userId: string, role: Role, revision: number): Revocation;
  /** A verifier that follows, and knows everything. */
  follower(options?: Partial<VerifierOptions>): Promise<Verifier>;
}

export async function startFeed(): Promise<Feed> {
  const issuer = await startIssuer();
  const wakes = new Set<(message: WatchRevocationsResponse | ConnectError | undefined) => void>();
  const credentials: string[] = [];
  const message = (revocations: Revocation[]) =>
    create(WatchRevocationsResponseSchema, { revocations, incomplete: feed.incomplete });
  issuer.otherwise = connectNodeAdapter({
    routes: (router) =>
      router.service(RevocationService, {
        async *watchRevocations(_, { requestHeader, signal }) {
          credentials.push(requestHeader.get('authorization') ?? '');
          if (feed.first instanceof Error) throw feed.first;
          const inbox: (WatchRevocationsResponse | ConnectError | undefined)[] = [message(feed.first)];
          let wake = () => {};
          const receive = (received: WatchRevocationsResponse | ConnectError | undefined) => {
            inbox.push(received);
            wake();
          };
          wakes.add(receive);
          signal.addEventListener('abort', () => receive(undefined));
          try {
            for (;;) {
              if (inbox.length === 0) await new Promise<void>((resolve) => (wake = resolve));
              const next = inbox.shift();
              if (next === undefined) return;
              if (next instanceof Error) throw next;
              yield next;
            }
          } finally {
            wakes.delete(receive);
          }
        },
      }),
  });
  const expireTime = () => timestampFromMs(issuer.clock.ms + seconds(600));
  const own = {
    credentials,
    first: [] as Revocation[] | ConnectError,
    incomplete: false,
    get open() {
      return wakes.size;
    },
    send: (...revocations: Revocation[]) => {
      for (const receive of wakes) receive(message(revocations));
    },
    end: (error?: ConnectError) => {
      for (const receive of wakes) receive(error);
    },
    session: (sessionId: string) =>
      create(RevocationSchema, { subject: { case: 'sessionId', value: sessionId }, expireTime: expireTime() }),
    user: (userId: string, role: Role, revision: number) =>
      create(RevocationSchema, {
        subject: { case: 'user', value: { userId, role, revision: BigInt(revision) } },
        expireTime: expireTime(),
      }),
    async follower(options?: Partial<VerifierOptions>) {
      const verifier = issuer.verifier({ revocations: { apiKey: 'kith_ak_test' }, ...options });
      await verifier.ready(60_000);
      return verifier;
    },
  };
  const feed: Feed = Object.defineProperties(issuer, Object.getOwnPropertyDescriptors(own)) as Feed;
  return feed;
}
