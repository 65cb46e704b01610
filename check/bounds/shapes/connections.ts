import { randomBytes } from 'node:crypto';
import type net from 'node:net';
import {
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
} from '../../../test/support/http2-frames.ts';
import { http1Request } from '../../../test/support/raw.ts';
import { type Attack, envelope } from '../attack.ts';
import type { Shape } from '../shape.ts';

const LOGIN = '/kith.auth.v1.AuthService/Login';
const USER_ME = '/kith.auth.v1.AuthService/UserMe';
const LIST_CONTACTS = '/kith.contact.v1.ContactService/ListContacts';
const GRPC = { 'content-type': 'application/grpc+proto', te: 'trailers' };

/** What a connection that is held open ends with; or it is still there at the end, which `hold` counts. */
const ENDED_OR_HELD = /held|connection|HTTP|GOAWAY/;

/** A frame of HTTP/2 as a flood sends it, in batches, over connections that are opened again when they end. */
function http2Flood(
  name: string,
  sends: string,
  make: (n: number) => Buffer,
  options: Partial<Shape> & { readonly first?: () => Buffer } = {},
): Shape {
  const { first, ...rest } = options;
  return {
    name,
    kind: 'HTTP/2',
    who: 'anybody',
    sends: `${sends}, as fast as can be, over four connections`,
    isFlood: true,
    expects: [/GOAWAY|RST_STREAM|SETTINGS/],
    run: (attack) =>
      eachConnection(attack, 4, async (socket) => {
        await readFrames(attack, socket);
        socket.write(Buffer.concat([preface, settings(), first?.() ?? Buffer.alloc(0)]));
        for (let n = 0; !attack.isOver && !socket.destroyed; n += 50) {
          const batch = Buffer.concat(Array.from({ length: 50 }, (_, i) => make(n + i)));
          attack.sent(50);
          if (!socket.write(batch)) await drained(attack, socket);
          else await attack.wait(0);
        }
      }),
    ...rest,
  };
}

/** Opens a connection over and over, so many at a time. */
async function eachConnection(
  attack: Attack,
  count: number,
  use: (socket: net.Socket, i: number) => Promise<void>,
  addresses = 1,
): Promise<void> {
  const worker = async (i: number): Promise<void> => {
    while (!attack.isOver) {
      const socket = attack.socket(i % addresses);
      await use(socket, i);
      if (!socket.destroyed) await Promise.race([closed(socket), attack.wait(500)]);
      socket.destroy();
      await attack.wait(10);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, i) => worker(i)));
}

/** Opens so many connections, some at a time, and keeps them; `use` is called again each second. */
async function hold(
  attack: Attack,
  count: number,
  use: (socket: net.Socket, second: number) => void,
  addresses = 1,
): Promise<void> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < count && !attack.isOver; i++) {
    const socket = attack.socket(i % addresses);
    socket.resume();
    sockets.push(socket);
    attack.sent();
    use(socket, 0);
    if (i % 50 === 49) await attack.wait(20);
  }
  for (let second = 1; !attack.isOver; second++) {
    await attack.wait(1000);
    for (const socket of sockets) if (!socket.destroyed) use(socket, second);
  }
  attack.count('held', sockets.filter(({ destroyed }) => !destroyed).length);
  for (const socket of sockets) socket.destroy();
}

function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

async function drained(attack: Attack, socket: net.Socket): Promise<void> {
  await Promise.race([
    new Promise<void>((resolve) => socket.once('drain', () => resolve())),
    closed(socket),
    attack.untilOver(),
  ]);
}

/** Counts what the server says: GOAWAY and RST_STREAM by their codes, and the first answers. Resolves when connected. */
async function readFrames(attack: Attack, socket: net.Socket): Promise<void> {
  let unread: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    let at = 0;
    while (unread.length - at >= 9) {
      const end = at + 9 + unread.readUIntBE(at, 3);
      if (end > unread.length) break;
      const type = unread[at + 3];
      if (type === frameType.goaway && end - at >= 17) attack.count(`GOAWAY ${unread.readUInt32BE(at + 13)}`);
      else if (type === frameType.rstStream) attack.count(`RST_STREAM ${unread.readUInt32BE(at + 9)}`);
      else if (type === frameType.headers) attack.count('HEADERS');
      else if (type === frameType.settings && unread[at + 4] === 0) attack.count('SETTINGS');
      at = end;
    }
    unread = unread.subarray(at);
  });
  await Promise.race([new Promise<void>((resolve) => socket.once('connect', () => resolve())), closed(socket)]);
}

