import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { type PostgresServer, startPostgres } from '../test/support/postgres-server.ts';
import { type Exit, type ServingProcess, startProcess } from '../test/support/process.ts';
import type { LogRow, Violation } from './history.ts';
import { type Relay, startRelay } from './relay.ts';

export const ADMIN_PASSWORD = 'admin password of the checker';

/** The secret that all instances share. */
export const SECRET = randomBytes(32);

/** How long an instance may take to stop when asked to, milliseconds: its own limit and, on a busy machine, then some. */
const STOP_MAX_MS = 60_000;

/** Where the instances of one round store their data. */
export interface Store extends AsyncDisposable {
  /** KITH_DATABASE_URL. */
  readonly url: string;
  /** The server, where there is one. */
  readonly server: PostgresServer | undefined;
  /** The log of activity as it is, by a way of its own. */
  readLog(): Promise<LogRow[]>;
}

/** A server that keeps what it acknowledged, whatever happens to it. */
export function startServer(): Promise<PostgresServer> {
  return startPostgres({ max_connections: '200', shared_buffers: '32MB' });
}

/** An empty database on a server that runs, or in a file. */
export async function createStore(server: PostgresServer | undefined, name: string): Promise<Store> {
  return server === undefined ? createFile() : createDatabase(server, name);
}

const LOG_COLUMNS = 'writer, seq, id, user_id, action, private, attributes';

async function createDatabase(server: PostgresServer, name: string): Promise<Store> {
  await onServer(server.url('postgres'), (client) => client.query(`create database ${name}`));
  const url = server.url(name);
  return {
    url,
    server,
    async readLog() {
      const { rows } = await onServer(url, (client) => client.query(`select ${LOG_COLUMNS} from activity`));
      return rows.map(toLogRow);
    },
    async [Symbol.asyncDispose]() {
      await onServer(server.url('postgres'), (client) => client.query(`drop database ${name} with (force)`));
    },
  };
}

async function createFile(): Promise<Store> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-check-'));
  const file = join(dir, 'kith.db');
  return {
    url: `sqlite:${file}`,
    server: undefined,
    async readLog() {
      using db = new DatabaseSync(file, { readOnly: true });
      return db.prepare(`select ${LOG_COLUMNS} from activity`).all().map(toLogRow);
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

export function toLogRow(row: Record<string, unknown>): LogRow {
  const { batch, index } = JSON.parse(String(row['attributes'])) as { batch?: string; index?: string };
  return {
    writer: Number(row['writer']),
    seq: Number(row['seq']),
    id: String(row['id']),
    userId: String(row['user_id']),
    action: String(row['action']),
    isPrivate: Number(row['private']) === 1,
    origin: batch === undefined ? undefined : { batch, index: Number(index) },
  };
}

/** Runs `work` on a connection of its own. */
export async function onServer<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000, application_name: 'checker' });
  client.on('error', () => {}); // the query under way says so
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * One instance of Kith, a process of its own behind a relay, which is started
 * again whenever it has ended, as a service manager would.
 */
export class Instance implements AsyncDisposable {
  readonly name: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #relay: Relay;
  readonly #report: (violation: Violation) => void;
  #process: ServingProcess | undefined;
  #isPaused = false;
  /** How the process is being ended; undefined while it is meant to run. */
  #ending: 'killed' | 'stopped' | undefined;
  #isOver = false;
  #restartMs = 0;
  #supervising: Promise<void> | undefined;

  constructor(name: string, store: Store, relay: Relay, report: (violation: Violation) => void) {
    this.name = name;
    this.#relay = relay;
    this.#report = report;
    this.#env = {
      KITH_DATABASE_URL: store.url,
      KITH_SECRET_KEY: SECRET.toString('base64'),
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_SHUTDOWN_SECONDS: '3',
      // A paused instance that left a transaction open holds the others back for no longer than this.
      KITH_DATABASE_IDLE_MS: '3000',
      KITH_ISSUER: 'http://kith.example',
      KITH_LOG_LEVEL: 'error',
    };
  }

  static async start(name: string, store: Store, report: (violation: Violation) => void): Promise<Instance> {
    const instance = new Instance(name, store, await startRelay(), report);
    await instance.#startProcess();
    instance.#supervising = instance.#supervise();
    return instance;
  }

  /** As a URL without a path; it stays the same. */
  get address(): string {
    return this.#relay.address;
  }

  get isUp(): boolean {
    return this.#process !== undefined && !this.#isPaused && this.#ending === undefined;
  }

  get relay(): Relay {
    return this.#relay;
  }

  /** Ends the process without warning, to be started again some time later. */
  kill(restartMs: number): void {
    this.#end('killed', 'SIGKILL', restartMs);
  }

  /** Asks the process to stop, to be started again some time after it has. */
  stop(restartMs: number): void {
    const process = this.#end('stopped', 'SIGTERM', restartMs);
    if (process === undefined) return;
    const timer = setTimeout(() => {
      this.#report({ kind: 'process', where: this.name, what: 'did not stop when asked to' });
      this.#ending = 'killed';
      process.kill('SIGKILL');
    }, STOP_MAX_MS);
    void process.exited.finally(() => clearTimeout(timer));
  }

  /** Makes the process stand still, or go on. */
  pause(isPaused: boolean): void {
    if (this.#process === undefined || this.#isPaused === isPaused) return;
    this.#isPaused = isPaused;
    this.#process.kill(isPaused ? 'SIGSTOP' : 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#end('killed', 'SIGKILL', 0);
    this.#process?.kill('SIGKILL');
    await this.#supervising;
    await this.#relay[Symbol.asyncDispose]();
  }

  #end(how: 'killed' | 'stopped', signal: NodeJS.Signals, restartMs: number): ServingProcess | undefined {
    if (!this.isUp) return undefined;
    this.#ending = how;
    this.#restartMs = restartMs;
    this.#process?.kill(signal);
    return this.#process;
  }

  async #startProcess(): Promise<void> {
    this.#process = await startProcess({ env: this.#env });
    this.#relay.upstream = this.#process.address;
  }

  async #supervise(): Promise<void> {
    while (this.#process !== undefined) {
      const process: ServingProcess = this.#process;
      this.#judge(await process.exited);
      this.#relay.upstream = undefined;
      this.#process = undefined;
      this.#isPaused = false;
      await process[Symbol.asyncDispose]();
      await sleep(this.#restartMs);
      while (!this.#isOver && this.#process === undefined) {
        this.#ending = undefined;
        // While the database is away, a start says so and ends.
        await this.#startProcess().catch(() => sleep(300));
      }
      if (this.#isOver) this.kill(0);
    }
  }

  #judge({ code, signal, stdout, stderr }: Exit): void {
    for (const line of stdout.split('\n')) {
      if (!/call failed|could not be written/.test(line)) continue; // logged as an error: the fault is the code's own
      this.#report({ kind: 'process', where: this.name, what: line.slice(0, 3000) });
    }
    const expected = { killed: 'SIGKILL', stopped: 0, running: undefined }[this.#ending ?? 'running'];
    if (this.#isOver || (signal ?? code) === expected) return;
    const what = `ended with ${signal ?? code}, ${this.#ending ?? 'unasked'}: ${stderr.slice(-2000)}`;
    this.#report({ kind: 'process', where: this.name, what });
  }
}
