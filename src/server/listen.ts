import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { addressOf, type Config } from '../config/config.ts';
import type { Handlers } from './handlers.ts';

/**
 * Connections that may wait to be accepted, as far as the system allows (net.core.somaxconn). Node accepts one in each
 * turn of its event loop; one that finds no room is tried again by its client after 1 s, 3 s and 7 s.
 */
const BACKLOG = 4096;

/** How long calls that were told to end may take to say so, milliseconds. */
const HALT_GRACE_MS = 500;

/** Has the port of the settings answered by the handlers. Returns its address. Throws Node's error if it cannot be listened on. */
export async function listen({ fastify }: Handlers, config: Config): Promise<string> {
  await fastify.listen({
    host: config.host,
    port: config.port,
    backlog: BACKLOG,
    listenTextResolver: (address) =>
      `Server listening at ${config.tls === undefined ? address : address.replace(/^http:/, 'https:')}`,
  });
  const { port } = fastify.server.address() as AddressInfo;
  return addressOf({ ...config, port });
}

/**
 * Not ready any more; after the delay of the settings no new connections, GOAWAY, and streams end with UNAVAILABLE.
 * Running calls finish or, when their time is up, end likewise. In the end all connections are closed.
 */
export async function stopListening(handlers: Handlers, config: Config): Promise<void> {
  const { fastify, readiness } = handlers;
  readiness.stop();
  await sleep(config.shutdownDelayMs);
  handlers.drain();
  const closed = fastify.close();
  await Promise.race([closed, sleep(config.shutdownTimeoutMs)]);
  handlers.halt();
  await Promise.race([closed, sleep(HALT_GRACE_MS)]);
  fastify.server.closeAllConnections();
}
