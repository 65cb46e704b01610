/**
 * The process of those who use the server as it is meant: one calls at a steady
 * rate, one signs in every second, one watches and compares what it is sent with
 * what it wrote. Each has an address of its own.
 */
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorDetailSchema, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import type { Account } from './attack.ts';
import { answerWith } from './peer.ts';
import { LATE } from './verdict.ts';
import { signedIn } from '../../test/support/sign-in.ts';

export type NeighbourQuestion =
  | { readonly ask: 'meet'; readonly port: number; readonly signer: Account; readonly hasAddresses: boolean }
  /** Begin to call as this account, to write and watch with it, and to take the time from now on. */
  | { readonly ask: 'begin'; readonly account: Account }
  /** From now on the figures count. */
  | { readonly ask: 'mark' }
  /** The figures since then. Afterwards nobody calls until the next `begin`. */
  | { readonly ask: 'end' };

/** How the well-behaved fared. */
export interface Experience {
  /** Of each call, milliseconds. */
  readonly callsMs: readonly number[];
  readonly signInsMs: readonly number[];
  /** Calls that were refused or failed, by what they were. */
  readonly refused: Readonly<Record<string, number>>;
  readonly written: number;
  readonly watch: {
    /** Of what was written and acknowledged, how many never came. */
    readonly missing: number;
    readonly repeated: number;
    /** How the watch ended by itself; undefined when it did not. */
    readonly ended: string | undefined;
  };
}

const PER_SECOND = 20;
const CALL_MAX_MS = 10_000;
const WATCH_MAX_MS = 20_000;

/** Calls of a kind that are under way at the most: whoever waits for so many does not call again. */
const UNDER_WAY_MAX = 20;

interface Lines {
  grpc(token?: string): Transport;
  json(token?: string): Transport;
}

interface AllLines {
  readonly steady: Lines;
  readonly signing: Lines;
  readonly watching: Lines;
}

let lines: AllLines | undefined;
let signer: Account | undefined;
let round: Round | undefined;

answerWith(async (question: NeighbourQuestion) => {
  switch (question.ask) {
    case 'meet': {
      const at = (i: number) => linesTo(question.port, question.hasAddresses ? `127.0.0.${i}` : undefined);
      lines = { steady: at(2), signing: at(3), watching: at(4) };
      signer = question.signer;
      return undefined;
    }
    case 'begin':
      if (lines === undefined || signer === undefined) throw new Error('meet comes first');
      round = new Round(lines, signer, question.account);
      return round.begin();
    case 'mark':
      return round?.mark();
    case 'end':
      return round?.end();
  }
});

function linesTo(port: number, localAddress: string | undefined): Lines {
  const baseUrl = `http://127.0.0.1:${port}`;
  const from = localAddress === undefined ? {} : { localAddress };
  const sessions = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => net.connect({ port, host: '127.0.0.1', ...from }).setNoDelay(true),
  });
  const agent = new http.Agent({ keepAlive: true, ...from });
  const bearer = (token: string | undefined) =>
    token === undefined
      ? []
      : [
          (next: (request: never) => Promise<never>) => (request: { header: Headers }) => {
            request.header.set('authorization', `Bearer ${token}`);
            return next(request as never);
          },
        ];
  return {
    grpc: (token) => createGrpcTransport({ baseUrl, sessionManager: sessions, interceptors: bearer(token) as never }),
    json: (token) =>
      createConnectTransport({
        baseUrl,
        httpVersion: '1.1',
        useBinaryFormat: false,
        nodeOptions: { agent },
        interceptors: bearer(token) as never,
      }),
  };
}

class Round {
  readonly #lines: AllLines;
  readonly #signer: Account;
  readonly #account: Account;
  readonly #leaving = new AbortController();
  readonly #written = new Set<string>();
  readonly #seen = new Map<string, number>();
  #callsMs: number[] = [];
  #signInsMs: number[] = [];
  #refused: Record<string, number> = {};
  #watchEnded: string | undefined;
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();
  #writes = 0;

  constructor(lines: AllLines, signer: Account, account: Account) {
    this.#lines = lines;
    this.#signer = signer;
    this.#account = account;
  }