/** Counts the status lines of HTTP/1.1 answers. */
function readStatus(attack: Attack, socket: net.Socket): void {
  socket.on('data', (chunk: Buffer) => {
    for (const [, status] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g)) attack.count(`HTTP ${status}`);
  });
}

const streamOf = (n: number) => 2 * n + 1;

export const connectionShapes: readonly Shape[] = [
  http2Flood(
    'rapid reset',
    'HEADERS and RST_STREAM',
    (n) => Buffer.concat([open(streamOf(n), LOGIN), resetStream(streamOf(n))]),
    {
      isShort: true,
    },
  ),
  http2Flood('streams that the server is made to reset', 'HEADERS and a WINDOW_UPDATE of nothing', (n) =>
    Buffer.concat([open(streamOf(n), LOGIN), frame(frameType.windowUpdate, 0, streamOf(n), Buffer.alloc(4))]),
  ),
  http2Flood('PING flood', 'PING', () => frame(frameType.ping, 0, 0, Buffer.alloc(8))),
  http2Flood('SETTINGS flood', 'SETTINGS', () => settings([3, 100])),
  http2Flood(
    'CONTINUATION flood',
    'a header block that does not end',
    () => frame(frameType.continuation, 0, 1, Buffer.concat([literalField('x-a', 'b'.repeat(1000))])),
    { first: () => open(1, LOGIN, 0), isShort: true },
  ),
  http2Flood('empty DATA flood', 'DATA without a byte', () => frame(frameType.data, 0, 1), {
    first: () => open(1, LOGIN, flag.endHeaders, GRPC),
  }),
  http2Flood(
    'one byte of DATA at a time',
    'DATA of one byte, of a message of 1 MB',
    () => frame(frameType.data, 0, 1, Buffer.alloc(1)),
    {
      first: () =>
        Buffer.concat([
          open(1, LOGIN, flag.endHeaders, GRPC),
          frame(frameType.data, 0, 1, Buffer.from([0, 0, 15, 0, 0])),
        ]),
    },
  ),
  http2Flood('PRIORITY flood', 'PRIORITY', (n) => frame(frameType.priority, 0, streamOf(n), Buffer.alloc(5))),
  http2Flood('WINDOW_UPDATE flood', 'WINDOW_UPDATE', () =>
    frame(frameType.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1])),
  ),
  http2Flood('GOAWAY flood', 'GOAWAY', () => frame(frameType.goaway, 0, 0, Buffer.alloc(8))),
  http2Flood('unknown frames', 'frames of a type that there is not, 16 kB each', () =>
    frame(0xee, 0, 0, Buffer.alloc(16_000)),
  ),
  http2Flood('headers of 15 kB', 'streams with 15 kB of headers', (n) =>
    frame(
      frameType.headers,
      flag.endHeaders | flag.endStream,
      streamOf(n),
      headerBlock(USER_ME, { ...GRPC, 'x-filler': 'f'.repeat(15_000) }),
    ),
  ),
  http2Flood(
    'headers out of the table',
    'streams whose headers name one entry of 4 kB of the table a thousand times',
    (n) => openFromTable(streamOf(n + 1), LOGIN, GRPC),
    { first: () => openWithEntry(1, LOGIN, flag.endHeaders | flag.endStream, GRPC) },
  ),
  http2Flood(
    'headers out of the table, beside a stream that stays open',
    'SETTINGS acknowledged, a request without an end, and streams as before',
    (n) => openFromTable(streamOf(n + 1), LOGIN, GRPC),
    {
      first: () => Buffer.concat([frame(frameType.settings, flag.ack, 0), openWithEntry(1, LOGIN, undefined, GRPC)]),
    },
  ),
  http2Flood(
    'headers out of the table, among requests that are answered',
    'for each request of 12 kB of headers thirty streams of 70 kB, which are 18 bytes each',
    (n) => openFromTable(streamOf(n + 1), LOGIN, {}, n % 31 === 0 ? 3 : 18),
    { first: () => openWithEntry(1, LOGIN, flag.endHeaders | flag.endStream, GRPC) },
  ),
  {
    name: 'uploads that do not end, HTTP/2',
    kind: 'half requests',
    who: 'anybody',
    sends: 'bodies of 900 kB on 100 streams of 20 connections, all but their last byte',
    expects: [/RST_STREAM|HEADERS|held|GOAWAY/],
    async run(attack) {
      const part = Buffer.concat([Buffer.from([0, 0, 0x0f, 0x00, 0x00]), Buffer.alloc(60_000)]);
      await park(attack, 20, 100, LOGIN, GRPC, part);
    },
  },
  {
    name: 'uploads that do not end, signed in',
    kind: 'half requests',
    who: 'viewer',
    sends: 'bodies of 60 kB on 100 streams of 60 connections to CreateContact, all but their last byte',
    expects: [/RST_STREAM|HEADERS|held|GOAWAY/],
    async run(attack) {
      const part = Buffer.concat([Buffer.from([0, 0, 0x0f, 0x00, 0x00]), Buffer.alloc(60_000)]);
      const headers = { ...GRPC, authorization: `Bearer ${attack.viewer.accessToken}` };
      await park(attack, 60, 100, '/kith.contact.v1.ContactService/CreateContact', headers, part);
    },
  },
  {
    name: 'uploads that do not end, HTTP/1.1',
    kind: 'half requests',
    who: 'anybody',
    sends: '1,000 bodies of 900 kB, all but their last byte',
    expects: [ENDED_OR_HELD],
    async run(attack) {
      const head = http1Request('POST', LOGIN, { 'content-type': 'application/proto', 'content-length': '900000' });
      const part = Buffer.alloc(100_000);
      await hold(attack, 1000, (socket, second) => {
        if (second === 0) {
          readStatus(attack, socket);
          socket.write(head);
        }
        if (second < 9) socket.write(second === 8 ? part.subarray(1) : part);
      });
    },
  },
  {
    name: 'slow headers',
    kind: 'half requests',
    who: 'anybody',
    sends: '500 requests whose headers come a byte a second',
    expects: [/held/],
    run: (attack) =>
      hold(attack, 500, (socket, second) => void socket.write(second === 0 ? `POST ${LOGIN} HTTP/1.1\r\nx-a: ` : 'a')),
  },
  {
    name: 'slow bodies',
    kind: 'half requests',
    who: 'anybody',
    sends: '500 requests whose bodies come a byte a second',
    expects: [/held/],
    isShort: true,
    run: (attack) =>
      hold(attack, 500, (socket, second) => {
        const head = http1Request('POST', LOGIN, { 'content-type': 'application/json', 'content-length': '1000' });
        socket.write(second === 0 ? head : '{');
      }),
  },
  {
    name: 'slow files',
    kind: 'half requests',
    who: 'viewer',
    sends: '60 files of contacts of 1 MB, 100 kB a second and never the last 100 kB',
    expects: [ENDED_OR_HELD],
    async run(attack) {
      const head = http1Request('POST', '/contacts.csv?preview=true', {
        authorization: `Bearer ${attack.viewer.accessToken}`,
        'content-length': '1000000',
      });
      const part = Buffer.alloc(100_000, 'Name\n');
      await hold(attack, 60, (socket, second) => {
        if (second === 0) {
          readStatus(attack, socket);
          socket.write(head);
        }
        if (second < 9) socket.write(part);
      });
    },
  },
  {
    name: 'slow chunks',
    kind: 'half requests',
    who: 'anybody',
    sends: '200 chunked bodies, a byte in each chunk, with extensions of 1 kB',
    expects: [ENDED_OR_HELD],
    run: (attack) =>
      hold(attack, 200, (socket, second) => {
        if (second === 0) {
          readStatus(attack, socket);
          socket.write(
            http1Request('POST', LOGIN, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }),
          );
        }
        for (let i = 0; i < 20; i++) socket.write(`1;${'e'.repeat(1000)}\r\n \r\n`);
      }),
  },
  {
    name: 'expect: 100-continue',
    kind: 'half requests',
    who: 'anybody',
    sends: '500 requests that wait to be told to go on, and do not',
    expects: [/HTTP 100|HTTP 4/],
    run: (attack) =>
      hold(attack, 500, (socket, second) => {
        if (second > 0) return;
        readStatus(attack, socket);
        const headers = { 'content-type': 'application/json', 'content-length': '100000', expect: '100-continue' };
        socket.write(http1Request('POST', LOGIN, headers));
      }),
  },
  {
    name: 'connections that say nothing',
    kind: 'connections',
    who: 'anybody',
    sends: '2,000 connections from one address',
    expects: [/held/],
    isShort: true,
    run: (attack) => hold(attack, 2000, () => {}),
  },
  {
    name: 'idle HTTP/2 connections',
    kind: 'connections',
    who: 'anybody',
    sends: '2,000 HTTP/2 connections from one address that ping each second',
    expects: [/held/],
    run: (attack) =>
      hold(attack, 2000, (socket, second) => {
        socket.write(
          second === 0 ? Buffer.concat([preface, settings()]) : frame(frameType.ping, 0, 0, Buffer.alloc(8)),
        );
      }),
  },
  {
    name: 'idle HTTP/1.1 connections',
    kind: 'connections',
    who: 'anybody',
    sends: '2,000 connections from twenty addresses with one request each',
    expects: [/HTTP 200/],
    run: (attack) =>
      hold(
        attack,
        2000,
        (socket, second) => {
          if (second > 0) return;
          readStatus(attack, socket);
          socket.write(http1Request('GET', '/readyz', {}));
        },
        20,
      ),
  },
  {
    name: 'connections that come and go',
    kind: 'connections',
    who: 'anybody',
    sends: 'connections that are reset at once, as fast as can be',
    isFlood: true,
    expects: [/connection/],
    run: (attack) =>
      eachConnection(attack, 50, async (socket) => {
        attack.sent();
        await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), closed(socket)]);
        socket.write('PR');
        socket.resetAndDestroy();
      }),
  },
  {
    name: 'TLS where there is none',
    kind: 'connections',
    who: 'anybody',
    sends: 'beginnings of TLS, and what is no HTTP',
    isFlood: true,
    expects: [/HTTP 400/],
    run: (attack) =>
      eachConnection(attack, 20, async (socket) => {
        attack.sent();
        readStatus(attack, socket);
        socket.write(Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), randomBytes(500)]));
        await Promise.race([closed(socket), attack.wait(1000)]);
      }),
  },
  {
    name: 'HTTP/2 by upgrade, and garbage after the preface',
    kind: 'connections',
    who: 'anybody',
    sends: 'h2c upgrades and prefaces with random bytes behind',
    isFlood: true,
    expects: [/GOAWAY|HTTP|connection/],
    run: (attack) =>
      eachConnection(attack, 20, async (socket, i) => {
        attack.sent();
        if (i % 2 === 0) {
          readStatus(attack, socket);
          const upgrade = {
            connection: 'Upgrade, HTTP2-Settings',
            upgrade: 'h2c',
            'http2-settings': 'AAMAAABkAAQAAP__',
          };
          socket.write(http1Request('GET', '/readyz', upgrade));
        } else {
          void readFrames(attack, socket);
          socket.write(Buffer.concat([preface, randomBytes(2000)]));
        }
        await Promise.race([closed(socket), attack.wait(100)]);
      }),
  },
  {
    name: 'pipelined requests',
    isShort: true,
    kind: 'HTTP/1.1',
    who: 'anybody',
    sends: 'requests to the health of the process, 90 at a time, answers read',
    isFlood: true,
    expects: [/HTTP 200/],
    run: (attack) => pipeline(attack, http1Request('GET', '/readyz', {})),
  },
  {
    name: 'unknown paths',
    kind: 'HTTP/1.1',
    who: 'anybody',
    sends: 'a path of 8 kB that there is not, each a different one',
    isFlood: true,
    expects: [/HTTP 404/],
    run: (attack) => pipeline(attack, (n) => http1Request('GET', `/${n.toString(36)}/${'p'.repeat(8000)}`, {}), 10),
  },
  {
    name: 'CORS preflights',
    kind: 'HTTP/1.1',
    who: 'anybody',
    sends: 'preflights, each of another origin',
    isFlood: true,
    expects: [/HTTP [24]/],
    run: (attack) =>
      pipeline(attack, (n) =>
        http1Request('OPTIONS', LOGIN, {
          origin: `https://o${n.toString(36)}.example`,
          'access-control-request-method': 'POST',
          'access-control-request-headers': Array.from({ length: 100 }, (_, i) => `x-${i}`).join(),
        }),
      ),
  },
  {
    name: 'request ids and agents of their own',
    isShort: true,
    kind: 'logs',
    who: 'anybody',
    sends: 'refused calls whose x-request-id and user-agent are kilobytes of what has to be escaped',
    isFlood: true,
    expects: [/INVALID_ARGUMENT/],
    run: (attack) =>
      attack.pump({ connections: 4, inFlight: 20 }, (n) => ({
        method: LOGIN,
        protocol: 'connect-json',
        body: '{}',
        headers: { 'x-request-id': `${n}${'"\\'.repeat(3000)}`, 'user-agent': '\\"'.repeat(3000) },
      })),
  },
  {
    name: 'calls that time out at once',
    kind: 'calls',
    who: 'viewer',
    sends: 'ListContacts, and Login, whose hash takes longer, with a deadline of a nanosecond to a millisecond',
    isFlood: true,
    expects: [/DEADLINE_EXCEEDED/],
    isShort: true,
    run: (attack) =>
      attack.pump({ connections: 4, inFlight: 20 }, (n) => {
        if (n % 10 === 0) {
          const body = JSON.stringify({ identifier: 'nobody', password: `wrong ${n}` });
          return { method: LOGIN, protocol: 'connect-json', body, headers: { 'connect-timeout-ms': '1' } };
        }
        return {
          method: LIST_CONTACTS,
          protocol: n % 2 === 0 ? 'connect-json' : 'connect',
          body: n % 2 === 0 ? '{}' : envelope(Buffer.alloc(0)),
          token: attack.viewer.accessToken,
          headers: n % 2 === 0 ? { 'connect-timeout-ms': '1' } : { ...GRPC, 'grpc-timeout': n % 4 === 1 ? '1n' : '1m' },
        };
      }),
  },
];

