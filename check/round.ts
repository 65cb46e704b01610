import { setTimeout as sleep } from 'node:timers/promises';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import type { PostgresServer } from '../test/support/postgres-server.ts';
import {
  type Account,
  ACTIONS,
  type Follower,
  NaiveReader,
  openLine,
  randomWatcher,
  type Surroundings,
  Writer,
} from './clients.ts';
import { ADMIN_PASSWORD, createStore, Instance } from './cluster.ts';
import {
  checkBatches,
  checkWatch,
  compare,
  isWanted,
  type LogRow,
  type Violation,
  type WatchHistory,
} from './history.ts';
import { type Gap, Nemesis } from './nemesis.ts';
import { Random } from './random.ts';
import { signedIn } from '../test/support/sign-in.ts';

export interface RoundOptions {
  readonly seed: number;
  /** How long writers write and faults happen, seconds. */
  readonly seconds: number;
  readonly instances: number;
  /** Undefined: each round has a SQLite file, and one instance. */
  readonly server: PostgresServer | undefined;
  readonly reader: 'watch' | 'naive';
  readonly gap?: Gap;
}

/** What came of one seed. */
export interface Round {
  readonly seed: number;
  readonly seconds: number;
  /** Events in the table. */
  readonly written: number;
  /** Events whose writers know that they are written. */
  readonly acknowledged: number;
  /** Events whose writers do not know. */
  readonly indeterminate: number;
  /** Events that watchers received. */
  readonly delivered: number;
  readonly watches: number;
  /** Streams that went on from a cursor. */
  readonly resumed: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly violations: readonly Violation[];
  /** What the violations are found in. */
  readonly evidence: { readonly log: readonly LogRow[]; readonly histories: readonly WatchHistory[] };
}

const USERS = 5;
const WRITERS = 5;
const WATCHERS = 12;
const GAP: Gap = [100, 2500];

/** How long watchers may take to come to the end once nothing holds them up, milliseconds: a machine may have much else to do. */
const DRAIN_MAX_MS = 300_000;

/** Runs one seed: writers, watchers and faults for some time, then the comparison. */
export async function runRound({
  seed,
  seconds,
  instances: count,
  server,
  reader,
  gap = GAP,
}: RoundOptions): Promise<Round> {
  const random = new Random(`seed ${seed}`);
  const violations: Violation[] = [];
  const report = (violation: Violation): void => void violations.push(violation);
  await using opened = new AsyncDisposableStack();

  const store = opened.use(await createStore(server, `round_${seed}`));
  const instances = [opened.use(await Instance.start('instance 1', store, report))]; // it makes the tables
  const others = Array.from({ length: server === undefined ? 0 : count - 1 }, (_, i) => `instance ${i + 2}`);
  for (const started of await Promise.all(others.map((name) => Instance.start(name, store, report)))) {
    instances.push(opened.use(started));
  }
  const around: Surroundings = {
    instances,
    store,
    ...(await createAccounts(instances[0]!, random)),
    acknowledged: [],
    report,
  };

  const writers = Array.from({ length: WRITERS }, (_, i) => {
    const name = `writer ${i + 1}`;
    return opened.adopt(new Writer(name, around, random.fork(name)), (writer) => writer.close());
  });
  const writing = writers.map((writer) => writer.run());
  const nemesis = new Nemesis(around, random.fork('nemesis'), gap);
  const followers: Follower[] = [];
  const following: Promise<void>[] = [];
  const follow = (follower: Follower): void => {
    followers.push(follower);
    following.push(follower.run());
  };
  if (reader === 'naive') for (const name of ['reader 1', 'reader 2']) follow(new NaiveReader(name, around));
  else for (let i = 1; i <= WATCHERS / 2; i++) follow(newWatcher(i));
  await sleep(500);
  const harming = nemesis.run();
  const endMs = performance.now() + seconds * 1000;
  // The others come while it goes on, some from where a list ends.
  while (reader === 'watch' && followers.length < WATCHERS && performance.now() < endMs) {
    await sleep((seconds * 500) / WATCHERS);
    follow(newWatcher(followers.length + 1));
  }
  await sleep(Math.max(endMs - performance.now(), 0));

  nemesis.end();
  await harming;
  for (const writer of writers) writer.stop();
  await Promise.all(writing);
  for (const follower of followers) follower.hurry();
  // One event of each kind, so that there is a last one for each watcher to come to.
  await writers[0]!.append(around.users.flatMap(({ id }) => ACTIONS.map((action) => ({ userId: id, action }))));
  const log = await store.readLog();
  await drain(followers, log);
  for (const follower of followers) follower.stop();
  await Promise.all(following);

  const batches = [...writers.flatMap((writer) => writer.batches), ...nemesis.batches];
  const histories = followers.map(({ history }) => history);
  violations.push(
    ...checkBatches(batches, log),
    ...histories.flatMap((history) => checkWatch(history, log, around.acknowledged)),
  );
  const eventsThatAre = (outcome: string): number =>
    batches.reduce((sum, batch) => sum + (batch.outcome === outcome ? batch.size : 0), 0);
  return {
    seed,
    seconds,
    written: log.length,
    acknowledged: eventsThatAre('acknowledged'),
    indeterminate: eventsThatAre('indeterminate'),
    delivered: histories.reduce((sum, { messages }) => sum + messages.filter(({ id }) => id !== undefined).length, 0),
    watches: followers.length,
    resumed: followers.reduce((sum, follower) => sum + Math.max(follower.opened - 1, 0), 0),
    faults: nemesis.faults,
    violations,
    evidence: { log, histories },
  };

  function newWatcher(i: number): Follower {
    const name = `watcher ${i}`;
    return randomWatcher(name, around, random.fork(name));
  }
}

/** Waits until each follower has received the last row that it asks for. */
async function drain(followers: readonly Follower[], log: readonly LogRow[]): Promise<void> {
  const endMs = performance.now() + DRAIN_MAX_MS;
  const ordered = log.toSorted(compare);
  for (const follower of followers) {
    const last = ordered.findLast((row) => isWanted(follower.history.wanted, row));
    while (last !== undefined && !follower.hasReached(last) && performance.now() < endMs) await sleep(50);
  }
}

async function createAccounts(instance: Instance, random: Random): Promise<{ editor: Account; users: Account[] }> {
  const signIn = async (identifier: string, password: string): Promise<Account> => {
    using line = openLine(AuthService, instance.address, undefined, 'grpc');
    const { user, accessToken } = await signedIn(line.client.login({ identifier, password }));
    return { id: user.id, accessToken };
  };
  const { accessToken } = await signIn('admin', ADMIN_PASSWORD);
  using line = openLine(UserService, instance.address, accessToken, 'grpc');
  const create = async (username: string, role: Role): Promise<Account> => {
    const password = `password ${random.uuid()}`;
    await line.client.createUser({ username, email: `${username}@example.org`, name: username, role, password });
    return signIn(username, password);
  };
  const editor = await create('editor', Role.EDITOR);
  const users: Account[] = [];
  for (let i = 1; i <= USERS; i++) users.push(await create(`user${i}`, Role.VIEWER));
  return { editor, users };
}
