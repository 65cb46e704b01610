import { destination } from 'pino';
import { parseConfig } from '../../src/config/config.ts';
import { createLogger } from '../../src/http/logger.ts';
import { openApp as openKith, type OpenedApp } from '../../src/server/app.ts';

/** Kith's own store, rules and token check, without its way of serving. Settings are those of Kith. */
export async function openApp(): Promise<OpenedApp> {
  const config = parseConfig(process.env);
  if (config.secretKey === undefined) throw new Error('KITH_SECRET_KEY is missing');
  // Standard output is for the peer's address.
  return openKith(config, createLogger({ level: 'error', destination: destination(2) }));
}
