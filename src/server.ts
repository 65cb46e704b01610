import { setTimeout as sleep } from 'node:timers/promises';
import type { Config, Reloadable } from './config/config.ts';
import { createLogger } from './http/logger.ts';
import { replaceCertificate } from './http/one-port.ts';
import type { Clock } from './kernel/clock.ts';
import { createFirstAdmin } from './identity/users/users.ts';
import type { MailSender } from './mail/sender.ts';
import { createWebhookSender } from './mail/webhook-sender.ts';
import { startMailWorker } from './mail/worker.ts';
import { startPurging } from './purge.ts';
import { type AppOptions, openApp } from './server/app.ts';
import { createHandlers, type HandlersOptions, readContract } from './server/handlers.ts';
import { listen, stopListening } from './server/listen.ts';
import { findTracing } from './tracing/tracing.ts';

/** A server that listens. */
export interface Server {
  /** As a URL without a path. */
  readonly address: string;
  /** The administrator that this start created, if it did. */
  readonly createdAdmin: { readonly username: string } | undefined;
  /** How many subscriptions to activity and revocations there are: two for each watch of activity. */
  subscriptions(): number;
  /** Goes on with another certificate and log level and other templates of mails. Closes no connection. Without TLS so far, it stays without. */
  reload(settings: Reloadable): void;
  /** Does what the first calls would wait for, in slices of the event loop. Ends early where the server stops. */
  warmUp(): Promise<void>;
  /**
   * Stops: not ready any more, then no new connections, GOAWAY, streams end with
   * UNAVAILABLE, running calls finish or, when their time is up, end likewise.
   */
  stop(): Promise<void>;
}

/** What tests set, and the number of the process among those that share the port. */
export interface ServerOptions extends Omit<AppOptions, 'tracing'>, Pick<HandlersOptions, 'worker' | 'stalledWriteMs'> {
  /** How often the outbox is read when nobody says that there is a mail, milliseconds. */
  readonly mailPollMs?: number | undefined;
  /** How often what is past its time is removed, milliseconds. */
  readonly purgeIntervalMs?: number | undefined;
}

/** The name of the first administrator. */
const ADMIN_USERNAME = 'admin';

const PURGE_INTERVAL_MS = 10 * 60 * 1000;

/** How long a stop waits for what is still under way in the database, milliseconds; the connections end with the process. */
const CLOSE_MAX_MS = 3000;

/** How long a stop waits until the last spans have been exported, milliseconds. */
const FLUSH_MAX_MS = 1000;

/**
 * Opens the database, serves, and creates the first administrator with
 * `adminPassword` when there are no users.
 *
 * Throws DatabaseError, SecretKeyError, AccessDeclarationError, MetricsListenError, and
 * Node's error when the port cannot be listened on. What was opened until then is closed.
 */
export async function startServer(config: Config, adminPassword: string, options: ServerOptions = {}): Promise<Server> {
  await using opened = new AsyncDisposableStack();
  const contract = readContract(config);
  const tracing = await findTracing();
  const log = createLogger({ level: config.logLevel, worker: options.worker });
  const app = opened.use(await openApp(config, log, { ...options, tracing }));
  if (tracing !== undefined) log.info('tracing calls: an OpenTelemetry SDK is registered');
  const handlers = opened.use(await createHandlers(app, config, log, { ...options, contract, tracing }));
  const address = await listen(handlers, config);
  // Last of all that can fail: a generated password that no start lives to tell would lock everybody out.
  const createdAdmin = await createFirstAdmin(app, {
    username: ADMIN_USERNAME,
    email: `${ADMIN_USERNAME}@localhost`,
    name: 'Administrator',
    password: adminPassword,
  });
  const onPurgeError = (err: unknown) => log.error({ err }, 'could not purge expired rows');
  opened.use(startPurging(app, options.purgeIntervalMs ?? PURGE_INTERVAL_MS, onPurgeError, handlers.purges));

  const sender = await createSender(config.mail, app);
  if (sender !== undefined) {
    opened.use(sender);
    const worker = startMailWorker(app, {
      sender,
      onError: (err) => log.error({ err }, 'could not send mails'),
      pollMs: options.mailPollMs,
      onFailed: (mail) => log.error({ mail }, 'gave a mail up: ListMails says why'),
    });
    opened.use(worker);
  }

  const running = opened.move();
  return {
    address,
    createdAdmin: createdAdmin && { username: createdAdmin.username },
    subscriptions: () => app.tail.size + app.revocations.size,
    reload({ tls, logLevel, mailTemplates, settings }) {
      handlers.useSettings(settings);
      app.mailTemplates.use(mailTemplates);
      handlers.logLevel.takeSetting(logLevel);
      if (tls !== undefined) replaceCertificate(handlers.fastify.server, tls);
    },
    warmUp: () => handlers.warmUp(),
    async stop() {
      await stopListening(handlers, config);
      await Promise.race([running.disposeAsync(), sleep(CLOSE_MAX_MS, undefined, { ref: false })]);
      await tracing?.flush(FLUSH_MAX_MS);
    },
  };
}

/** What mails are sent over; undefined where they wait. */
async function createSender(
  { smtpUrl, webhook, from }: Config['mail'],
  { now }: Pick<Clock, 'now'>,
): Promise<MailSender | undefined> {
  if (webhook !== undefined) return createWebhookSender({ ...webhook, from, now });
  if (smtpUrl === undefined) return undefined;
  const { createSmtpSender } = await import('./mail/smtp-sender.ts'); // nodemailer is loaded where it sends
  return createSmtpSender({ url: smtpUrl, from });
}
