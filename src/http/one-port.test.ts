import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import { describe, expect, test } from 'vitest';

import {
  errorCode,
  flag,
  frame,
  frameType,
  open,
  preface,
  settings,
  settingsInitialWindowSize,
} from '../../test/support/http2-frames.ts';
import type { Frame } from '../../test/support/http2-frames.ts';
import {
  cert,
  connectHttp2,
  connectRaw,
  connectRawHttp2,
  connectTcp,
  expectConnections,
  get,
  HeldScheduler,
  keepAliveAgent,
  readStream,
  request,
  startPort,
  transports,
} from './one-port.testkit.ts';

describe.each(transports)('over %s', (transport) => {
  test('HTTP/1.1 requests share a kept-alive connection', async () => {
    await using port = await startPort(transport);
    const agent = keepAliveAgent(port);
    for (let round = 0; round < 3; round += 1) {
      expect(await get(port, '/', agent)).toMatchObject({ status: 200, body: 'served' });
    }
    await expectConnections(port, 1);
    agent.destroy();
    await expectConnections(port, 0);
  });

  test('HTTP/2 streams share a connection, larger bodies than a window included', async () => {
    await using port = await startPort(transport);
    const session = connectHttp2(port);
    const large = 'a'.repeat(300_000);
    const answers = await Promise.all([request(session, '/'), request(session, '/echo', large)]);
    expect(answers).toEqual([
      { status: 200, body: 'served', code: errorCode.none },
      { status: 200, body: large, code: errorCode.none },
    ]);
    await expectConnections(port, 1);
    session.destroy();
    await expectConnections(port, 0);
  });

  test.each([0, 10, 10_000])(
    'a request over HTTP/2 whose body arrived while it waited for its turn is read to its end: %d bytes',
    async (length) => {
      const scheduler = new HeldScheduler();
      await using port = await startPort(transport, { scheduler });
      const session = connectHttp2(port);
      await request(session, '/');
      scheduler.isBusy = true;
      const body = 'a'.repeat(length);
      const answer = request(session, '/echo', body);
      await expect.poll(() => scheduler.waiting.length, { interval: 10 }).toBe(1);
      // Answered behind all that was sent before it.
      await new Promise((resolve) => session.ping(resolve));
      scheduler.waiting[0]!();
      expect(await answer).toEqual({ status: 200, body, code: errorCode.none });
      session.destroy();
    },
  );

  test('an upload over HTTP/2 that is answered unread gets the answer whole, with its trailers', async () => {
    await using port = await startPort(transport);
    const client = new Worker(new URL('uploads.testkit.ts', import.meta.url), {
      workerData: { url: port.url, ca: cert },
    });
    const [ends]: unknown[][][] = await once(client, 'message');
    expect(new Set(ends)).toEqual(new Set(['whole']));
  });

  test('an HTTP/2 preface that arrives byte by byte is served', async () => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'h2');
    client.socket.setNoDelay();
    const bytes = Buffer.concat([preface, settings(), open(1, '/', flag.endHeaders | flag.endStream)]);
    for (const byte of bytes) {
      await new Promise<unknown>((written) => {
        client.socket.write(Buffer.from([byte]), written);
      });
    }
    const data = await client.frame(({ type, stream }) => type === frameType.data && stream === 1);
    expect(data.payload.toString()).toBe('served');
    client.socket.destroy();
  });

  test.each([
    ['P', 'OST /echo'],
    ['PR', 'OPFIND /echo'],
    ['G', 'ET /echo'],
  ])('%s followed by %s is served as HTTP/1.1', async (first, rest) => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'http/1.1');
    client.socket.setNoDelay();
    await new Promise<unknown>((written) => {
      client.socket.write(first, written);
    });
    // Two turns of the event loop: the server reads what was written in the first.
    await setImmediate();
    await setImmediate();
    client.send(`${rest} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody`);
    await client.ended;
    expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*body/s);
  });

  describe.each([
    ['content-length', (bytes: number) => [`content-length: ${bytes}`, 'a'.repeat(bytes)]],
    ['chunks', (bytes: number) => ['transfer-encoding: chunked', chunked(bytes)]],
  ])('a body by %s', (_, write) => {
    test.each(
      [2_000, 100_000, 3_000_000].flatMap((bytes) => [
        { path: '/early', bytes },
        { path: '/unread', bytes },
      ]),
    )('that $path leaves unread, $bytes bytes, keeps no request behind it waiting', async ({ path, bytes }) => {
      await using port = await startPort(transport);
      const client = await connectRaw(port, 'http/1.1');
      const [field, body = ''] = write(bytes);
      client.send(`POST ${path} HTTP/1.1\r\nhost: a\r\n${field}\r\n\r\n${body.slice(0, 1_000)}`);
      await expect.poll(client.text).toContain('served');
      client.send(body.slice(1_000));
      client.send('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      expect(await client.ended).toEqual({ goaway: undefined, reset: false });
      expect(client.text().match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
      expect(port.requests.get('/')).toBe(1);
    });
  });

  test('a request to upgrade to h2c is answered over HTTP/1.1', async () => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'http/1.1');
    client.send('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\n');
    client.send('upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n');
    await client.ended;
    expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*served/s);
  });

  test('a body that waits for 100 Continue is asked for, another expectation gets 417', async () => {
    await using port = await startPort(transport);
    const patient = await connectRaw(port, 'http/1.1');
    patient.socket.once('data', () => patient.send('body'));
    patient.send('POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n');
    patient.send('content-length: 4\r\nexpect: 100-continue\r\n\r\n');
    await patient.ended;
    expect(patient.text()).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n.*body/s);

    const demanding = await connectRaw(port, 'http/1.1');
    demanding.send('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: tea\r\n\r\n');
    await demanding.ended;
    expect(demanding.text()).toMatch(/^HTTP\/1\.1 417 /);
  });

  test('CONNECT is refused', async () => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'http/1.1');
    client.send('CONNECT example.org:80 HTTP/1.1\r\nhost: example.org\r\n\r\n');
    await client.ended;
    expect(client.text()).toBe('');

    const session = connectHttp2(port);
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'example.org:80' });
    stream.end();
    expect(await readStream(stream)).toMatchObject({ status: 405 });
    session.destroy();
    expect(port.requests.size).toBe(0);
  });

  test('close sends GOAWAY at once and lets open requests finish', async () => {
    await using port = await startPort(transport);
    const session = connectHttp2(port);
    const agent = keepAliveAgent(port);
    const unanswered = Promise.all([request(session, '/held'), get(port, '/held', agent)]);
    const stream = session.request({ ':path': '/drip' });
    const dripped = readStream(stream);
    await once(stream, 'response');
    await expect.poll(() => port.requests.get('/held')).toBe(2);

    const closed = once(port.server, 'close');
    const goaway = once(session, 'goaway');
    port.server.close();
    expect((await goaway)[0]).toBe(errorCode.none);
    port.release();

    const [overHttp2, overHttp1] = await unanswered;
    expect(overHttp2).toEqual({ status: 200, body: 'served', code: errorCode.none });
    expect(await dripped).toEqual({ status: 200, body: 'first,served', code: errorCode.none });
    expect(overHttp1).toMatchObject({ status: 200, body: 'served', headers: { connection: 'close' } });
    await closed;
  });

  test('close serves an HTTP/2 request that was on its way, or says that it was not processed', async () => {
    await using port = await startPort(transport);
    const client = await connectRawHttp2(port);
    client.send(open(1, '/held', flag.endHeaders | flag.endStream));
    await expect.poll(() => port.requests.get('/held')).toBe(1);
    port.server.close();
    const first = await client.frame(({ type }) => type === frameType.goaway);
    client.send(open(3, '/', flag.endHeaders | flag.endStream));
    // Node cannot send the notice over TLS.
    const isNoticed = transport === 'plain text';
    expect(first.payload.readUInt32BE(0)).toBe(isNoticed ? 2 ** 31 - 1 : 1);
    const isAnswer = ({ type, stream }: Frame) => type === frameType.data && stream === 3;
    const answer = isNoticed && (await client.frame(isAnswer)).payload.toString();
    expect(answer).toBe(isNoticed && 'served');
    if (isNoticed) {
      const ping = await client.frame(({ type, flags }) => type === frameType.ping && flags === 0);
      client.send(frame(frameType.ping, flag.ack, 0, ping.payload));
    }
    const last = await client.frame(
      ({ type, payload }) => type === frameType.goaway && payload.readUInt32BE(0) < 2 ** 31 - 1,
    );
    expect([last.payload.readUInt32BE(0), last.payload.readUInt32BE(4)]).toEqual([isNoticed ? 3 : 1, errorCode.none]);
    port.release();
    await client.frame(({ type, stream }) => type === frameType.data && stream === 1);
    await client.ended;
  });

  test('close leaves the frames of an answer whole that is being written to a slow reader', async () => {
    await using port = await startPort(transport);
    const client = await connectRawHttp2(port, [settingsInitialWindowSize, 2 ** 31 - 1]);
    client.send(frame(frameType.windowUpdate, 0, 0, Buffer.from([0x7f, 0, 0, 0])));
    client.socket.pause();
    client.send(open(1, '/endless', flag.endHeaders | flag.endStream));
    client.send(open(3, '/held', flag.endHeaders | flag.endStream));
    await expect.poll(() => port.requests.get('/held')).toBe(1);
    port.server.close();
    client.socket.resume();
    await client.frame(({ type }) => type === frameType.goaway);
    port.release();
    await client.frame(({ type, stream }) => type === frameType.data && stream === 3);
    const types = new Set(
      client.frames.map(({ type, stream }) => `${type} of ${stream % 2 === 0 ? 'the connection' : 'a stream'}`),
    );
    expect([...types].filter((type) => !KNOWN_FRAMES.has(type))).toEqual([]);
    client.socket.destroy();
  });

  test('close lets the last of several pipelined answers say so, and runs no request behind it', async () => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'http/1.1');
    client.send('GET /held HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(2));
    await expect.poll(() => port.requests.get('/held')).toBe(2);
    port.server.close();
    client.send('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    await get(port, '/').catch(() => {}); // a refused connection: what was sent before it has arrived
    port.release();
    expect(await client.ended).toMatchObject({ reset: false });
    expect(client.text().match(/HTTP\/1\.1 200 OK|connection: [\w-]+/gi)).toEqual([
      'HTTP/1.1 200 OK',
      'Connection: keep-alive',
      'HTTP/1.1 200 OK',
      'connection: close',
    ]);
    expect(port.requests.get('/')).toBeUndefined();
  });

  test('close ends a kept-alive connection after the response it had begun', async () => {
    await using port = await startPort(transport);
    const client = await connectRaw(port, 'http/1.1');
    client.send('GET /drip HTTP/1.1\r\nhost: a\r\n\r\n');
    await expect.poll(client.text).toContain('first,');
    const closed = once(port.server, 'close');
    port.server.close();
    port.release();
    await client.ended;
    expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*first,.*served\r\n0\r\n\r\n$/s);
    await closed;
  });

  test('close ends connections without an open request at once', async () => {
    await using port = await startPort(transport);
    const agent = keepAliveAgent(port);
    await get(port, '/', agent);
    const session = connectHttp2(port);
    await request(session, '/');
    const silent = [await connectTcp(port), await connectRaw(port, 'http/1.1'), await connectRaw(port, 'h2')];
    const halfway = await connectRaw(port, 'http/1.1');
    halfway.send('GET / HTTP/1.1\r\nho');
    await expectConnections(port, 6);

    const sessionClosed = once(session, 'close');
    const closed = once(port.server, 'close');
    port.server.close();
    await Promise.all([closed, sessionClosed, halfway.ended, ...silent.map(({ ended }) => ended)]);
    agent.destroy();
  });

  test('close gives up a request body that never ends', async () => {
    await using port = await startPort(transport, { headersTimeoutMs: 200, requestTimeoutMs: 200 });
    const overHttp1 = await connectRaw(port, 'http/1.1');
    overHttp1.send('POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nbody');
    await expect.poll(overHttp1.text).toContain('body');
    const session = connectHttp2(port);
    const stream = session.request({ ':path': '/echo', ':method': 'POST' });
    const answer = readStream(stream);
    stream.write('body');
    await once(stream, 'response');

    const closed = once(port.server, 'close');
    port.server.close();
    expect(await answer).toEqual({ status: 200, body: 'body', code: errorCode.cancel });
    await overHttp1.ended;
    await closed;
  });

  test('closeAllConnections ends every connection, whatever it is doing', async () => {
    await using port = await startPort(transport);
    const session = connectHttp2(port);
    const stream = session.request({ ':path': '/held' });
    const answer = readStream(stream);
    const raw = [await connectTcp(port), await connectRaw(port, 'http/1.1'), await connectRaw(port, 'http/1.1')];
    raw[1]?.send('GET /held HTTP/1.1\r\nhost: a\r\n\r\n');
    await expect.poll(() => port.requests.get('/held')).toBe(2);
    port.server.closeAllConnections();
    await Promise.all(raw.map(({ ended }) => ended));
    expect(await answer).toMatchObject({ status: undefined });
    await expectConnections(port, 0);
    await expect.poll(() => port.running.now).toBe(0);
  });
});

/** What an HTTP/2 server may have sent here: anything else is a frame that was cut. */
const KNOWN_FRAMES = new Set([
  `${frameType.data} of a stream`,
  `${frameType.headers} of a stream`,
  `${frameType.settings} of the connection`,
  `${frameType.ping} of the connection`,
  `${frameType.goaway} of the connection`,
  `${frameType.windowUpdate} of the connection`,
]);

/** A body of so many bytes in chunks of up to 10,000. */
function chunked(bytes: number): string {
  const chunks = Array.from({ length: Math.ceil(bytes / 10_000) }, (_, i) => Math.min(10_000, bytes - i * 10_000));
  return `${chunks.map((length) => `${length.toString(16)}\r\n${'a'.repeat(length)}\r\n`).join('')}0\r\n\r\n`;
}

test('a TLS client without ALPN is served HTTP/1.1', async () => {
  await using port = await startPort('TLS');
  const client = await connectRaw(port, undefined);
  client.send('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  await client.ended;
  expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*served/s);
});
