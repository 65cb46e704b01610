import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'node:http';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ErrorDetailSchema, ErrorReasonSchema } from '../gen/kith/error/v1/error_pb.ts';
import { readCursor } from '../src/activity/log/cursor.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { type Instance, onServer, SECRET, type Store, toLogRow } from './cluster.ts';
import type { Batch, CaughtUp, Listed, Message, Position, View, Violation, Wanted, WatchHistory } from './history.ts';
import type { Random } from './random.ts';

/** The actions that are written, some below others. */
export const ACTIONS = [
  'page.viewed',
  'page.left',
  'shop.cart',
  'shop.cart.added',
  'shop.cartoon',
  'shop.paid',
] as const;

/** How long a call may take, milliseconds: less than a fault lasts, so that outcomes stay unknown. */
const CALL_MAX_MS = 2500;

/** What watchers and writers share. */
export interface Surroundings {
  readonly instances: readonly Instance[];
  readonly store: Store;
  /** May watch and record for everybody. */
  readonly editor: Account;
  /** May watch themselves. */
  readonly users: readonly Account[];
  /** The ids of events whose writers have had an answer, in the order of the answers. */
  readonly acknowledged: string[];
  readonly report: (violation: Violation) => void;
}

export interface Account {
  readonly id: string;
  readonly accessToken: string;
}

const keyring = createKeyring(SECRET);

/** The place that a cursor stands for. */
function placeOf(cursor: string): Position {
  return readCursor(keyring, cursor).end;
}

/** What a watch from this cursor leaves out beyond that place. */
function viewOf(cursor: string): View {
  const { newest, running } = readCursor(keyring, cursor);
  return { newest, running };
}

/** A connection to one instance. Disposing ends it with all that runs on it. */
interface Line<T extends DescService> extends Disposable {
  readonly client: Client<T>;
}

const PROTOCOLS = ['grpc', 'grpc-web', 'connect', 'connect json'] as const;
type Protocol = (typeof PROTOCOLS)[number];

export function openLine<T extends DescService>(
  service: T,
  baseUrl: string,
  accessToken: string | undefined,
  protocol: Protocol,
): Line<T> {
  const interceptors: Interceptor[] = [
    (next) => (request) => {
      if (accessToken !== undefined) request.header.set('authorization', `Bearer ${accessToken}`);
      return next(request);
    },
  ];
  const line = (transport: Transport, close: () => void): Line<T> => ({
    client: createClient(service, transport),
    [Symbol.dispose]: close,
  });
  if (protocol === 'grpc' || protocol === 'connect') {
    const sessionManager = new Http2SessionManager(baseUrl);
    const options = { baseUrl, interceptors, sessionManager };
    const transport =
      protocol === 'grpc' ? createGrpcTransport(options) : createConnectTransport({ ...options, httpVersion: '2' });
    return line(transport, () => sessionManager.abort());
  }
  const agent = new Agent({ keepAlive: false });
  const options = { baseUrl, interceptors, httpVersion: '1.1', nodeOptions: { agent } } as const;
  const transport =
    protocol === 'grpc-web'
      ? createGrpcWebTransport(options)
      : createConnectTransport({ ...options, useBinaryFormat: false });
  return line(transport, () => agent.destroy());
}

/** Codes that a server says of its own accord while it, or its database, goes away or has too much to do. */
const PASSING = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.ResourceExhausted, Code.Aborted]);

/** What a server refused that it should not have; undefined for what a broken connection looks like. */
function refusalIn(error: ConnectError): string | undefined {
  const detail = error.findDetails(ErrorDetailSchema)[0];
  if (detail === undefined || PASSING.has(error.code)) return undefined;
  return `${Code[error.code]} ${ErrorReasonSchema.value[detail.reason]?.name}: ${error.rawMessage}`;
}

/** Appends batches, one after the other, until it is stopped. */
export class Writer {
  readonly batches: Batch[] = [];
  readonly #around: Surroundings;
  readonly #random: Random;
  readonly #name: string;
  readonly #lines = new Map<Instance, Line<typeof ActivityService>>();
  #isStopping = false;

  constructor(name: string, around: Surroundings, random: Random) {
    this.#name = name;
    this.#around = around;
    this.#random = random;
  }

  /** Resolves when the batch under way has come to an end. */
  stop(): void {
    this.#isStopping = true;
  }

