import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { createKithOver, KithError, type Recorder } from '../../packages/client/src/index.ts';
import { startCutter } from '../support/cutter.ts';
import { freePort } from '../support/free-port.ts';
import { startCallProxy } from '../support/http-proxy.ts';
import { type Kith, type SignedIn, startKith } from '../support/kith.ts';
import { clientProtocols, openKith } from './clients.ts';

let kith: Kith;
let editor: SignedIn;
beforeAll(async () => {
  kith = await startKith();
  editor = await kith.user(Role.EDITOR);
});
afterAll(() => kith[Symbol.asyncDispose]());

const credentials = () => editor.accessToken;
const STREAM = '/kith.activity.v1.ActivityService/StreamUserActivity';

/** The details of the activities with an action, sorted. */
async function recorded(action: string): Promise<string[]> {
  const client = kith.client(ActivityService, (await kith.admin()).accessToken);
  const details: string[] = [];
  for (let pageToken = ''; ; ) {
    const page = await client.listUserActivity({ pageSize: 1000, actionPrefixes: [action], pageToken });
    details.push(...page.activities.map((activity) => activity.details));
    if (page.nextPageToken === '') return details.toSorted();
    pageToken = page.nextPageToken;
  }
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);

async function recordAll(recorder: Recorder, action: string, details: readonly string[]): Promise<void> {
  for (const each of details) await recorder.record({ action, details: each });
}

async function errorOf(call: Promise<unknown>): Promise<KithError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KithError)) throw new Error('the call did not fail with a KithError', { cause: error });
  return error;
}

describe.each(clientProtocols)('over $protocol', ({ protocol, httpVersion }) => {
  const action = (name: string) => `${protocol.replace('-', '_')}.${name}`;

  test('activities are recorded in batches, by a stream where there can be one, and all of them once disposed', async () => {
    await using proxy = httpVersion === '1.1' ? await startCallProxy(kith.address, '1.1') : undefined;
    using client = openKith(proxy?.address ?? kith.address, { protocol, credentials });
    const sent = names(250);
    {
      await using recorder = client.activity.recorder();
      await recordAll(recorder, action('plain'), sent);
      expect(recorder.size).toBeGreaterThan(0);
    }
    expect(await recorded(action('plain'))).toEqual(sent.toSorted());
    expect(proxy?.calls.length ?? 3).toBe(3);
  });

  test('a batch is sent when it has waited for long enough, and by a flush at once', async () => {
    using client = openKith(kith.address, { protocol, credentials });
    await using recorder = client.activity.recorder({ flushMs: 1 });
    await recorder.record({ action: action('waited') });
    await expect.poll(() => recorder.size).toBe(0);
    await using patient = client.activity.recorder({ flushMs: 3_600_000 });
    await patient.record({ action: action('waited') });
    expect(patient.size).toBe(1);
    await patient.flush();
    expect(patient.size).toBe(0);
    expect(await recorded(action('waited'))).toHaveLength(2);
  });

  test('a full recorder takes no more, by number and by bytes; who waits for room is served in turn', async () => {
    using client = openKith(kith.address, { protocol, credentials });
    const limits = { flushMs: 3_600_000, batchMax: 100 };
    for (const bound of [{ activitiesMax: 3 }, { bytesMax: 250 }]) {
      await using recorder = client.activity.recorder({ ...limits, ...bound });
      let taken = 0;
      while (recorder.offer({ action: action('full'), details: 'x'.repeat(50) })) taken += 1;
      expect({ bound, taken }).toEqual({ bound, taken: 3 });
      const order: number[] = [];
      const waiting = [1, 2, 3, 4].map((i) =>
        recorder.record({ action: action('full') }).then(() => void order.push(i)),
      );
      expect(recorder.size).toBe(3);
      expect(recorder.offer({ action: action('full') })).toBe(false);
      await Promise.all(waiting);
      expect(order).toEqual([1, 2, 3, 4]);
      await recorder.flush();
      expect(recorder.size).toBe(0);
    }
    expect(await recorded(action('full'))).toHaveLength(14);
  });

  test('what is refused is told with its reason, and everything beside it is recorded', async () => {
    using client = openKith(kith.address, { protocol, credentials });
    const refused: [string, string | undefined][] = [];
    await using recorder = client.activity.recorder({
      onRefused: ({ details }, { reason }) => void refused.push([details, reason]),
    });
    const sent = names(150);
    const id = randomUUID();
    for (const details of sent) {
      await recorder.record({ action: action('beside'), details });
      if (details === 'n20') await recorder.record({ action: 'kith.own', details: 'reserved' });
      if (details === 'n40')
        await recorder.record({ action: action('beside'), details: 'nobody', userId: randomUUID() });
      if (details === 'n60') await recorder.record({ action: 'Not A Name', details: 'invalid' });
      if (details === 'n80') await recorder.record({ action: action('other'), details: 'first', id });
      if (details === 'n120') await recorder.record({ action: action('other'), details: 'second', id });
    }
    expect((await errorOf(recorder.flush())).reason).toBe(refused[0]![1]);
    expect(refused.toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
      ['invalid', 'FIELDS_INVALID'],
      ['nobody', 'USER_NOT_FOUND'],
      ['reserved', 'ACTION_RESERVED'],
      ['second', 'ACTIVITY_ID_TAKEN'],
    ]);
    await recorder.flush(); // which has nothing to tell any more
    expect(await recorded(action('beside'))).toEqual(sent.toSorted());
    expect(await recorded(action('other'))).toEqual(['first']);
  });

  test('a recorder whose caller may not record ends, and says why from then on', async () => {
    const { accessToken } = await kith.user(Role.VIEWER);
    using client = openKith(kith.address, { protocol, credentials: () => accessToken });
    const recorder = client.activity.recorder({ activitiesMax: 1 });
    await recorder.record({ action: action('viewer') });
    expect(await errorOf(recorder.record({ action: action('viewer') }))).toMatchObject({
      reason: 'PERMISSION_MISSING',
    });
    expect(await errorOf(recorder.flush())).toMatchObject({ reason: 'PERMISSION_MISSING' });
    expect(() => recorder.offer({ action: action('viewer') })).toThrow(KithError);
    expect(await errorOf(recorder[Symbol.asyncDispose]())).toMatchObject({ reason: 'PERMISSION_MISSING' });
    expect(recorder.size).toBe(0);
  });

  test('a recorder whose session ends says so', async () => {
    const { accessToken, refreshToken, user } = await kith.user(Role.EDITOR);
    const told: string[] = [];
    const onSessionEnded = ({ reason }: KithError) => void told.push(String(reason));
    using client = openKith(kith.address, { protocol, credentials: { refreshToken, onSessionEnded } });
    const recorder = client.activity.recorder();
    await recorder.record({ action: action('session') });
    await recorder.flush();
    await kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
    await recorder.record({ action: action('session') }).catch(() => {}); // a stream hears of it by itself
    expect(await errorOf(recorder.flush())).toMatchObject({ reason: 'SESSION_ENDED' });
    expect(told).toEqual(['SESSION_ENDED']);
  });

  test('disposing does not wait for a server that does not come back', async () => {
    using client = openKith(`http://127.0.0.1:${await freePort()}`, { protocol, credentials });
    const recorder = client.activity.recorder({ closeMs: 20 });
    await recorder.record({ action: action('nowhere') });
    expect(await errorOf(recorder[Symbol.asyncDispose]())).toMatchObject({
      code: 'DeadlineExceeded',
      message: expect.stringContaining('1 activities were not recorded'),
    });
    expect(await errorOf(recorder.record({ action: 'after' }))).toMatchObject({ message: /closed/ });
  });
});

