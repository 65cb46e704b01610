import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health } from '../gen/health/v1/health_pb.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { RevocationService } from '../gen/kith/auth/v1/revocation_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../src/services.ts';
import { bearer, grpc, type Kith, refusalOf, startKith } from './support/kith.ts';
import { signedIn } from './support/sign-in.ts';

const PER_CALLER = 3;
const TOTAL = 7;

/** Exports end by themselves: see user-data.test.ts. */
const EXPORTS: readonly DescMethod[] = [UserService.method.exportUserData, ContactService.method.exportContacts];

const STREAMS = ([...SERVICES, Health, ServerReflection, ServerReflectionAlpha] as readonly DescService[]).flatMap(
  ({ methods }) => methods.filter((method) => method.methodKind !== 'unary' && !EXPORTS.includes(method)),
);
const PUBLIC_PER_ADDRESS = 100;

/** Fewer than the server lets a connection have. */
const PER_CONNECTION = 60;

const WATCH = ActivityService.method.watchUserActivity;

/** Where an empty message is refused. */
const INPUTS = new Map<DescMethod, object>([
  [ActivityService.method.streamUserActivity, { activities: [{ id: randomUUID(), action: 'page.viewed' }] }],
]);

interface OpenOptions {
  /** Default: an empty message; for client streams, one that goes on. */
  readonly input?: object;
  readonly timeoutMs?: number;
}

/** A stream that was answered, and is not read any more. */
interface OpenStream {
  leave(): void;
}

/** Opens a stream, and reads its first message. Throws what it is refused with. */
async function open(transport: Transport, method: DescMethod, options: OpenOptions = {}): Promise<OpenStream> {
  const leaving = new AbortController();
  const { signal } = leaving;
  async function* requests() {
    yield (options.input ?? INPUTS.get(method) ?? {}) as never;
    if (method.methodKind !== 'server_streaming')
      await sleep(60_000, undefined, { signal, ref: false }).catch(() => {});
  }
  const response = await transport.stream(method as never, signal, options.timeoutMs, undefined, requests());
  const messages = response.message[Symbol.asyncIterator]();
  const { done } = await messages.next();
  if (done === true) throw new Error('the stream ended without a message');
  return { leave: () => leaving.abort() };
}

/** Opens one after the other until one is refused. */
async function openAll(transport: Transport, method: DescMethod, most: number, others = transport) {
  const streams: OpenStream[] = [];
  const openMore = async () => {
    while (streams.length <= most) {
      streams.push(await open(streams.length < PER_CONNECTION ? transport : others, method));
    }
  };
  const refusal = await refusalOf(openMore());
  return { streams, refusal };
}

