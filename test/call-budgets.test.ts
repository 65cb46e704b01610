import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AdminService } from '../gen/kith/admin/v1/admin_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';

const LIST = '/kith.contact.v1.ContactService/ListContacts';
const LOGIN = '/kith.auth.v1.AuthService/Login';
const ME = '/kith.auth.v1.AuthService/UserMe';
const REFRESH = '/kith.auth.v1.AuthService/RefreshAccessToken';
const NOTES = '漢'.repeat(10_000);
const BODY = '{"page_size":1000}';
const ASKED = 50;

/** Addresses that ask for more than strangers have. */
const STRANGERS = 20;

describe.each([
  ['with the fast path', 'true'],
  ["by Connect's own way", 'false'],
])('answers that nobody reads, %s', (_, fast) => {
  let kith: Kith;
  let greedy: SignedIn;
  let other: SignedIn;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_FAST_PATH: fast } });
    [greedy, other] = await Promise.all([kith.user(Role.VIEWER), kith.user(Role.VIEWER)]);
    const contacts = kith.client(ContactService, greedy.accessToken);
    for (let i = 0; i < 60; i++) await contacts.createContact({ givenName: `Contact ${i}`, notes: NOTES });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each([
    ['over HTTP/2, with a window of 0', askOverHttp2],
    ['over HTTP/1.1, pipelined', askOverHttp1],
  ])('are bounded for each caller, and given up with their connection: %s', async (_name, ask) => {
    const contacts = kith.client(ContactService, greedy.accessToken);
    const unread = await ask(kith, greedy.accessToken, async () => {
      // The lists of a caller run in the order they came. Those of the new connection may come behind the first of these.
      for (let i = 0; i < 10; i++) await contacts.listContacts({ pageSize: 1 }).catch(() => {});
    });
    // An answer takes 1.8 MB, a caller has 16 MiB, and the operating system takes some MB for itself.
    const statuses = await unread.statuses();
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(ASKED / 2);
    // Nobody else has less for it.
    await kith.client(ContactService, other.accessToken).listContacts({});
    unread.destroy();
    await eventually(() => contacts.listContacts({ pageSize: 1000 }).catch(() => undefined));
  });
});

describe.each([
  ['with the fast path', 'true'],
  ["by Connect's own way", 'false'],
])('requests of strangers that do not end, %s', (_, fast) => {
  test('leave room for calls of users, and for sign-ins and refreshes from other addresses', async () => {
    await using kith = await startKith({ env: { KITH_FAST_PATH: fast, KITH_TRUSTED_PROXIES: '127.0.0.1' } });
    const { user, password, accessToken, refreshToken } = await kith.user(Role.VIEWER);
    const admin = kith.client(AdminService, (await kith.admin()).accessToken);
    const bytes = async () => {
      const { budgets } = await admin.getStatus({});
      return budgets.find(({ name }) => name === 'call_bytes');
    };
    const refused = async () => Number((await bytes())?.refusals);
    const isFull = async () => Number((await bytes())?.used) > 27 * 1024 * 1024 && (await refused()) > 100;
    using opened = new DisposableStack();
    const leaveOpen = (address: string, streams: number, body: Buffer) => {
      const session = opened.adopt(http2.connect(kith.address), (open) => open.destroy());
      session.on('error', () => {});
      const headers = { ':method': 'POST', ':path': LOGIN, 'content-type': 'application/json' };
      for (let n = 0; n < streams; n++) {
        const stream = session.request({ ...headers, 'x-forwarded-for': address });
        stream.on('error', () => {});
        stream.write(body);
      }
    };
    for (let i = 0; i < STRANGERS; i++) leaveOpen(`192.0.2.${i}`, 34, Buffer.alloc(60_000, ' '));
    await expect.poll(isFull, { timeout: 10_000 }).toBe(true);
    const call = async (path: string, body: object, headers: Record<string, string>) => {
      const answer = await fetch(kith.address + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
      return answer.status;
    };
    const from = (address: string) => ({ 'x-forwarded-for': address });
    const statuses = await Promise.all([
      call(ME, {}, { authorization: `Bearer ${accessToken}` }),
      call(LOGIN, { identifier: user.username, password }, from('198.51.100.1')),
      call(REFRESH, { refreshToken }, from('198.51.100.2')),
    ]);
    expect(statuses).toEqual([200, 200, 200]);
    // Small calls take what was too little for the large ones, and what a refused one gives back, until no call has room.
    const askBehindSmallCalls = () => {
      leaveOpen('192.0.2.200', 30, Buffer.from('{'));
      return call(LOGIN, { identifier: user.username, password }, from('192.0.2.1'));
    };
    await expect.poll(askBehindSmallCalls, { timeout: 20_000 }).toBe(429);
  });
});

interface Unread {
  /** Of all answers. */
  statuses(): Promise<number[]>;
  destroy(): void;
}

/** Asks for as many lists, and reads the headers of the answers alone. */
async function askOverHttp2({ address }: Kith, accessToken: string): Promise<Unread> {
  const session = http2.connect(address, { settings: { initialWindowSize: 0 } });
  session.on('error', () => {});
  const statuses = Array.from({ length: ASKED }, async () => {
    const stream = session.request({
      ':method': 'POST',
      ':path': LIST,
      'content-type': 'application/json',
      authorization: `Bearer ${accessToken}`,
    });
    stream.on('error', () => {});
    stream.end(BODY);
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    return Number(headers[':status']);
  });
  return { statuses: () => Promise.all(statuses), destroy: () => session.destroy() };
}

/** Asks for as many lists and reads nothing before `allAnswered`. */
async function askOverHttp1({ port }: Kith, accessToken: string, allAnswered: () => Promise<void>): Promise<Unread> {
  const socket = net.connect(port, '127.0.0.1').pause();
  socket.on('error', () => {});
  const head = `POST ${LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer ${accessToken}\r\ncontent-length: ${BODY.length}\r\n\r\n`;
  await once(socket, 'connect');
  socket.write((head + BODY).repeat(ASKED));
  return {
    async statuses() {
      await allAnswered();
      const statuses: number[] = [];
      let rest = '';
      for await (const chunk of socket) {
        rest += (chunk as Buffer).toString('latin1');
        for (const [, status] of rest.matchAll(/HTTP\/1\.1 (\d{3}) /g)) statuses.push(Number(status));
        rest = /H[TP/1. 0-9]{0,12}$/.exec(rest)?.[0] ?? '';
        if (statuses.length === ASKED) break;
      }
      return statuses;
    },
    destroy: () => socket.destroy(),
  };
}

/** What `look` finds, once it finds something. */
async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(20);
  }
}
