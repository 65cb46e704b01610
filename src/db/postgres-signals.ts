import { Client, type Pool } from 'pg';

const CHANNEL = 'kith_log';

/** At most one notification in this time, milliseconds: in the writing transaction they cut its rate to a fifth. */
const NOTIFY_INTERVAL_MS = 20;

/** How long to wait before connecting again, milliseconds. */
const RECONNECT_MS = 1000;

/** How long to wait for a connection, and for its first answer, milliseconds. */
const CONNECT_TIMEOUT_MS = 5000;

/** A function that tells the other processes, soon and once for many calls. */
export function createNotifier(pool: Pool): () => void {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    setTimeout(() => {
      scheduled = false;
      // A hint: when it fails, the others find out by polling.
      pool.query(`notify ${CHANNEL}`).catch(() => {});
    }, NOTIFY_INTERVAL_MS);
  };
}

/**
 * Calls `wake` for each notification, on a connection of its own, and once after
 * each time it connected: what was notified in between was not heard.
 */
export function listenForSignals(url: string, wake: () => void): AsyncDisposable {
  const stopping = new AbortController();
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const connect = async (): Promise<void> => {
    const next = new Client({
      connectionString: url,
      application_name: 'kith listener',
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
      await next.query(`listen ${CHANNEL}`);
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
