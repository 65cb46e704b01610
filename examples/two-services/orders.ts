/**
 * A service of its own beside Kith, with a contract of its own. It verifies callers offline, asks
 * Kith about them with an API key, records what they do in Kith's log, and follows that log: the
 * orders of a deleted user are canceled.
 *
 * KITH_ADDRESS is where Kith serves, KITH_ISSUER what its tokens name, and KITH_API_KEY may read
 * users, read and record activity, and follow revocations.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createContextKey,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { bearerToken, createVerifier, VerificationError, type VerifiedToken } from '@kith/verify';
import { type Order, Order_State, OrderSchema, OrderService } from './gen/example/orders/v1/orders_pb.ts';
import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import { UserService } from './gen/kith/user/v1/user_service_pb.ts';

const { KITH_ADDRESS: address = '', KITH_ISSUER: issuer = '', KITH_API_KEY: apiKey = '' } = process.env;

const kith = createGrpcTransport({
  baseUrl: address,
  defaultTimeoutMs: 30_000,
  interceptors: [
    (next) => (request) => {
      request.header.set('authorization', `Bearer ${apiKey}`);
      return next(request);
    },
  ],
});
const users = createClient(UserService, kith);
const activity = createClient(ActivityService, kith);

const verifier = createVerifier({ issuer, address, revocations: { apiKey } });

/** By id. A real service has a database. */
const orders = new Map<string, Order>();

const CALLER = createContextKey<VerifiedToken | undefined>(undefined);

/** Refuses who does not show a good access token, without a call to Kith. */
const authenticate: Interceptor = (next) => async (request) => {
  const token = bearerToken(request.header.get('authorization'));
  if (token === undefined) throw new ConnectError('sign in at Kith', Code.Unauthenticated);
  try {
    request.contextValues.set(CALLER, await verifier.verify(token));
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error;
    throw new ConnectError(error.reason, error.isTemporary ? Code.Unavailable : Code.Unauthenticated);
  }
  return await next(request);
};

function routes(router: ConnectRouter): void {
  router.service(OrderService, {
    async placeOrder({ item }, { values }) {
      const { userId } = values.get(CALLER)!;
      const { user } = await users.getUserDetails({ userId });
      const order = create(OrderSchema, {
        id: randomUUID(),
        userId,
        recipient: user?.name ?? '',
        item,
        state: Order_State.PLACED,
      });
      // Under the order's id it is recorded once, however often this is sent.
      await activity.recordUserActivity({
        activities: [{ id: order.id, userId, action: 'orders.order.placed', details: item }],
      });
      orders.set(order.id, order);
      return { order };
    },
    async listOrders(_request, { values }) {
      const { userId, role } = values.get(CALLER)!;
      return { orders: [...orders.values()].filter((order) => role === 'admin' || order.userId === userId) };
    },
  });
}

/** Follows Kith's log, through every interruption from where it was. */
async function followUsers(onFollowing: () => void): Promise<never> {
  // A real service keeps the cursor in its database, in the transaction of what it does.
  let afterCursor = '';
  for (;;) {
    try {
      const request = { afterCursor, actionPrefixes: ['kith.user.deleted'] };
      for await (const message of activity.watchUserActivity(request, { timeoutMs: 0 })) {
        if (message.activity !== undefined) cancelOrdersOf(message.activity.userId);
        afterCursor = message.cursor;
        onFollowing();
      }
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (code === Code.OutOfRange)
        afterCursor = ''; // and compare all orders with Kith's users
      else if (code === Code.Unauthenticated || code === Code.PermissionDenied) throw error;
    }
    await sleep(200);
  }
}

function cancelOrdersOf(userId: string): void {
  for (const order of orders.values()) {
    if (order.userId !== userId || order.state !== Order_State.PLACED) continue;
    order.state = Order_State.CANCELED;
    console.log(`canceled the order of ${order.item} for ${order.recipient}, who was deleted`);
  }
}

await verifier.ready(60_000);
await new Promise<void>((resolve, reject) => void followUsers(resolve).catch(reject));
const server = createServer(connectNodeAdapter({ routes, interceptors: [authenticate] }));
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  console.log(`serving at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
