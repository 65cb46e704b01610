import { createClient, createRouterTransport } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { WakeQueue } from '../budget/wake-queue.ts';
import { health } from './health.ts';

const WATCHERS = 300;

test('all who watch share one look a second, hear of a change, and nobody looks when they have left', async () => {
  let isReady = true;
  let looks = 0;
  const readiness = {
    async isReady() {
      looks++;
      return isReady;
    },
  };
  const transport = createRouterTransport((router) =>
    health(router, ['kith.some.v1.Service'], readiness, new WakeQueue()),
  );
  const client = createClient(Health, transport);
  const leaving = new AbortController();
  const watch = (service: string) => {
    const messages = client.watch({ service }, { signal: leaving.signal });
    return messages[Symbol.asyncIterator]();
  };
  const watches = Array.from({ length: WATCHERS }, (_, i) => watch(i % 2 === 0 ? '' : 'kith.some.v1.Service'));
  const unknown = watch('kith.none');
  expect((await unknown.next()).value).toMatchObject({ status: Status.SERVICE_UNKNOWN });
  const next = async () => {
    const messages = await Promise.all(watches.map((one) => one.next()));
    return new Set(messages.map(({ value }) => (value as { status: Status }).status));
  };
  expect(await next()).toEqual(new Set([Status.SERVING]));
  for (const status of [Status.NOT_SERVING, Status.SERVING]) {
    const before = looks;
    const startMs = performance.now();
    isReady = status === Status.SERVING;
    expect(await next()).toEqual(new Set([status]));
    const seconds = (performance.now() - startMs) / 1000;
    expect(looks - before).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  }
  leaving.abort();
  await Promise.allSettled([unknown, ...watches].map((one) => one.next()));
  const before = looks;
  await new Promise((resolve) => setTimeout(resolve, 1200));
  expect(looks).toBe(before);
});