  async run(): Promise<void> {
    const random = this.#random;
    while (!this.#isStopping) {
      const kind = random.weighted({ single: 5, few: 3, many: 1 });
      const size = { single: 1, few: random.int(2, 10), many: random.int(11, 100) }[kind];
      const userIds = Array.from({ length: size }, () => random.pick(this.#around.users).id);
      await this.append(
        userIds.map((userId) => ({ userId, action: random.pick(ACTIONS) })),
        // Some callers have no request id and cannot try again; some give up.
        Number(random.weighted({ 0: 1, 2: 1, 1000: 8 })),
      );
      await sleep(random.int(0, random.chance(0.1) ? 400 : 60));
    }
  }

  /** Appends one batch, with so many further attempts while the outcome is unknown. */
  async append(events: readonly { userId: string; action: string }[], retries = 1000): Promise<Batch['outcome']> {
    const random = this.#random;
    const name = `${this.#name}-${this.batches.length}`;
    const requestId = retries === 0 ? '' : random.uuid();
    const activities = events.map((event, index) => ({ ...event, attributes: { batch: name, index: String(index) } }));
    let outcome: Batch['outcome'] = 'indeterminate';
    let ids: string[] | undefined;
    const at = this.batches.push({ name, author: this.#name, size: events.length, outcome, ids }) - 1;
    for (let left = retries; ; left--) {
      try {
        const request = { activities, requestId };
        const options = { timeoutMs: CALL_MAX_MS };
        const answer = await this.#line(random.pick(this.#around.instances)).recordUserActivity(request, options);
        ids = answer.activities.map(({ id }) => id);
        outcome = 'acknowledged';
        this.#around.acknowledged.push(...ids);
        break;
      } catch (thrown) {
        const refusal = refusalIn(ConnectError.from(thrown));
        if (refusal !== undefined) this.#around.report({ kind: 'refused', where: name, what: refusal });
        if (left === 0) break;
        await sleep(random.int(20, 300));
      }
    }
    this.batches[at] = { name, author: this.#name, size: events.length, outcome, ids };
    return outcome;
  }

  close(): void {
    for (const line of this.#lines.values()) line[Symbol.dispose]();
  }

  #line(instance: Instance): Client<typeof ActivityService> {
    const { accessToken } = this.#around.editor;
    const line = this.#lines.get(instance) ?? openLine(ActivityService, instance.address, accessToken, 'grpc');
    this.#lines.set(instance, line);
    return line.client;
  }
}

/** Follows the log until it is told that it has come to the end. */
export interface Follower {
  readonly history: WatchHistory;
  /** Streams opened, the first and those that went on from a cursor. */
  readonly opened: number;
  run(): Promise<void>;
  /** Whether a message of this row, or of a later one, has come. */
  hasReached(place: Position): boolean;
  /** From now on nothing is done that would hold it up. */
  hurry(): void;
  stop(): void;
}

export interface WatcherOptions {
  readonly name: string;
  readonly wanted: Wanted;
  readonly accessToken: string;
  /** Whether it lists first, and watches from where the list ends. */
  readonly listsFirst: boolean;
  readonly protocol: Protocol;
  /** How likely it is to stand still after a message. */
  readonly slowness: number;
}

/** Watches as a client should: each end, of whatever kind, is followed by another stream from the last cursor. */
export class Watcher implements Follower {
  readonly #around: Surroundings;
  readonly #random: Random;
  readonly #options: WatcherOptions;
  readonly #messages: Message[] = [];
  readonly #caughtUps: CaughtUp[] = [];
  #start: Position | undefined;
  #before: View | undefined;
  #listed: Listed | undefined;
  #cursor = '';
  #opened = 0;
  #stream = new AbortController();
  #isStopping = false;
  #isHurrying = false;

  constructor(around: Surroundings, random: Random, options: WatcherOptions) {
    this.#around = around;
    this.#random = random;
    this.#options = options;
  }

  get history(): WatchHistory {
    const { name, wanted } = this.#options;
    return {
      name,
      wanted,
      start: this.#start,
      messages: this.#messages,
      caughtUps: this.#caughtUps,
      ...(this.#before !== undefined && { before: this.#before }),
      ...(this.#listed !== undefined && { listed: this.#listed }),
    };
  }

  get opened(): number {
    return this.#opened;
  }

  hasReached(place: Position): boolean {
    const last = this.#messages.at(-1)?.at;
    return (
      last !== undefined && (last.writer > place.writer || (last.writer === place.writer && last.seq >= place.seq))
    );
  }

  hurry(): void {
    this.#isHurrying = true;
    this.#stream.abort();
  }

  stop(): void {
    this.#isStopping = true;
    this.#stream.abort();
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      this.#stream = new AbortController();
      // It leaves by itself now and then, and so never waits for a connection that is dead unnoticed.
      const timer = setTimeout(() => this.#stream.abort(), this.#random.int(500, this.#isHurrying ? 20_000 : 8000));
      try {
        if (this.#options.listsFirst && this.#listed === undefined) await this.#list(this.#stream.signal);
        await this.#follow(this.#stream.signal);
      } catch (thrown) {
        const refusal = refusalIn(ConnectError.from(thrown));
        if (refusal !== undefined) this.#around.report({ kind: 'refused', where: this.#options.name, what: refusal });
      }
      clearTimeout(timer);
      await sleep(this.#random.int(0, 500));
    }
  }

  /** Reads all pages, each from any instance; what fails on the way is begun again. */
  async #list(signal: AbortSignal): Promise<void> {
    const { wanted, accessToken, protocol } = this.#options;
    const known = this.#around.acknowledged.length;
    const ids: string[] = [];
    let watchCursor = '';
    let pageToken = '';
    do {
      using line = openLine(ActivityService, this.#random.pick(this.#around.instances).address, accessToken, protocol);
      const request = { ...requestFor(wanted), pageSize: this.#random.int(5, 400), pageToken };
      const page = await line.client.listUserActivity(request, { signal, timeoutMs: CALL_MAX_MS });
      ids.push(...page.activities.map(({ id }) => id));
      if (pageToken === '') ({ watchCursor } = page);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    this.#listed = { ids, known };
    this.#cursor = watchCursor;
    this.#start = placeOf(watchCursor);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { wanted, accessToken, protocol } = this.#options;
    using line = openLine(ActivityService, this.#random.pick(this.#around.instances).address, accessToken, protocol);
    let isOpen = false;
    let isCaughtUp = false;
    const known = this.#around.acknowledged.length;
    const request = { ...requestFor(wanted), afterCursor: this.#cursor };
    for await (const { activity, cursor, caughtUp } of line.client.watchUserActivity(request, { signal })) {
      if (caughtUp && !isCaughtUp) this.#caughtUps.push({ known, messages: this.#messages.length });
      isCaughtUp ||= caughtUp;
      const at = placeOf(cursor);
      if (!isOpen) this.#opened += 1;
      isOpen = true;
      if (this.#start === undefined) {
        this.#start = at;
        this.#before = viewOf(cursor);
      }
      this.#messages.push({ id: activity?.id, at });
      this.#cursor = cursor;
      if (this.#isHurrying || signal.aborted || !this.#random.chance(this.#options.slowness)) continue;
      await sleep(this.#random.int(10, 2000));
    }
  }
}

/**
 * A reader that goes on from the highest number it has seen, as one would first
 * think of. It asks the database itself: this is no part of Kith.
 */
export class NaiveReader implements Follower {
  readonly #around: Surroundings;
  readonly #name: string;
  readonly #messages: Message[] = [];
  #start: Position | undefined;
  #seq = 0;
  #opened = 0;
  #isStopping = false;

  constructor(name: string, around: Surroundings) {
    this.#name = name;
    this.#around = around;
  }

  get history(): WatchHistory {
    const wanted = { userId: undefined, action: '', withPrivate: true };
    return { name: this.#name, wanted, start: this.#start, messages: this.#messages, caughtUps: [] };
  }

  get opened(): number {
    return this.#opened;
  }

  hasReached({ seq }: Position): boolean {
    return this.#seq >= seq;
  }

  hurry(): void {}

  stop(): void {
    this.#isStopping = true;
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      this.#opened += 1;
      await onServer(this.#around.store.url, async (client) => {
        for (; !this.#isStopping; await sleep(20)) {
          const found = 'select writer, seq, id, user_id, action, private, attributes from activity where seq > $1';
          const { rows } = await client.query(`${found} order by seq`, [this.#seq]);
          const log = rows.map(toLogRow);
          this.#seq = log.at(-1)?.seq ?? this.#seq;
          // What is there when it begins is not its concern.
          if (this.#start === undefined) this.#start = log.at(-1) ?? { writer: 0, seq: 0 };
          else for (const { id, writer, seq } of log) this.#messages.push({ id, at: { writer, seq } });
        }
      }).catch(() => sleep(100));
    }
  }
}

function requestFor({ userId, action }: Wanted): { userId: string; actionPrefixes: string[] } {
  return { userId: userId ?? '', actionPrefixes: action === '' ? [] : [action] };
}

/** A watcher of some kind. */
export function randomWatcher(name: string, around: Surroundings, random: Random): Watcher {
  const { users, editor } = around;
  const user = random.pick(users);
  const action = random.weighted({ '': 4, shop: 1, 'shop.cart': 1, 'page.viewed': 1, 'page.left': 1 });
  const options = {
    everybody: { wanted: { userId: undefined, action, withPrivate: false }, accessToken: editor.accessToken },
    somebody: { wanted: { userId: user.id, action, withPrivate: false }, accessToken: editor.accessToken },
    self: { wanted: { userId: user.id, action, withPrivate: true }, accessToken: user.accessToken },
  }[random.weighted({ everybody: 5, somebody: 3, self: 2 })];
  return new Watcher(around, random, {
    name: `${name}, ${options.wanted.userId === undefined ? 'everybody' : 'one user'}, ${action || 'any action'}`,
    ...options,
    listsFirst: random.chance(0.5),
    protocol: random.weighted({ grpc: 5, 'grpc-web': 1, connect: 1, 'connect json': 1 }),
    slowness: random.pick([0, 0, 0.02, 0.3]),
  });
}
