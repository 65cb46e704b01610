import { bundleForTests } from './bundle.ts';
import { startProcess } from './process.ts';

/**
 * Bundles the server for the tests that start it, and has Node compile it once and keep that: a server that is killed keeps nothing of what it compiled. Kept is what
 * ran until the process ended, so it serves, answers and stops.
 */
export default async function setup(): Promise<void> {
  process.env['KITH_TEST_MAIN'] = await bundleForTests();
  const password = 'password of the setup';
  await using kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: password, KITH_LOG_LEVEL: 'silent' } });
  const answer = await fetch(`${kith.address}/kith.auth.v1.AuthService/Login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ identifier: 'admin', password }),
  });
  if (!answer.ok) throw new Error(`Login answers ${answer.status}`);
  kith.kill('SIGTERM');
  await kith.exited;
}
