import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { describe, expect, test, vi } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { openDatabase } from '../src/storage/database.ts';
import { databases } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { ADMIN_PASSWORD, grpc, refusalOf } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';
import { startMailServer } from './support/smtp-server.ts';

const ROUNDS = sizeOf('KITH_TEST_MAIL_CRASHES', 1, 2);
const CHANGES = 12;

vi.setConfig({ testTimeout: 60_000 + ROUNDS * 15_000 });

/** What a mail server does with a connection. */
const BEHAVIOURS = ['takes', 'refuses', 'greylists', 'slow', 'vanishes', 'vanishes after it took the mail'] as const;
type Behaviour = (typeof BEHAVIOURS)[number];

interface BadMailServer extends AsyncDisposable {
  readonly url: string;
  behaviour: Behaviour;
}

/** Stands before a mail server and is as unreliable as it is told to be; each connection as it is told then. */
async function startBadMailServer(target: {
  readonly url: string;
  refusal: string | undefined;
}): Promise<BadMailServer> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const { behaviour } = bad;
    if (behaviour === 'vanishes') {
      socket.destroy();
      return;
    }
    target.refusal =
      behaviour === 'refuses' ? '452 4.3.1 full' : behaviour === 'greylists' ? '451 4.7.1 later' : undefined;
    const upstream = connect(Number(new URL(target.url).port), '127.0.0.1');
    for (const each of [socket, upstream]) {
      open.add(each);
      each
        .on('error', () => {})
        .on('close', () => {
          open.delete(each);
          socket.destroy();
          upstream.destroy();
        });
    }
    let isSent = false;
    socket.on('data', (data) => {
      isSent ||= data.toString('latin1').endsWith('\r\n.\r\n');
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (behaviour === 'vanishes after it took the mail' && isSent) socket.destroy();
      else if (behaviour === 'slow') setTimeout(() => socket.write(data), 50);
      else socket.write(data);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bad: BadMailServer = {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    behaviour: 'takes',
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return bad;
}

describe.each(databases)('on $name', (kind) => {
  test('a server that is killed while mails go out, over an unreliable mail server, sends each at least once, and none for a change that was not made', async () => {
    await using database = await kind.create();
    await using mailServer = await startMailServer();
    await using bad = await startBadMailServer(mailServer);
    const env = {
      ...database.env,
      KITH_SMTP_URL: bad.url,
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_SECRET_KEY: Buffer.alloc(32, 'mail').toString('base64'),
      KITH_LOG_LEVEL: 'silent',
    };
    /** As if the time that mails wait had passed; all rows. */
    const letTimePass = async () => {
      await using opened = await openDatabase(database.url);
      await opened.db.updateTable('mails').set({ next_ms: 0 }).where('state', '=', 'waiting').execute();
      return await opened.db.selectFrom('mails').select(['id', 'recipient', 'state']).execute();
    };
    const start = () => startProcess({ env });

    const told: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await using kith = await start();
      const { accessToken } = await signedIn(
        createClient(AuthService, grpc(kith.address)).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
      );
      const users = createClient(UserService, grpc(kith.address, accessToken));
      const last = Math.floor(Math.random() * CHANGES);
      const acknowledged = Promise.withResolvers<void>();
      const change = async (i: number) => {
        const username = `r${round}c${i}`;
        const email = `${username}@example.org`;
        const { user } = await users.createUser({
          username,
          email,
          name: username,
          password: `of ${username} as such`,
        });
        const password = `set for ${username}`;
        await refusalOf(users.setUserPassword({ userId: user!.id, password: `not ${password}`, etag: '"x"' }));
        await users.setUserPassword({ userId: user!.id, password });
        told.push(email);
        if (i === last) acknowledged.resolve();
      };
      const changes = (async () => {
        for (let i = 0; i < CHANGES; i++) {
          bad.behaviour = BEHAVIOURS[Math.floor(Math.random() * BEHAVIOURS.length)]!;
          await change(i);
        }
      })().catch(() => {}); // the server is killed under it
      // At any moment, as mails of some changes go out and others are made.
      await Promise.race([changes, acknowledged.promise]);
      await sleep(Math.random() * 100);
      kith.kill('SIGKILL');
      await kith.exited;
      await changes;
      await letTimePass();
    }

    bad.behaviour = 'takes';
    mailServer.refusal = undefined;
    await using kith = await start();
    await expect
      .poll(() => told.filter((email) => !mailServer.mails.some(({ to }) => to.includes(email))), { timeout: 60_000 })
      .toEqual([]);
    kith.kill('SIGTERM');
    await kith.exited;

    const rows = await letTimePass();
    const recipients = new Map(rows.map(({ id, recipient }) => [id, recipient]));
    // One for each change: a repetition has the Message-ID of the mail that it repeats, and is the same mail.
    expect(new Set(recipients.values()).size).toBe(rows.length);
    for (const { to, parsed } of mailServer.mails) {
      const id = /^<(.+)@/.exec(parsed.messageId ?? '')?.[1] ?? '';
      expect(to).toEqual([recipients.get(id)]);
    }
    expect(told.length).toBeGreaterThan(0);
    expect(told.every((email) => rows.some(({ recipient }) => recipient === email))).toBe(true);
    console.log(
      `${ROUNDS} rounds: ${told.length} acknowledged changes, ${rows.length} mails, received ${mailServer.mails.length} times`,
    );
  });
});
