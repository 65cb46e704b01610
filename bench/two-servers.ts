/**
 * Two servers in one process, with metrics and without: `node bench/two-servers.ts FIRST SECOND`, each of
 * them `PORT DIRECTORY METRICS_PORT` joined by commas, the last empty for none. One process, so that
 * both run the same compiled code: two processes with the same code differ by some percent.
 */
import { parseConfig } from '../src/config/config.ts';
import { startServer } from '../src/server.ts';
import { kithEnv } from './seed.ts';

const addresses: string[] = [];
for (const given of process.argv.slice(2)) {
  const [port = '', directory = '', metricsPort = ''] = given.split(',');
  const env = kithEnv(`sqlite:${directory}/kith.db`, true);
  const config = parseConfig({
    ...env,
    KITH_PORT: port,
    ...(metricsPort === '' ? {} : { KITH_METRICS_PORT: metricsPort }),
  });
  const { address } = await startServer(config, env['KITH_ADMIN_PASSWORD'] ?? '');
  addresses.push(address);
}
console.error(`serves at ${addresses[0]}`);