test('over a stream that is cut off again and again, each activity is recorded once', async () => {
  // Each cut is behind the beginning, so that it goes forward, and somewhere in the answers, which are lost.
  await using cutter = await startCutter(kith.port, (connection) =>
    connection < 20 ? 400 + Math.floor(Math.random() * 400) : Number.POSITIVE_INFINITY,
  );
  using client = openKith(cutter.address, { protocol: 'grpc', credentials });
  const sent = names(1500);
  await using recorder = client.activity.recorder({ batchMax: 5, activitiesMax: 200 });
  await recordAll(recorder, 'cut.stream', sent);
  await recorder.flush();
  expect(cutter.cuts).toBeGreaterThan(3);
  expect(await recorded('cut.stream')).toEqual(sent.toSorted());
});

test.each(clientProtocols.filter(({ httpVersion }) => httpVersion === '1.1'))(
  'over $protocol, when answers are lost, each activity is recorded once',
  async ({ protocol, httpVersion }) => {
    await using proxy = await startCallProxy(kith.address, httpVersion);
    let calls = 0;
    proxy.drops = () => (calls += 1) % 2 === 1;
    using client = openKith(proxy.address, { protocol, credentials, attemptsMax: 1 });
    const action = `lost.${protocol.replace('-', '_')}`;
    const sent = names(60);
    await using recorder = client.activity.recorder({ batchMax: 10 });
    await recordAll(recorder, action, sent);
    await recorder.flush();
    expect(calls).toBe(12);
    expect(await recorded(action)).toEqual(sent.toSorted());
  },
);

test('a server that has no such stream is called', async () => {
  const paths: string[] = [];
  const over = createGrpcTransport({ baseUrl: kith.address });
  const older: Transport = {
    unary: (...call) => over.unary(...call),
    async stream({ parent, name }) {
      paths.push(`/${parent.typeName}/${name}`);
      throw new ConnectError('there is no such method', Code.Unimplemented);
    },
  };
  const client = createKithOver(older, { credentials, streamsRequests: true });
  await using recorder = client.activity.recorder();
  await recordAll(recorder, 'older.server', names(3));
  await recorder.flush();
  expect(await recorded('older.server')).toEqual(names(3));
  expect(paths).toEqual([STREAM]);
});

test('an activity is sent as it was when it was recorded', async () => {
  using client = openKith(kith.address, { protocol: 'grpc', credentials });
  await using recorder = client.activity.recorder({ flushMs: 3_600_000 });
  const attributes: Record<string, string> = { a: '1' };
  const startMs = Date.now();
  await recorder.record({ action: 'as.it.was', attributes });
  attributes['a'] = '2';
  await turn();
  await recorder.flush();
  const { activities } = await kith
    .client(ActivityService, (await kith.admin()).accessToken)
    .listUserActivity({ actionPrefixes: ['as.it.was'] });
  expect(activities[0]!.attributes).toEqual({ a: '1' });
  expect(Number(activities[0]!.eventTime!.seconds) * 1000).toBeGreaterThanOrEqual(startMs - 1000);
  expect(() => recorder.offer({ action: 1 as never })).toThrow(Error);
});