/** Parks bodies: so many connections with so many streams, each with the same first part and more of it each second. */
async function park(
  attack: Attack,
  connections: number,
  streams: number,
  path: string,
  headers: Record<string, string>,
  part: Buffer,
): Promise<void> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < connections && !attack.isOver; i++) {
    const socket = attack.socket();
    sockets.push(socket);
    await readFrames(attack, socket);
    socket.write(Buffer.concat([preface, settings()]));
    for (let n = 0; n < streams; n++) {
      attack.sent();
      socket.write(open(streamOf(n), path, flag.endHeaders, headers));
      for (let at = 0; at < part.length; at += 16_000) {
        socket.write(frame(frameType.data, 0, streamOf(n), part.subarray(at, at + 16_000)));
      }
    }
    await attack.wait(20);
  }
  await attack.untilOver();
  attack.count('held', sockets.filter(({ destroyed }) => !destroyed).length);
  for (const socket of sockets) socket.destroy();
}

/** Sends requests behind one another over four connections and reads the answers. */
async function pipeline(attack: Attack, request: Buffer | ((n: number) => Buffer), depth = 90): Promise<void> {
  let sent = 0;
  await eachConnection(attack, 4, async (socket) => {
    let answered = 0;
    let asked = 0;
    socket.on('data', (chunk: Buffer) => {
      for (const [, status] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g)) {
        answered += 1;
        attack.count(`HTTP ${status}`);
      }
    });
    while (!attack.isOver && !socket.destroyed) {
      const room = depth - (asked - answered);
      if (room >= depth / 2) {
        const batch = Array.from({ length: Math.ceil(room) }, () =>
          typeof request === 'function' ? request(sent++) : request,
        );
        asked += batch.length;
        attack.sent(batch.length);
        socket.write(Buffer.concat(batch));
      }
      await attack.wait(1);
    }
  });
}