  async begin(): Promise<void> {
    const { id, accessToken } = this.#account;
    const clients = <T extends DescService>(service: T): readonly Client<T>[] => [
      createClient(service, this.#lines.steady.grpc(accessToken)),
      createClient(service, this.#lines.steady.json(accessToken)),
    ];
    const users = clients(UserService);
    const auth = clients(AuthService);
    const contacts = clients(ContactService);
    await this.#watch();
    const each = (name: string, call: (i: number) => Promise<unknown>, perSecond = PER_SECOND) =>
      this.#repeat(name, call, 1000 / perSecond, this.#callsMs);
    const signIn = createClient(AuthService, this.#lines.signing.grpc());
    this.#running = Promise.all([
      each('GetUser', (i) => users[i % 2]!.getUser({ userId: id })),
      each('UserMe', (i) => auth[i % 2]!.userMe({})),
      each('ListContacts', (i) => contacts[i % 2]!.listContacts({ pageSize: 10 })),
      each('CreateContact', (i) => this.#write(contacts[i % 2]!, i)),
      this.#repeat(
        'Login',
        () => signedIn(signIn.login({ identifier: this.#signer.username, password: this.#signer.password })),
        1000,
        this.#signInsMs,
      ),
    ]);
  }

  mark(): void {
    this.#callsMs.length = 0;
    this.#signInsMs.length = 0;
  }

  async end(): Promise<Experience> {
    this.#isOver = true;
    await this.#running; // those that are under way count as well: they are the slowest
    const missing = () => [...this.#written].filter((id) => !this.#seen.has(id)).length;
    for (const endMs = performance.now() + WATCH_MAX_MS; missing() > 0 && performance.now() < endMs; ) await sleep(20);
    this.#leaving.abort();
    const repeated = [...this.#seen.values()].filter((times) => times > 1).length;
    return {
      callsMs: this.#callsMs,
      signInsMs: this.#signInsMs,
      refused: this.#refused,
      written: this.#writes,
      watch: { missing: missing(), repeated, ended: this.#watchEnded },
    };
  }

  async #write(client: Client<typeof ContactService>, i: number): Promise<void> {
    const { contact } = await client.createContact({
      givenName: `Contact ${i}`,
      phones: [{ number: '+49 30 1234567' }],
    });
    this.#writes += 1;
    this.#written.add(contact!.id);
  }

  /** Watches its own activity, from before this resolves. */
  async #watch(): Promise<void> {
    const { id, accessToken } = this.#account;
    const client = createClient(ActivityService, this.#lines.watching.grpc(accessToken));
    const messages = client.watchUserActivity({ userId: id }, { signal: this.#leaving.signal })[Symbol.asyncIterator]();
    await messages.next();
    void (async () => {
      try {
        for (let next = await messages.next(); !next.done; next = await messages.next()) {
          const contact = next.value.activity?.attributes['contact_id'];
          if (contact !== undefined) this.#seen.set(contact, (this.#seen.get(contact) ?? 0) + 1);
        }
        this.#watchEnded = 'without a code';
      } catch (error) {
        if (!this.#leaving.signal.aborted) this.#watchEnded = describe(error);
      }
    })();
  }

  /** Calls when it is due, whatever became of the calls before: a server that stands still is not spared the next. */
  async #repeat(name: string, call: (i: number) => Promise<unknown>, everyMs: number, taken: number[]): Promise<void> {
    const under = new Set<Promise<void>>();
    const beganMs = performance.now() + everyMs * Math.random();
    for (let i = 0; !this.#isOver; i++) {
      const dueMs = beganMs + i * everyMs;
      await sleep(Math.max(dueMs - performance.now(), 0));
      const sentMs = performance.now();
      const { promise: late, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => reject(new ConnectError(LATE, Code.DeadlineExceeded)), CALL_MAX_MS);
      const one = async (): Promise<void> => {
        try {
          await Promise.race([call(i), late]);
        } catch (error) {
          const what = `${name}: ${describe(error)}`;
          this.#refused[what] = (this.#refused[what] ?? 0) + 1;
        }
        clearTimeout(timer);
        taken.push(performance.now() - sentMs);
      };
      const running: Promise<void> = one().finally(() => under.delete(running));
      under.add(running);
      if (under.size >= UNDER_WAY_MAX) await Promise.race(under);
    }
    await Promise.all(under);
  }
}

function describe(thrown: unknown): string {
  const error = ConnectError.from(thrown);
  const [detail] = error.findDetails(ErrorDetailSchema);
  const reason = detail && ErrorReasonSchema.value[detail.reason]?.name.replace('ERROR_REASON_', '');
  return `${Code[error.code]} ${reason ?? error.rawMessage}`;
}