describe.each([{ fastPath: 'true' }, { fastPath: 'false' }])('with KITH_FAST_PATH=$fastPath', ({ fastPath }) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({
      env: {
        KITH_FAST_PATH: fastPath,
        KITH_WATCHES_PER_CALLER: String(PER_CALLER),
        KITH_WATCHES: String(TOTAL),
      },
    });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  /** Each on a connection of its own. */
  const transportOf = (accessToken?: string) => grpc(kith.address, accessToken);

  async function createKey(): Promise<string> {
    const { accessToken } = await kith.user(Role.ADMIN);
    const permissions = [Permission.ACTIVITY_READ, Permission.ACTIVITY_RECORD, Permission.REVOCATIONS_READ];
    return (await kith.client(ApiKeyService, accessToken).createApiKey({ name: 'watcher', permissions })).secret;
  }

  test.each(STREAMS.map((method) => ({ name: `${method.parent.typeName}/${method.name}`, method })))(
    '$name: streams over the share of a caller are refused, and taken again once one has ended',
    async ({ method }) => {
      const isPublic = method.parent.typeName.startsWith('grpc.');
      const token = isPublic ? undefined : await createKey();
      const sessions = [new Http2SessionManager(kith.address), new Http2SessionManager(kith.address)];
      const [transport, others] = sessions.map((session) => grpc(kith.address, token, session));
      const most = isPublic ? PUBLIC_PER_ADDRESS : PER_CALLER;
      const { streams, refusal } = await openAll(transport!, method, most, others);
      const budget = isPublic ? 'public_streams' : 'watches';
      expect(streams.length).toBe(most);
      expect(refusal).toMatchObject({
        code: 'ResourceExhausted',
        reason: 'BUDGET_EXCEEDED',
        metadata: { budget, limit: String(most), retry_after_seconds: '1' },
      });
      streams.pop()!.leave();
      await expect.poll(() => open(transport!, method).then((stream) => streams.push(stream))).toBe(most);
      // With their connections: an address may have no more than some hundred streams reset one by one.
      for (const session of sessions) session.abort();
      await expect.poll(() => open(transportOf(token), method).then((stream) => stream.leave())).toBeUndefined();
    },
  );

  test('each caller has a share of its own, and all together no more than there is', async () => {
    const callers = [await createKey(), await createKey(), (await kith.user(Role.ADMIN)).accessToken].map(transportOf);
    const opened: OpenStream[] = [];
    for (const transport of callers.slice(0, 2)) {
      const { streams, refusal } = await openAll(transport, WATCH, PER_CALLER);
      expect(refusal.reason).toBe('BUDGET_EXCEEDED');
      opened.push(...streams);
    }
    const { streams, refusal } = await openAll(callers[2]!, WATCH, PER_CALLER);
    expect([opened.length, streams.length]).toEqual([2 * PER_CALLER, TOTAL - 2 * PER_CALLER]);
    expect(refusal).toMatchObject({
      code: 'ResourceExhausted',
      reason: 'SERVER_BUSY',
      metadata: { budget: 'watches' },
    });
    // Those who have not signed in have theirs.
    opened.push(...streams, await open(transportOf(), Health.method.watch));
    for (const stream of opened) stream.leave();
    await expect.poll(() => open(callers[2]!, WATCH).then((stream) => stream.leave())).toBeUndefined();
  });

  test('what the API keys of a user hold counts within the share of their owner', async () => {
    const owner = await kith.user(Role.ADMIN);
    const keys = kith.client(ApiKeyService, owner.accessToken);
    const permissions = [Permission.ACTIVITY_READ];
    const secrets: string[] = [];
    for (let i = 0; i < PER_CALLER; i++) secrets.push((await keys.createApiKey({ name: `${i}`, permissions })).secret);
    const streams = await Promise.all(secrets.map((secret) => open(transportOf(secret), WATCH)));
    const exchanged = await kith.client(ApiKeyService, secrets[0]).exchangeApiKey({});
    for (const token of [owner.accessToken, ...secrets, exchanged.accessToken]) {
      const refusal = await refusalOf(open(transportOf(token), WATCH));
      expect(refusal).toMatchObject({ reason: 'BUDGET_EXCEEDED', metadata: { budget: 'watches' } });
    }
    for (const stream of streams) stream.leave();
    await expect.poll(() => open(transportOf(secrets[0]), WATCH).then((stream) => stream.leave())).toBeUndefined();
  });

  describe('a stream has given back its share when', () => {
    const ENDS: readonly { readonly name: string; readonly end: (accessToken: string) => Promise<unknown> }[] = [
      {
        name: 'its caller cancels it',
        end: async (accessToken) => (await open(transportOf(accessToken), WATCH)).leave(),
      },
      {
        name: 'its connection over HTTP/2 is cut',
        async end(accessToken) {
          const sessions = new Http2SessionManager(kith.address);
          await open(grpc(kith.address, accessToken, sessions), WATCH);
          sessions.abort();
        },
      },
      {
        name: 'its connection over HTTP/1.1 is cut',
        async end(accessToken) {
          const interceptors = bearer(accessToken);
          const transport = createConnectTransport({ baseUrl: kith.address, httpVersion: '1.1', interceptors });
          (await open(transport, WATCH)).leave();
        },
      },
      {
        name: 'its deadline passes',
        end: (accessToken) => open(transportOf(accessToken), WATCH, { timeoutMs: 50 }).catch(() => {}),
      },
      {
        name: 'its deadline has passed before it begins',
        end: (accessToken) => refusalOf(open(transportOf(accessToken), WATCH, { timeoutMs: 1 })).catch(() => {}),
      },
      {
        name: 'it fails before its first message',
        end: (accessToken) => refusalOf(open(transportOf(accessToken), WATCH, { input: { afterCursor: 'none' } })),
      },
      {
        name: 'its request is malformed',
        end: (accessToken) => refusalOf(open(transportOf(accessToken), WATCH, { input: { userId: 'no uuid' } })),
      },
      {
        name: 'nobody reads it and its caller leaves',
        async end(accessToken) {
          const sessions = new Http2SessionManager(kith.address, undefined, { settings: { initialWindowSize: 0 } });
          const interceptors = bearer(accessToken);
          const transport = createGrpcTransport({ baseUrl: kith.address, interceptors, sessionManager: sessions });
          const never = open(transport, WATCH).catch(() => {});
          await sleep(50);
          sessions.abort();
          await never;
        },
      },
    ];
    test.each(ENDS)('$name', async ({ end }) => {
      const secret = await createKey();
      for (let i = 0; i <= PER_CALLER; i++) await end(secret);
      const transport = transportOf(secret);
      const streams: OpenStream[] = [];
      while (streams.length < PER_CALLER) {
        await expect.poll(() => open(transport, WATCH).then((stream) => streams.push(stream))).toBeGreaterThan(0);
      }
      for (const stream of streams) stream.leave();
    });

    test('the server ends it', async () => {
      const { user, password, accessToken } = await kith.user();
      const watch = (token: string) => open(transportOf(token), WATCH, { input: { userId: user.id } });
      for (let i = 0; i < PER_CALLER; i++) await watch(accessToken);
      await kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id });
      const again = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
      await expect.poll(() => watch(again.accessToken).then((stream) => stream.leave())).toBeUndefined();
    });
  });

  test('the methods that are tried here are those that stream', () => {
    const names = STREAMS.map(({ name }) => name);
    expect(names).toContain(RevocationService.method.watchRevocations.name);
    expect(names).toContain(WATCH.name);
  });
});
