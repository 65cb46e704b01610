import { once } from 'node:events';

import { describe, expect, test } from 'vitest';

import { Budget } from '../budget/budget.ts';

import {
  errorCode,
  flag,
  frame,
  frameType,
  headerBlock,
  literalField,
  open,
  openFromTable,
  openWithEntry,
  preface,
  resetStream,
  settings,
  settingsInitialWindowSize,
} from '../../test/support/http2-frames.ts';
import type { Frame } from '../../test/support/http2-frames.ts';
import {
  connectHttp2,
  connectRaw,
  connectRawHttp2,
  connectTcp,
  expectConnections,
  expectHarmless,
  flood,
  get,
  HeldScheduler,
  readStream,
  request,
  startPort,
  transports,
  trickle,
} from './one-port.testkit.ts';
import type { Port, RawClient } from './one-port.testkit.ts';

const fast = { interval: 1 };

/** Of the limits that Node keeps by the clock on the wall: so long that no client beside is taken for an attacker. */
const NODE_LIMIT_MS = 1500;

const isReset = (stream: number) => (frame: Frame) => frame.type === frameType.rstStream && frame.stream === stream;

describe.each(transports)('over %s', (transport) => {
  describe('a connection that does not tell its protocol', () => {
    const limits = { prefaceTimeoutMs: 150 };

    test('is closed when it sends nothing', async () => {
      await using port = await startPort(transport, limits);
      await expectHarmless(port, async () => {
        const client = await connectTcp(port);
        expect(await client.ended).toEqual({ goaway: undefined, reset: false });
      });
    });

    test('is closed when it sends half an HTTP/2 preface, or a preface without SETTINGS', async () => {
      await using port = await startPort(transport, limits);
      await expectHarmless(port, async () => {
        const half = await connectRaw(port, 'h2');
        half.send(preface.subarray(0, 10));
        const whole = await connectRaw(port, 'h2');
        whole.send(preface);
        const ending = { goaway: errorCode.protocol, reset: false };
        expect(await Promise.all([half.ended, whole.ended])).toEqual([ending, ending]);
      });
    });

    test('harms nothing when it resets before the first byte, or halfway', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        for (let round = 0; round < 50; round += 1) {
          const silent = await connectTcp(port);
          silent.reset();
          const started = await connectTcp(port);
          started.send('P');
          started.reset();
          const chosen = await connectRaw(port, 'h2');
          chosen.reset();
        }
      });
    });

    test('is closed when it sends garbage', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const tcp = await connectTcp(port);
        tcp.send('this is no protocol\r\n\r\n');
        const overHttp1 = await connectRaw(port, 'http/1.1');
        overHttp1.send('this is no protocol\r\n\r\n');
        const overHttp2 = await connectRaw(port, 'h2');
        overHttp2.send('PRI * HTTP/2.0\r\n\r\nthis is no protocol\r\n\r\n');
        await tcp.ended;
        await overHttp1.ended;
        expect(overHttp1.text()).toMatch(/^HTTP\/1\.1 400 /);
        expect(await overHttp2.ended).toMatchObject({ goaway: errorCode.internal });
      });
    });
  });

  test.each([
    // The last tenth is left to addresses that hold few.
    ['the maximum', { connectionsMax: 20 }, 18],
    ['the share of an address', { connectionsMax: 20, connectionsPerAddressMax: 7 }, 7],
  ])('connections above %s are closed on arrival, and others served again later', async (_, limits, most) => {
    await using port = await startPort(transport, limits);
    const clients = await Promise.all(Array.from({ length: most }, () => connectTcp(port)));
    await expectConnections(port, most);
    const refused = await Promise.all(Array.from({ length: 200 }, () => connectTcp(port)));
    await Promise.all(refused.map(({ ended }) => ended));
    await expectConnections(port, most);
    for (const { socket } of clients) socket.destroy();
    await expectConnections(port, 0);
    expect(await get(port, '/')).toMatchObject({ status: 200 });
  });

  describe('an HTTP/1.1 client', () => {
    test('that trickles its headers gets 408', async () => {
      await using port = await startPort(transport, { headersTimeoutMs: NODE_LIMIT_MS });
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('GET / HTTP/1.1\r\nhost: ');
        trickle(client, () => 'a');
        await client.ended;
        expect(client.text()).toMatch(/^HTTP\/1\.1 408 /);
      });
    });

    test('that trickles its body gets 408', async () => {
      await using port = await startPort(transport, { requestTimeoutMs: NODE_LIMIT_MS });
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n');
        trickle(client, () => 'a');
        await client.ended;
        expect(client.text()).toMatch(/^HTTP\/1\.1 408 /);
      });
      expect(port.running.now).toBe(0);
    });

    test('with headers above 16 KiB gets 431', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(17_000)}\r\n\r\n`);
        await client.ended;
        expect(client.text()).toMatch(/^HTTP\/1\.1 431 /);
      });
    });

    test('that sends only empty lines between requests is closed', async () => {
      const limits = { keepAliveTimeoutMs: NODE_LIMIT_MS, headersTimeoutMs: NODE_LIMIT_MS };
      await using port = await startPort(transport, limits);
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
        trickle(client, () => '\r\n');
        await client.ended;
        expect(client.text()).toMatch(/served$/);
      });
    });

    test('that pipelines more than 100 unanswered requests is closed', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('GET /held HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(20_000));
        await client.ended;
        expect(client.text()).toBe('');
      });
      expect(port.requests.get('/held')).toBe(100);
      expect(port.running.now).toBe(0);
    });

    test('that resets its connection with several requests waiting ends nothing else', async () => {
      const unheard: Error[] = [];
      const hear = (error: Error) => unheard.push(error);
      process.on('uncaughtExceptionMonitor', hear);
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('GET /deaf HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(5));
        await expect.poll(() => port.requests.get('/deaf')).toBe(5);
        client.reset();
        await port.dropped(client);
      });
      await expect.poll(() => port.running.now).toBe(0);
      process.off('uncaughtExceptionMonitor', hear);
      expect(unheard).toEqual([]);
    });

    test('that goes on with a body that was answered already is closed after some bytes', async () => {
      await using port = await startPort(transport, { restTimeoutMs: 600_000 });
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.send('POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000000\r\n\r\n');
        const sent = await sendUntilClosed(client);
        expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*served$/s);
        expect(sent).toBeGreaterThan(8 * 1024 * 1024);
        expect(sent).toBeLessThan(64 * 1024 * 1024); // buffers of both systems included
      });
    });

    test.each(['/early', '/unread'])(
      'that trickles a body that %s has answered already is closed after some time',
      async (path) => {
        await using port = await startPort(transport, { restTimeoutMs: 200 });
        await expectHarmless(port, async () => {
          const client = await connectRaw(port, 'http/1.1');
          client.send(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n`);
          trickle(client, () => 'a');
          await client.ended;
          expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*served$/s);
        });
      },
    );

    test('that never reads the response is closed', async () => {
      await using port = await startPort(transport, { stalledWriteMs: 150 });
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'http/1.1');
        client.socket.pause();
        client.send('GET /endless HTTP/1.1\r\nhost: a\r\n\r\n');
        await expect.poll(() => port.requests.get('/endless')).toBe(1);
        await port.dropped(client);
        client.socket.destroy();
      });
    });
  });

  describe('an HTTP/2 client', () => {
    test('that resets its streams with an error while they wait for their turn ends nothing else', async () => {
      const scheduler = new HeldScheduler();
      await using port = await startPort(transport, { scheduler });
      const client = await connectRawHttp2(port);
      const session = connectHttp2(port);
      expect((await request(session, '/')).status).toBe(200);
      scheduler.isBusy = true;
      client.send(Buffer.concat([1, 3, 5].map((stream) => open(stream, '/reset'))));
      await expect.poll(() => scheduler.waiting.length).toBe(3);
      client.send(Buffer.concat([1, 3, 5].map((stream) => resetStream(stream, errorCode.internal))));
      const answer = request(session, '/');
      await expect.poll(() => scheduler.waiting.length).toBe(4);
      for (const serve of scheduler.waiting) serve();
      expect((await answer).status).toBe(200);
      expect(port.requests.get('/reset')).toBeUndefined();
      session.destroy();
      client.socket.destroy();
    });

    test('that breaks the protocol in what it sent before its turn ends nothing else', async () => {
      const scheduler = new HeldScheduler();
      scheduler.isBusy = true;
      await using port = await startPort(transport, { scheduler });
      const client = await connectRaw(port, 'h2');
      client.send(Buffer.concat([preface, settings()]));
      await expect.poll(() => scheduler.waiting.length).toBe(1);
      const broken = frame(frameType.data, 0, 0, Buffer.alloc(16_000)); // of no stream (RFC 9113, section 6.1)
      for (let part = 0; part < 20; part += 1) client.send(broken);
      await new Promise((resolve) => {
        setTimeout(resolve, 50); // for it to arrive
      });
      scheduler.isBusy = false;
      scheduler.waiting[0]!();
      await client.ended;
      expect(await get(port, '/')).toMatchObject({ status: 200 });
    });

    test('that trickles a request body is reset with CANCEL, unless the path may stream', async () => {
      const isStreaming = (path: string) => path === '/echo';
      await using port = await startPort(transport, { requestTimeoutMs: 200, isStreaming });
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        client.send(Buffer.concat([open(1, '/held'), open(3, '/echo')]));
        trickle(client, () =>
          Buffer.concat([1, 3].map((stream) => frame(frameType.data, 0, stream, Buffer.from('a')))),
        );
        const reset = await client.frame(isReset(1));
        expect(reset.payload.readUInt32BE()).toBe(errorCode.cancel);
        client.send(frame(frameType.data, flag.endStream, 3));
        await client.frame(({ stream, flags }) => stream === 3 && (flags & flag.endStream) !== 0);
        client.socket.destroy();
      });
    });

    test.each([
      ['sends nothing', () => Buffer.alloc(0)],
      ['only pings', () => frame(frameType.ping, 0, 0, Buffer.alloc(8))],
    ])('that opens no stream and %s gets GOAWAY', async (_, bytes) => {
      await using port = await startPort(transport, { sessionIdleMs: 200 });
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        trickle(client, bytes);
        expect(await client.ended).toEqual({ goaway: errorCode.none, reset: false });
      });
    });

    test('that trickles its headers gets GOAWAY like an idle one', async () => {
      const path = `/${'a'.repeat(120)}`;
      await using port = await startPort(transport, { sessionIdleMs: 200, closeGraceMs: 100 });
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        const bytes = open(1, path);
        // Past the frame header Node counts an open stream, which a graceful end waits for.
        let sent = 20;
        client.send(bytes.subarray(0, sent));
        trickle(client, () => bytes.subarray(sent, ++sent));
        expect(await client.ended).toMatchObject({ goaway: errorCode.none });
        expect(sent).toBeLessThan(bytes.length);
      });
    });

    test('that leaves an answered stream open for longer than every timeout keeps it', async () => {
      const limits = { requestTimeoutMs: 100, sessionIdleMs: 100, stalledWriteMs: 100, prefaceTimeoutMs: 100 };
      await using port = await startPort(transport, limits);
      const session = connectHttp2(port);
      const stream = session.request({ ':path': '/drip' });
      const answer = readStream(stream);
      await once(stream, 'response');
      await outlastIdleSessions(port);
      port.release();
      expect(await answer).toEqual({ status: 200, body: 'first,served', code: errorCode.none });
      session.destroy();
    });

    test('has streams refused for which there is no room, and is ended when it goes on', async () => {
      const openRequests = new Budget({ name: 'open_requests', perCaller: 40_000, total: 80_000, strangers: 80_000 });
      await using port = await startPort(transport, { openRequests });
      const session = connectHttp2(port);
      const ended = new Promise((resolve) => {
        session.on('close', resolve);
      });
      const begin = () => readStream(session.request({ ':path': '/held' }));
      const first = Array.from({ length: 4 }, begin);
      expect(await begin()).toMatchObject({ status: undefined, code: errorCode.refusedStream });
      expect(port.running.now).toBe(4);
      port.release();
      expect((await Promise.all(first)).map(({ body }) => body)).toEqual(['served', 'served', 'served', 'served']);
      expect(openRequests.used).toBe(0);
      const headers = { ':path': '/drip', 'x-filler': 'a'.repeat(8000) };
      for (let n = 0; n < 40; n += 1) session.request(headers).on('error', () => {});
      await ended;
      await expect.poll(() => openRequests.used).toBe(0);
    });

    test('whose headers do not end is closed after the time for headers', async () => {
      await using port = await startPort(transport, { headersTimeoutMs: 300 });
      const client = await connectRawHttp2(port);
      client.send(frame(frameType.headers, 0, 1, headerBlock('/')));
      client.send(frame(frameType.continuation, 0, 1, literalField('x-a', 'b'.repeat(2000))));
      expect(await client.ended).toMatchObject({ goaway: errorCode.none });
    });

    test('is ended once streams of its address were reset too often, over all of its connections', async () => {
      await using port = await startPort(transport, { streamResetsPerAddress: { burst: 6, perSecond: 0 } });
      for (let connection = 0; connection < 2; connection += 1) {
        const session = connectHttp2(port);
        const streams = Array.from({ length: 3 }, () => session.request({ ':path': '/held' }));
        await expect.poll(() => port.running.now).toBe(3);
        for (const stream of streams) stream.on('error', () => {}).close(errorCode.cancel);
        await expect.poll(() => port.running.now).toBe(0);
        session.destroy();
      }
      const later = connectHttp2(port);
      const goaway = once(later, 'goaway');
      later.request({ ':path': '/' }).on('error', () => {});
      const [code]: number[] = await goaway;
      expect(code).toBe(errorCode.enhanceYourCalm);
      expect(port.requests.get('/')).toBeUndefined();
      later.destroy();
    });

    test('pays for streams that are reset in the bytes that open them', async () => {
      await using port = await startPort(transport, { streamResetsPerAddress: { burst: 20, perSecond: 0 } });
      const client = await connectRaw(port, 'h2');
      const streams = Array.from({ length: 20 }, (_, n) => [open(2 * n + 1, '/held'), resetStream(2 * n + 1)]);
      client.send(
        Buffer.concat([preface, settings(), ...streams.flat(), frame(frameType.ping, 0, 0, Buffer.alloc(8))]),
      );
      await client.frame(({ type }) => type === frameType.ping);
      await expect.poll(() => port.running.now).toBe(0);
      client.send(open(99, '/'));
      expect(await client.ended).toMatchObject({ goaway: errorCode.enhanceYourCalm });
      expect(port.requests.get('/')).toBeUndefined();
    });

    test('that goes on with a body that was answered already loses that stream, and no other', async () => {
      const limits = { restTimeoutMs: 100, stalledWriteMs: 100, closeGraceMs: 100, sessionIdleMs: 200 };
      await using port = await startPort(transport, limits);
      const session = connectHttp2(port);
      const other = session.request({ ':path': '/drip' });
      const otherAnswer = readStream(other);
      await once(other, 'response');
      const stream = session.request({ ':path': '/early', ':method': 'POST' });
      const answer = readStream(stream);
      stream.write(Buffer.alloc(300_000));
      expect(await answer).toEqual({ status: 200, body: 'served', code: errorCode.none });
      await outlastIdleSessions(port);
      expect(port.running.now).toBe(1);
      port.release();
      expect(await otherAnswer).toEqual({ status: 200, body: 'first,served', code: errorCode.none });
      session.destroy();
    });

    describe.each([
      ['that has acknowledged SETTINGS', connectRawHttp2],
      ['that never acknowledges SETTINGS', connectRawUnacknowledged],
    ])('%s', (_, connect) => {
      test('with headers above 16 KiB is reset with ENHANCE_YOUR_CALM', async () => {
        await using port = await startPort(transport);
        await expectHarmless(port, async () => {
          const client = await connect(port);
          client.send(openWithFields(1, '/held', 3));
          const reset = await client.frame(isReset(1));
          expect(reset.payload.readUInt32BE()).toBe(errorCode.enhanceYourCalm);
          client.send(openWithFields(3, '/', 1));
          await client.frame(({ type, stream }) => type === frameType.data && stream === 3);
          client.socket.destroy();
        });
        expect(port.requests.get('/held')).toBeUndefined();
      });

      test('has at most 100 streams', async () => {
        await using port = await startPort(transport);
        const client = await connect(port);
        client.send(Buffer.concat(Array.from({ length: 101 }, (__, index) => open(2 * index + 1, '/held'))));
        // Refused while the limit is on its way, an error of the connection when it is known.
        await Promise.race([client.frame(isReset(201)).catch(() => {}), client.ended]);
        expect(port.running.most).toBeLessThanOrEqual(100);
        client.socket.destroy();
      });
    });

    interface Flood {
      does: string;
      first?: Buffer;
      make: (index: number) => Buffer;
      goaway: number;
      handled: number;
      /** As many more for each second that the machine takes. */
      handledPerSecond?: number;
    }
    const floods: Flood[] = [
      {
        does: 'opens and resets 20,000 streams',
        make: (index) => Buffer.concat([open(2 * index + 1, '/held'), resetStream(2 * index + 1)]),
        goaway: errorCode.internal,
        handled: 100,
        handledPerSecond: 20,
      },
      {
        does: 'opens 20,000 streams at once',
        make: (index) => open(2 * index + 1, '/held'),
        goaway: errorCode.protocol,
        handled: 100,
      },
      {
        does: 'has 20,000 streams reset by invalid window updates',
        make: (index) =>
          Buffer.concat([
            open(2 * index + 1, '/held'),
            frame(frameType.windowUpdate, 0, 2 * index + 1, Buffer.alloc(4)),
          ]),
        goaway: errorCode.protocol,
        handled: 1,
      },
      {
        does: 'sends 20,000 PING frames',
        make: () => frame(frameType.ping, 0, 0, Buffer.alloc(8)),
        goaway: errorCode.enhanceYourCalm,
        handled: 0,
      },
      {
        does: 'sends 20,000 SETTINGS frames',
        make: () => settings([settingsInitialWindowSize, 65_535]),
        goaway: errorCode.enhanceYourCalm,
        handled: 0,
      },
      {
        does: 'sends 20,000 CONTINUATION frames',
        first: open(1, '/held', 0),
        make: () => frame(frameType.continuation, 0, 1, Buffer.from([0, 1, 97, 1, 98])),
        goaway: errorCode.internal,
        handled: 0,
      },
      {
        does: 'sends 20,000 empty DATA frames',
        first: open(1, '/held'),
        make: () => frame(frameType.data, 0, 1),
        goaway: errorCode.internal,
        handled: 1,
      },
      {
        does: 'sends 20,000 PRIORITY frames',
        make: (index) => frame(frameType.priority, 0, 2 * index + 1, Buffer.from([0, 0, 0, 0, 5])),
        goaway: errorCode.enhanceYourCalm,
        handled: 0,
      },
    ];

    test.each(floods)(
      'that $does gets GOAWAY $goaway',
      async ({ first, make, goaway, handled, handledPerSecond = 0 }) => {
        await using port = await startPort(transport);
        const startedMs = performance.now();
        await expectHarmless(port, async () => {
          const client = await connectRawHttp2(port);
          if (first) client.send(first);
          // Node drops the GOAWAY of a session that it destroys while a write is in progress, here of acknowledgements.
          const goaways = goaway === errorCode.enhanceYourCalm ? [goaway, undefined] : [goaway];
          expect(goaways).toContain((await flood(client, make)).goaway);
        });
        const seconds = (performance.now() - startedMs) / 1000;
        expect(port.requests.get('/held') ?? 0).toBeLessThanOrEqual(handled + handledPerSecond * seconds);
        await expect.poll(() => port.running.now).toBe(0);
      },
    );

    test('that waits for each stream to start before it resets it gets GOAWAY all the same', async () => {
      await using port = await startPort(transport);
      const startedMs = performance.now();
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        for (let started = 0; !client.socket.closed; started += 1) {
          client.send(open(2 * started + 1, '/held'));
          await expect.poll(() => port.requests.get('/held') === started + 1 || client.socket.closed, fast).toBe(true);
          client.send(resetStream(2 * started + 1));
        }
        expect(await client.ended).toMatchObject({ goaway: errorCode.internal });
      });
      // A burst of 100, then 20 for each second that the machine took, and what was on its way.
      const seconds = (performance.now() - startedMs) / 1000;
      expect(port.requests.get('/held')).toBeLessThan(150 + 20 * seconds);
    });

    const begun = openWithEntry(1, '/', flag.endHeaders | flag.endStream);
    const refusedByHeaders = (index: number) => openFromTable(2 * index + 3, '/');
    test.each<[string, Buffer, (index: number) => Buffer]>([
      [
        'resets streams as fast as it can',
        begun,
        (index) => Buffer.concat([open(2 * index + 3, '/held'), resetStream(2 * index + 3)]),
      ],
      ['begins more streams than it may', begun, (index) => open(2 * index + 3, '/held')],
      ['has streams refused for their headers', begun, refusedByHeaders],
      ['has streams refused for their headers, beside one that stays open', openWithEntry(1, '/'), refusedByHeaders],
      [
        'has streams refused for their headers, among others',
        begun,
        (index) => openFromTable(2 * index + 3, '/', {}, index % 31 === 0 ? 3 : 18),
      ],
    ])('that %s, again and again, is not let in for some time', async (_, first, make) => {
      const clock = { aheadMs: 0 };
      await using port = await startPort(transport, {
        clock: { monotonic: () => performance.now() + clock.aheadMs },
      });
      const bytes = Buffer.concat([preface, settings(), first, ...Array.from({ length: 2000 }, (_, i) => make(i))]);
      const isLetIn = async () => {
        const before = port.requests.get('/') ?? 0;
        const client = await connectRaw(port, 'h2');
        client.send(bytes);
        await client.ended;
        return (port.requests.get('/') ?? 0) > before;
      };
      for (let sessions = 0; await isLetIn(); sessions += 1) expect(sessions).toBeLessThan(20);
      clock.aheadMs = 61_000;
      const session = connectHttp2(port);
      expect((await request(session, '/')).status).toBe(200);
      session.destroy();
    });

    test('that leaves ids of streams out is served, however late the event loop is', async () => {
      await using port = await startPort(transport, { clock: { monotonic: () => performance.now() } });
      const client = await connectRawHttp2(port);
      for (let round = 1; round <= 10; round += 1) {
        // Calls that were given up in the client's queue, some 15 kB of others, and a server that is busy.
        const ids = Array.from({ length: 100 }, (_, index) => 2 * (index + 2000 * round) + 1);
        client.send(Buffer.concat(ids.map((id) => open(id, '/', flag.endHeaders | flag.endStream))));
        const last = ids.at(-1);
        const served = client.frame(({ type, stream }) => type === frameType.data && stream === last);
        for (const endMs = performance.now() + 150; performance.now() < endMs; );
        await served;
      }
      expect(port.requests.get('/')).toBe(1000);
      client.socket.destroy();
    });

    test('that blasts 20,000 streams with its preface is ended', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const client = await connectRaw(port, 'h2');
        const streams = Array.from({ length: 20_000 }, (_, index) => open(2 * index + 1, '/held'));
        client.send(Buffer.concat([preface, settings(), ...streams]));
        await client.ended;
      });
      expect(port.requests.get('/held') ?? 0).toBeLessThanOrEqual(100);
      await expect.poll(() => port.running.now).toBe(0);
    });

    test('that sends 100,000 WINDOW_UPDATE frames is still served', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        const update = frame(frameType.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1]));
        client.send(Buffer.concat(Array.from({ length: 100_000 }, () => update)));
        client.send(open(1, '/', flag.endHeaders | flag.endStream));
        await client.frame(({ type, stream }) => type === frameType.data && stream === 1);
        client.socket.destroy();
      });
    });

    test.each(['/', '/endless'])('that gives no window for the response of %s is reset', async (path) => {
      await using port = await startPort(transport, { stalledWriteMs: 150 });
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port, [settingsInitialWindowSize, 0]);
        client.send(open(1, path, flag.endHeaders | flag.endStream));
        const reset = await client.frame(isReset(1));
        expect(reset.payload.readUInt32BE()).toBe(errorCode.enhanceYourCalm);
        client.socket.destroy();
      });
    });

    test('that never reads from its connection is closed', async () => {
      await using port = await startPort(transport, { stalledWriteMs: 150, closeGraceMs: 100 });
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port, [settingsInitialWindowSize, 2 ** 31 - 1]);
        client.socket.pause();
        client.send(frame(frameType.windowUpdate, 0, 0, Buffer.from([0x7f, 0, 0, 0])));
        client.send(open(1, '/endless', flag.endHeaders | flag.endStream));
        await expect.poll(() => port.requests.get('/endless')).toBe(1);
        await port.dropped(client);
        client.socket.destroy();
      });
    });

    test('that does not read the answers to its pings is closed', async () => {
      const limits = { maxControlFramesPerSecond: Infinity, sessionIdleMs: 200, closeGraceMs: 100 };
      await using port = await startPort(transport, limits);
      await expectHarmless(port, async () => {
        const client = await connectRawHttp2(port);
        client.socket.pause();
        const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8));
        client.send(Buffer.concat(Array.from({ length: 1_000_000 }, () => ping)));
        await port.dropped(client);
        client.socket.destroy();
      });
    });

    test('that resets its connection in the middle of streams harms nothing', async () => {
      await using port = await startPort(transport);
      await expectHarmless(port, async () => {
        for (let round = 0; round < 20; round += 1) {
          const client = await connectRawHttp2(port);
          client.send(Buffer.concat([open(1, '/endless'), open(3, '/held'), open(5, '/echo')]));
          await client.frame(({ type, stream }) => type === frameType.data && stream === 1);
          client.reset();
        }
      });
      await expect.poll(() => port.running.now).toBe(0);
    });
  });
});

