import { randomUUIDv7 } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ACTIONS, type Surroundings } from './clients.ts';
import { onServer } from './cluster.ts';
import type { Batch } from './history.ts';
import type { Random } from './random.ts';

const EVERYWHERE = {
  kill: 2,
  stop: 2,
  pause: 2,
  cut: 3,
  stall: 2,
};

const ON_A_SERVER = {
  ...EVERYWHERE,
  'database stopped': 1,
  'database crashed': 2,
  'listeners ended': 2,
  'sessions ended': 1,
  'database crashed in a lull': 2,
};

type Fault = keyof typeof ON_A_SERVER;

/** The shortest and the longest time between two faults, milliseconds. */
export type Gap = readonly [min: number, max: number];

/** Does harm, one thing after the other and some at the same time. */
export class Nemesis {
  /** What was done how often. */
  readonly faults: Partial<Record<Fault | 'late commit' | 'late rollback', number>> = {};
  /** What was written late, past Kith. */
  readonly batches: Batch[] = [];
  readonly #around: Surroundings;
  readonly #random: Random;
  readonly #gap: Gap;
  readonly #ending = new AbortController();
  readonly #lasting = new Set<Promise<void>>();
  #isServerBusy = false;

  constructor(around: Surroundings, random: Random, gap: Gap) {
    this.#around = around;
    this.#random = random;
    this.#gap = gap;
  }

  /** Does harm until it is ended, then waits until all is well again. */
  async run(): Promise<void> {
    const random = this.#random.fork('faults');
    const weights = this.#around.store.server === undefined ? EVERYWHERE : ON_A_SERVER;
    const late = this.#around.store.server === undefined ? [] : ['late 1', 'late 2', 'late 3'];
    for (const name of late) this.#last(this.#writeLate(name));
    while (await this.#wait(random.int(...this.#gap))) {
      const fault = random.weighted<Fault>(weights);
      const lasting = this.#do(fault, random.fork(`${fault} ${this.faults[fault] ?? 0}`));
      if (lasting === undefined) continue;
      this.#count(fault);
      this.#last(lasting);
    }
    await Promise.all(this.#lasting);
  }

  end(): void {
    this.#ending.abort();
  }

  #last(work: Promise<void>): void {
    const lasting: Promise<void> = work.finally(() => this.#lasting.delete(lasting));
    this.#lasting.add(lasting);
  }

  #count(fault: keyof Nemesis['faults']): void {
    this.faults[fault] = (this.faults[fault] ?? 0) + 1;
  }

  /** Whether so much time could pass before the end. */
  async #wait(ms: number): Promise<boolean> {
    await sleep(ms, undefined, { signal: this.#ending.signal }).catch(() => {});
    return !this.#ending.signal.aborted;
  }

  /** Undefined when that cannot be done at the moment. */
  #do(fault: Fault, random: Random): Promise<void> | undefined {
    const instance = random.pick(this.#around.instances);
    const now = async (act: () => void): Promise<void> => act();
    const whileUp = (act: () => Promise<void>) => () => (instance.isUp ? act() : undefined);
    const faults: Record<Fault, () => Promise<void> | undefined> = {
      kill: whileUp(() => now(() => instance.kill(random.int(0, 1500)))),
      stop: whileUp(() => now(() => instance.stop(random.int(0, 500)))),
      pause: whileUp(() => this.#during(random.int(100, 5000), (isOn) => instance.pause(isOn))),
      cut: () => now(() => instance.relay.cut(() => random.chance(0.5))),
      stall: () => this.#during(random.int(100, 4000), (isOn) => instance.relay.stall(isOn)),
      'listeners ended': () => this.#endSessions('kith listener', 1),
      'sessions ended': () => this.#endSessions('kith', 0.5),
      'database stopped': () => this.#stopServer('fast', random.int(0, 3000)),
      'database crashed': () => this.#stopServer('immediate', random.int(0, 1000)),
      'database crashed in a lull': () => this.#stopServer('immediate', 0, random.int(1, 40)),
    };
    return faults[fault]();
  }

  async #during(ms: number, set: (isOn: boolean) => void): Promise<void> {
    set(true);
    await this.#wait(ms);
    set(false);
  }

  #stopServer(mode: 'fast' | 'immediate', awayMs: number, rolledBack = 0): Promise<void> | undefined {
    const { server } = this.#around.store;
    if (server === undefined || this.#isServerBusy) return undefined;
    this.#isServerBusy = true;
    return (async () => {
      if (rolledBack > 0) await this.#lull(rolledBack).catch(() => {});
      await server.stop(mode);
      await this.#wait(awayMs);
      await server.start();
      this.#isServerBusy = false;
    })();
  }

  /**
   * Keeps everybody from writing for a moment, in which transactions are rolled
   * back and watchers look at the log. What rolls back need not reach the disk: after
   * a crash, the server may give the numbers of those transactions once more.
   */
  #lull(rolledBack: number): Promise<void> {
    const { url } = this.#around.store;
    return onServer(url, async (blocking) => {
      await blocking.query("set lock_timeout = '5s'");
      await blocking.query('begin; lock table activity in exclusive mode');
      await onServer(url, async (client) => {
        for (let i = 0; i < rolledBack; i++) await client.query('begin; select pg_current_xact_id(); rollback');
        await client.query('notify kith_log');
      });
      await sleep(60);
      // The server goes away with the lock held, and so before the next commit, which would write all to the disk.
      await this.#around.store.server?.stop('immediate');
    });
  }

  async #endSessions(name: string, share: number): Promise<void> {
    await onServer(this.#around.store.url, (client) =>
      client.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 and random() < $2',
        [name, share],
      ),
    ).catch(() => {}); // the server is away: they have ended
  }

  /** Transactions that take their numbers early and commit late, or not at all. */
  async #writeLate(name: string): Promise<void> {
    const random = this.#random.fork(name);
    while (await this.#wait(random.int(0, 500))) {
      const batch = `${name}-${this.batches.length}`;
      const size = random.int(1, 5);
      const commits = random.chance(0.8);
      let outcome: Batch['outcome'] = 'undone';
      await onServer(this.#around.store.url, async (client) => {
        await client.query('begin');
        for (let index = 0; index < size; index++) {
          const attributes = JSON.stringify({ batch, index: String(index) });
          await client.query(
            `insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
            values ($1, $2, $3, '', $4, 0, $5, $5)`,
            [randomUUIDv7(), random.pick(this.#around.users).id, random.pick(ACTIONS), attributes, Date.now()],
          );
          await this.#wait(random.int(0, random.chance(0.2) ? 1000 : 100));
        }
        if (commits) outcome = 'indeterminate';
        await client.query(commits ? 'commit' : 'rollback');
        if (commits) outcome = 'acknowledged';
        this.#count(commits ? 'late commit' : 'late rollback');
      }).catch(() => sleep(100));
      this.batches.push({ name: batch, author: name, size, outcome, ids: undefined });
    }
  }
}
