import { once } from 'node:events';
import http from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../kernel/clock.ts';
import { RestReader } from './rest-reader.ts';

const BODY_BYTES = 1_000_000;

interface Client {
  readonly socket: Socket;
  text(): string;
}

/** A server that answers each request before its body, and reads the rest of two at once. */
async function startServer(restTimeoutMs = 60_000) {
  const reader = new RestReader({ restTimeoutMs, clock: systemClock, atOnce: 2 });
  const answered = new Set<Socket>();
  const server = http.createServer((req, res) => {
    const { socket } = req;
    res.on('finish', () => {
      answered.add(socket);
      reader.take(req, socket);
    });
    req.on('end', () => answered.delete(socket));
    if (req.url === '/left')
      req.on('readable', () => res.end(req.url)); // with which nobody hears of its end
    else if (req.url === '/slow') setTimeout(() => res.end(req.url), 2 * restTimeoutMs);
    else res.end(req.url);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    reader,
    /** Connections of which a rest is to come, and those of them that are read. */
    waitedFor: () => answered.size,
    read: () => [...answered].filter((socket) => !socket.isPaused()).length,
    async connect(localAddress: string, path: string, length = BODY_BYTES): Promise<Client> {
      const socket = connect({ port, host: '127.0.0.1', localAddress });
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString('latin1'))).on('error', () => {});
      await once(socket, 'connect');
      socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`);
      return { socket, text: () => text };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('the rests of requests that were answered', () => {
  test('are read of so many at once, each to its end, and the next request is found behind each', async () => {
    await using server = await startServer();
    const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => server.connect('127.0.0.1', `/${i}`)));
    await expect.poll(server.waitedFor).toBe(12);
    await expect.poll(server.read).toBe(2);
    for (const { socket } of clients) {
      socket.write(Buffer.alloc(BODY_BYTES));
      socket.write('GET /next HTTP/1.1\r\nhost: a\r\n\r\n');
    }
    for (const [i, { text }] of clients.entries()) {
      await expect.poll(text).toMatch(new RegExp(`/${i}HTTP/1.1 200 OK.*/next$`, 's'));
    }
    await expect.poll(() => server.reader.reading).toBe(0);
    for (const { socket } of clients) socket.destroy();
  });

  test('that do not come, of one address, do not keep the rest of another one from being read', async () => {
    await using server = await startServer();
    const silent = await Promise.all(Array.from({ length: 20 }, () => server.connect('127.0.0.2', '/silent')));
    await expect.poll(() => silent.every(({ text }) => text() !== '')).toBe(true);
    const { socket, text } = await server.connect('127.0.0.3', '/whole');
    socket.write(Buffer.alloc(BODY_BYTES));
    socket.write('GET /next HTTP/1.1\r\nhost: a\r\n\r\n');
    await expect.poll(text).toMatch(/\/wholeHTTP\/1.1 200 OK.*\/next$/s);
    expect(silent.every((client) => !client.socket.destroyed)).toBe(true);
    for (const client of [...silent, { socket }]) client.socket.destroy();
  });

  test('that have come, though a handler did not read them, cost nothing of the requests that follow', async () => {
    await using server = await startServer(300);
    const { socket, text } = await server.connect('127.0.0.1', '/left', 2000);
    socket.write(Buffer.alloc(1000));
    await expect.poll(text).toMatch(/\/left$/);
    socket.write(Buffer.alloc(1000));
    socket.write('GET /slow HTTP/1.1\r\nhost: a\r\n\r\n');
    await expect.poll(text).toMatch(/\/slow$/);
    await expect.poll(() => server.reader.reading).toBe(0);
    socket.destroy();
  });

  test('that do not come are waited for until a time, also of those that wait for their turn', async () => {
    await using server = await startServer(300);
    const silent = await Promise.all(Array.from({ length: 5 }, () => server.connect('127.0.0.1', '/silent')));
    await Promise.all(silent.map(async ({ socket }) => socket.destroyed || once(socket, 'close')));
    await expect.poll(() => server.reader.reading).toBe(0);
  });
});
