import { createClient } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ADMIN_PASSWORD, grpc, refusalOf } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

interface LogLine {
  readonly rpc?: string;
  readonly code?: string;
}

test.each([
  ['with the fast path', 'true', '3', 4],
  ['without the fast path', 'false', '3', 4],
  ['with the fast path', 'true', '1', 10],
])('%s (%s) logs one in %s successful calls, and every failure', async (_, fastPath, oneIn, lines) => {
  await using kith = await startProcess({
    env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_FAST_PATH: fastPath, KITH_LOG_ONE_IN: oneIn },
  });
  const { accessToken } = await signedIn(
    createClient(AuthService, grpc(kith.address)).login({
      identifier: 'admin',
      password: ADMIN_PASSWORD,
    }),
  );
  const auth = createClient(AuthService, grpc(kith.address, accessToken));
  for (let i = 0; i < 9; i++) {
    await auth.userMe({});
    await refusalOf(createClient(AuthService, grpc(kith.address, 'nonsense')).userMe({}));
  }
  kith.kill('SIGTERM');
  const { stdout } = await kith.exited;
  const calls = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LogLine)
    .filter(({ rpc }) => rpc?.startsWith('kith.'));
  expect(calls.filter(({ code }) => code === 'ok')).toHaveLength(lines);
  expect(calls.filter(({ code }) => code === 'unauthenticated')).toHaveLength(9);
});
