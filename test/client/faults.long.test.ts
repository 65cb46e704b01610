import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { startCutter } from '../support/cutter.ts';
import { sizeOf } from '../support/full-size.ts';
import { startCallProxy } from '../support/http-proxy.ts';
import { type Kith, startKith } from '../support/kith.ts';
import { clientProtocols, openKith } from './clients.ts';

/** A cut at each of so many bytes, begun at another one over each protocol: 1 for a cut at every byte. */
const CUT_STEP = sizeOf('KITH_TEST_CUT_STEP', 3, 3);

describe.each(clientProtocols)('over $protocol', ({ protocol, httpVersion }) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith();
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test('of 200 creates whose answers are lost, each is made once', { timeout: 300_000 }, async () => {
    const { accessToken } = await kith.user();
    await using proxy = await startCallProxy(kith.address, httpVersion);
    using client = openKith(proxy.address, { protocol, credentials: () => accessToken });
    const lost = new Set<string>();
    proxy.drops = (_, requestId) => {
      if (lost.has(requestId)) return false;
      lost.add(requestId);
      return true;
    };
    const create = async (round: number) => {
      const headers = { 'x-request-id': `round-${round}` };
      return (await client.contacts.create({ givenName: `${round}` }, { headers })).contact.id;
    };
    const ids: string[] = [];
    for (let round = 0; round < 200; round += 20) {
      ids.push(...(await Promise.all(Array.from({ length: 20 }, (_, i) => create(round + i)))));
    }
    expect([lost.size, proxy.calls.length]).toEqual([200, 400]);
    proxy.drops = () => false;
    const stored: string[] = [];
    for await (const { id } of client.contacts.list({ pageSize: 50 })) stored.push(id);
    expect(stored.toSorted()).toEqual(ids.toSorted());
  });

  test('a watch that is cut at any byte tells each activity once', { timeout: 600_000 }, async () => {
    const { accessToken, user } = await kith.user();
    const from = (await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id })).watchCursor;
    const names = ['a', 'b', 'c'];
    using own = openKith(kith.address, { protocol, credentials: () => accessToken });
    for (const givenName of names) await own.contacts.create({ givenName });
    let uncut = 0;
    const seenAfterCutAt = async (offset: number) => {
      await using proxy = await startCutter(kith.port, (connection) => (connection === 0 ? offset : Infinity));
      using client = openKith(proxy.address, { protocol, credentials: () => accessToken });
      const seen: string[] = [];
      for await (const event of client.activity.watch({ userId: user.id, from, actionPrefixes: ['kith.contact'] })) {
        if (event.kind === 'activity') seen.push(event.activity.id);
        if (event.kind === 'state' && event.state === 'live') break;
      }
      if (proxy.cuts === 0) uncut += 1;
      return seen;
    };
    const expected = await seenAfterCutAt(Number.MAX_SAFE_INTEGER);
    expect(new Set(expected).size).toBe(names.length);
    expect(uncut).toBe(1);
    let offset = clientProtocols.findIndex((each) => each.protocol === protocol) % CUT_STEP;
    // Several at once, since most of the time is waiting; the first that is not cut is behind the stream.
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (uncut === 1) {
          const at = offset;
          offset += CUT_STEP;
          expect({ at, seen: await seenAfterCutAt(at) }).toEqual({ at, seen: expected });
        }
      }),
    );
    expect(offset).toBeGreaterThan(500);
  });
});
