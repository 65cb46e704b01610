import { createHash } from 'node:crypto';
import { DatabaseError as ServerError, type Pool, type PoolClient } from 'pg';

/** After how long without an answer those who wait behind one that is slow are asked for elsewhere, milliseconds. */
const STALL_MS = 250;

/**
 * SQLSTATE codes of a prepared statement that cannot be run: gone, there already (both
 * behind a pooler that hands sessions around), or prepared before its table changed.
 */
const UNPREPARED = new Set(['26000', '42P05', '0A000']);
const QUERY_CANCELED = '57014'; // it took too long
const SHUTDOWN = /^57P/; // of the server, or of this session

interface Read {
  readonly text: string;
  readonly values: unknown[];
  /** Of the prepared statement; without one the text is parsed each time. */
  readonly name: string | undefined;
  readonly resolve: (row: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads by prepared statements that are not part of a transaction, all over one
 * connection of the pool, one behind the other without waiting for answers
 * (https://node-postgres.com/features/pipelining): less work for Node than a
 * connection and a round trip for each. It has the connection while there is
 * something to read and nobody else waits for one. The pool's clients must be made
 * with `pipeline`.
 *
 * The server answers in order: where one read is slow, those behind it are sent
 * again over another connection after STALL_MS. Whoever is answered first counts.
 */
export class PostgresReader {
  readonly #pool: Pool;
  readonly #limitMs: number;
  readonly #names = new Map<string, string>();
  #pipeline: Pipeline | undefined;
  #waiting: Read[] = [];
  #isConnecting = false;

  /** Connections that stand still for longer than `limitMs` are given up. */
  constructor(pool: Pool, limitMs: number) {
    this.#pool = pool;
    this.#limitMs = limitMs;
  }

  /** The first row that a query finds. Rejects with the errors of pg. */
  first(text: string, parameters: readonly unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#send({ text, values: [...parameters], name: this.#nameOf(text), resolve, reject });
    });
  }

  #send(read: Read): void {
    const { waitingCount, idleCount, ending } = this.#pool;
    if (waitingCount > idleCount || ending) this.#pipeline?.close();
    if (this.#pipeline?.isOpen) {
      this.#pipeline.send(read);
      return;
    }
    this.#waiting.push(read);
    if (!this.#isConnecting) void this.#connect();
  }

  async #connect(): Promise<void> {
    this.#isConnecting = true;
    const asking = this.#waiting;
    this.#waiting = [];
    try {
      const client = await this.#pool.connect();
      const pipeline = new Pipeline(client, this.#limitMs, (read) => this.#send(read));
      this.#pipeline = pipeline;
      for (const read of asking) pipeline.send(read);
      for (const read of this.#waiting) pipeline.send(read);
      this.#waiting = [];
    } catch (error) {
      for (const { reject } of asking) reject(error);
    }
    this.#isConnecting = false;
    // Who came while there was no connection to be had is not refused before the time.
    if (this.#waiting.length > 0) void this.#connect();
  }

  /** The same for the same text in all processes: a session behind a pooler may be that of another. */
  #nameOf(text: string): string {
    let name = this.#names.get(text);
    if (name === undefined) {
      name = `kith_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
      this.#names.set(text, name);
    }
    return name;
  }
}

/** A connection of the pool, from when it is taken until all that was sent over it is answered. */
class Pipeline {
  isOpen = true;
  readonly #client: PoolClient;
  readonly #limitMs: number;
  readonly #sendElsewhere: (read: Read) => void;
  /** In the order they were sent, without those that were sent elsewhere as well. */
  readonly #reads = new Set<Read>();
  #unanswered = 0;
  #answers = 0;
  /** Whether the connection is lost, or has statements that cannot be used. */
  #isFailed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: PoolClient, limitMs: number, sendElsewhere: (read: Read) => void) {
    this.#client = client;
    this.#limitMs = limitMs;
    this.#sendElsewhere = sendElsewhere;
    this.#watch();
  }

  send(read: Read): void {
    this.#reads.add(read);
    this.#unanswered++;
    const { name, text, values } = read;
    this.#client.query({ name, text, values }, (error: Error | null, result) => {
      this.#unanswered--;
      this.#answers++;
      if (error === null) {
        this.#reads.delete(read);
        read.resolve(result.rows[0]);
      } else {
        this.#fail(read, error);
      }
      if (this.#unanswered === 0) this.#release();
    });
  }

  /** Takes no more. */
  close(): void {
    this.isOpen = false;
  }

  #fail(read: Read, error: Error): void {
    const isWaitedFor = this.#reads.delete(read);
    const code = error instanceof ServerError ? (error.code ?? '') : undefined; // without one the connection is lost
    if (code === QUERY_CANCELED && this.#unanswered > 0) {
      // What is behind may well take as long, one after the other.
      this.#leave([...this.#reads]);
      cut(this.#client);
    } else if (code === undefined || UNPREPARED.has(code) || SHUTDOWN.test(code)) {
      this.close();
      this.#isFailed = true;
    }
    if (!isWaitedFor) return; // another connection answers
    if (UNPREPARED.has(code ?? '') && read.name !== undefined) this.#sendElsewhere({ ...read, name: undefined });
    else read.reject(error);
  }

  #release(): void {
    this.close();
    clearTimeout(this.#timer);
    this.#client.release(this.#isFailed);
  }

  #watch(): void {
    const answers = this.#answers;
    this.#timer = setTimeout(() => {
      // Answers that came while this thread was busy are read first.
      setImmediate(() => {
        if (this.#unanswered === 0) return;
        if (this.#answers === answers) this.#stall();
        else this.#watch();
      });
    }, STALL_MS);
  }

  /** Nothing is answered: the first read is slow, or the server is gone without a word. */
  #stall(): void {
    const [, ...behind] = this.#reads;
    this.#leave(behind);
    this.#timer = setTimeout(() => cut(this.#client), this.#limitMs);
  }

  #leave(reads: readonly Read[]): void {
    this.close();
    for (const read of reads) {
      this.#reads.delete(read);
      this.#sendElsewhere(read);
    }
  }
}

/** Ends a connection at once, with statements under way, which fail. */
export function cut(client: PoolClient): void {
  void client.end(); // that alone would wait for them
  client.connection.stream.destroy();
}
