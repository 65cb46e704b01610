import { randomBytes, randomUUIDv7 } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import http2 from 'node:http2';
import { createClient } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { type Database, openDatabase } from '../src/storage/database.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { startWatchPatiently } from './support/watch.ts';
import { signedIn } from './support/sign-in.ts';

/** 1000000 for the long run. */
const EVENTS = Number(process.env['KITH_TEST_EVENTS'] ?? 50_000);

/** Before the measuring: what is kept of the end of the log, and buffers, have their size then. */
const WARM_UP = 10_000;

const BATCH = 500;

/** Of each kind. */
const STANDING = 5;

/** Of one activity, at least. */
const EVENT_BYTES = 2000;

/** One in so many is for the reader that keeps up. */
const KEPT_UP_EACH = 10;

/** What the process may come to hold in the time: a tenth of what the activities would take, kept for each reader. */
const GROWTH_MAX_BYTES = (50_000 * EVENT_BYTES * 2 * STANDING) / 10;

const PATH = '/kith.activity.v1.ActivityService/WatchUserActivity';

/** A reader that stops reading; again when it is given up, as one that hangs and is restarted. */
interface Standing extends Disposable {
  /** How often it was given up. */
  readonly ended: number;
}

/** Over HTTP/2, with a window that takes one first message at the most. */
function standOverHttp2(address: string, accessToken: string): Standing {
  let ended = 0;
  let going = true;
  const session = http2.connect(address, { settings: { initialWindowSize: 100 } }).on('error', () => {});
  const open = (): void => {
    if (!going) return;
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc+proto',
      authorization: `Bearer ${accessToken}`,
    });
    stream
      .on('error', () => {})
      .on('close', () => {
        ended++;
        open();
      })
      .pause()
      .end(Buffer.alloc(5)); // an empty message of gRPC
  };
  open();
  return {
    get ended() {
      return ended;
    },
    [Symbol.dispose]() {
      going = false;
      session.destroy();
    },
  };
}

/** Over HTTP/1.1, with a socket that is not read. */
function standOverHttp1(address: string, accessToken: string): Standing {
  let ended = 0;
  let going = true;
  let request: http.ClientRequest | undefined;
  const open = (): void => {
    if (!going) return;
    request = http
      .request(`${address}${PATH}`, {
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/connect+proto', authorization: `Bearer ${accessToken}` },
      })
      .on('error', () => {})
      .on('response', (response) => response.on('error', () => {}).pause())
      .on('close', () => {
        ended++;
        open();
      });
    request.end(Buffer.alloc(5)); // an empty message of Connect
  };
  open();
  return {
    get ended() {
      return ended;
    },
    [Symbol.dispose]() {
      going = false;
      request?.destroy();
    },
  };
}

/** Appends as fast as the database takes it, in the way of another instance. */
async function append(database: Database, userId: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += BATCH) {
    const now = Date.now();
    const rows = Array.from({ length: BATCH }, (_, i) => ({
      id: randomUUIDv7(),
      user_id: userId,
      actor_id: null,
      action: i % KEPT_UP_EACH === 0 ? 'much.kept_up' : 'much',
      details: '',
      attributes: JSON.stringify({ random: randomBytes((EVENT_BYTES * 3) / 4).toString('base64') }),
      private: 0 as const,
      event_ms: now,
      record_ms: now,
    }));
    await database.transaction(async (tx) => {
      await tx.insertInto('activity').values(rows).execute();
      database.afterCommit(tx, 'log', []);
    });
  }
}

/** What the process holds in memory, bytes. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

describe.skipIf(process.platform !== 'linux').each(databases)('on $name', (kind) => {
  test(
    'readers that stand still while much is recorded cost the server no memory',
    async () => {
      await using files = await kind.create();
      await using kith = await startProcess({
        env: {
          KITH_DATABASE_URL: files.url,
          KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
          KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
          KITH_ACCESS_TOKEN_SECONDS: '3600',
          KITH_LOG_LEVEL: 'fatal',
          // Collects early, so that what is held is what is needed.
          NODE_OPTIONS: '--max-semi-space-size=2 --max-old-space-size=200',
        },
      });
      const { accessToken, user } = await signedIn(
        createClient(AuthService, grpc(kith.address)).login({
          identifier: 'admin',
          password: ADMIN_PASSWORD,
        }),
      );
      const client = createClient(ActivityService, grpc(kith.address, accessToken));
      await using database = await openDatabase(files.url);

      // A reader that keeps up, in the end at least, to know how far the server is.
      let kept = 0;
      let watch = await startWatchPatiently(client, { actionPrefixes: ['much.kept_up'] });
      const keepUp = async (count: number): Promise<void> => {
        while (kept < count) {
          try {
            await watch.activity();
            kept++;
          } catch {
            watch = await startWatchPatiently(client, { actionPrefixes: ['much.kept_up'], afterCursor: watch.cursor });
          }
        }
      };
      using standing = new DisposableStack();
      const still = Array.from({ length: STANDING }, () => [
        standing.use(standOverHttp2(kith.address, accessToken)),
        standing.use(standOverHttp1(kith.address, accessToken)),
      ]).flat();

      // Enough for what is kept of the end of the log, and for the readers' own buffers.
      await append(database, user.id, WARM_UP);
      await keepUp(WARM_UP / KEPT_UP_EACH);
      const beforeBytes = await residentBytes(kith.pid);
      let mostBytes = beforeBytes;
      const sampling = setInterval(() => {
        void residentBytes(kith.pid).then((bytes) => (mostBytes = Math.max(mostBytes, bytes)));
      }, 100);
      await Promise.all([append(database, user.id, EVENTS), keepUp((WARM_UP + EVENTS) / KEPT_UP_EACH)]);
      clearInterval(sampling);
      watch.leave();
      const ended = still.reduce((sum, one) => sum + one.ended, 0);
      const growthBytes = mostBytes - beforeBytes;
      if (EVENTS > 50_000)
        console.log(
          `${kind.name}: ${EVENTS} activities, ${mb(EVENTS * EVENT_BYTES)} MB; ${mb(beforeBytes)} MB before, ${mb(mostBytes)} MB at the most; ${ended} readers given up`,
        );
      expect(growthBytes).toBeLessThan(GROWTH_MAX_BYTES);
    },
    120_000 + EVENTS * 2,
  );
});

const mb = (bytes: number) => Math.round(bytes / 1_000_000);
