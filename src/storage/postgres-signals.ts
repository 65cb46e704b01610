import type { PostgresPool } from 'kysely';
import { Client } from 'pg';
import type { Topic } from './dialect.ts';

/** The application_name of the listening connections. */
const LISTENERS: Readonly<Record<Topic, string>> = {
  log: 'kith listener',
  revocations: 'kith revocation listener',
  mails: 'kith mail listener',
};

/** At most one notification of a topic in this time, milliseconds: in the writing transaction they cut its rate to a fifth. */
const NOTIFY_INTERVAL_MS = 20;

/** How long to wait before connecting again, milliseconds. */
const RECONNECT_MS = 1000;

/** How long to wait for a connection, and for its first answer, milliseconds. */
const CONNECT_TIMEOUT_MS = 5000;

/** A function that notifies the other processes, soon, and once for many calls. */
export function createNotifier(pool: PostgresPool): (topic: Topic) => void {
  const scheduled = new Set<Topic>();
  return (topic) => {
    if (scheduled.has(topic)) return;
    scheduled.add(topic);
    setTimeout(() => {
      scheduled.delete(topic);
      // A hint: when it fails, the others find out by polling.
      run(pool, `notify ${channelOf(topic)}`).catch(() => {});
    }, NOTIFY_INTERVAL_MS);
  };
}

async function run(pool: PostgresPool, statement: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query(statement, []);
  } finally {
    client.release();
  }
}

function channelOf(topic: Topic): string {
  return `kith_${topic}`;
}

/**
 * Calls `wake` for each notification, on a connection of its own, and once after each
 * connect, since notifications that were sent while it was not connected are lost.
 */
export function listenForSignals(url: string, topic: Topic, wake: () => void): AsyncDisposable {
  const stopping = new AbortController();
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const connect = async (): Promise<void> => {
    const next = new Client({
      connectionString: url,
      application_name: LISTENERS[topic],
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CONNECT_TIMEOUT_MS,
    });
    client = next;
    let lost = false;
    const reconnect = (): void => {
      if (lost) return;
      lost = true;
      next.end().catch(() => {});
      if (!stopping.signal.aborted) timer = setTimeout(() => void connect(), RECONNECT_MS);
    };
    next.on('error', reconnect).on('end', reconnect).on('notification', wake);
    try {
      await next.connect();
      await next.query(`listen ${channelOf(topic)}`);
      wake();
    } catch {
      reconnect();
    }
  };

  void connect();
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