/** As `connectRawHttp2`, of a client that leaves the server's SETTINGS without an acknowledgement. */
async function connectRawUnacknowledged(port: Port): Promise<RawClient> {
  const client = await connectRaw(port, 'h2');
  client.send(Buffer.concat([preface, settings()]));
  await client.frame(({ type, flags }) => type === frameType.settings && flags === flag.ack);
  return client;
}

/** Opens a stream with so many headers of 8,000 bytes. */
function openWithFields(stream: number, path: string, fields: number): Buffer {
  // RFC 7541: a literal field "a" with a value of 8,000 bytes, its length as 127 + 65 + 61 * 128.
  const field = Buffer.concat([Buffer.from([0, 1, 97, 0x7f, 0x80 | 65, 61]), Buffer.alloc(8000, 97)]);
  const blocks = [headerBlock(path), ...Array.from({ length: fields }, () => field)];
  return Buffer.concat(
    blocks.map((block, index) => {
      const flags = index === blocks.length - 1 ? flag.endHeaders : 0;
      return frame(index === 0 ? frameType.headers : frameType.continuation, flags, stream, block);
    }),
  );
}

/** Sends for as long as the connection takes it. Returns how many bytes were handed over. */
/** Waits three times as long as a session may be idle. */
async function outlastIdleSessions(port: Port): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const idle = await connectRawHttp2(port);
    await idle.ended;
  }
}

async function sendUntilClosed({ socket, ended }: RawClient): Promise<number> {
  const chunk = Buffer.alloc(65_536);
  let sent = 0;
  while (!socket.destroyed) {
    sent += chunk.length;
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => {}), ended]);
  }
  await ended;
  return sent;
}

test('a TLS handshake that trickles in is closed', async () => {
  await using port = await startPort('TLS', { prefaceTimeoutMs: 150 });
  await expectHarmless(port, async () => {
    const client = await connectTcp(port);
    // The header of a TLS record of 512 bytes, a ClientHello of 508, and then one byte at a time.
    client.send(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]));
    trickle(client, () => Buffer.alloc(1));
    await client.ended;
  });
});

test('1,000 idle sessions are closed and forgotten', async () => {
  await using port = await startPort('plain text', { sessionIdleMs: 300 });
  await expectHarmless(port, async () => {
    const sessions = Array.from({ length: 1000 }, () => connectHttp2(port));
    const closed = sessions.map((session) => new Promise((resolve) => session.on('close', resolve)));
    const answers = await Promise.all(sessions.map((session) => request(session, '/')));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    await Promise.all(closed);
  });
});
