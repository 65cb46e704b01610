/** What two people say to Kith and to the orders service, and what they are answered. */
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Order_State, OrderService } from './gen/example/orders/v1/orders_pb.ts';
import { Permission, Role } from './gen/kith/access/v1/role_pb.ts';
import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from './gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from './gen/kith/user/v1/user_service_pb.ts';

/** Makes the user that the orders service is, and its API key, which may do what it has to do and no more. */
export async function makeApiKey(kith: string, adminPassword: string): Promise<string> {
  const admin = await signIn(kith, 'admin', adminPassword);
  const account = { username: 'orders', email: 'orders@example.org', name: 'Orders', password: 'of nobody in person' };
  await createClient(UserService, connect(kith, admin.token)).createUser({ ...account, role: Role.EDITOR });
  const orders = await signIn(kith, account.username, account.password);
  const permissions = [
    Permission.USERS_READ,
    Permission.ACTIVITY_READ,
    Permission.ACTIVITY_RECORD,
    Permission.REVOCATIONS_READ,
  ];
  const { secret } = await createClient(ApiKeyService, connect(kith, orders.token)).createApiKey({
    name: 'orders service',
    permissions,
  });
  return secret;
}

/** Says what is said, and prints it. Throws when the answers are others than meant. */
export async function converse(kith: string, orders: string, adminPassword: string): Promise<void> {
  const admin = await signIn(kith, 'admin', adminPassword);
  const users = createClient(UserService, connect(kith, admin.token));
  const account = { username: 'ada', email: 'ada@example.org', name: 'Ada Lovelace', password: 'poetical science' };
  await users.createUser(account);
  say('admin → kith', 'create the user ada', 'done');

  const ada = await signIn(kith, account.username, account.password);
  say('ada → kith', 'sign in', `access token of ${ada.name}`);

  const unsigned = createClient(OrderService, connect(orders));
  say('somebody → orders', 'an order without a token', await refusalOf(unsigned.placeOrder({ item: 'a loom' })));

  const mine = createClient(OrderService, connect(orders, ada.token));
  const { order } = await mine.placeOrder({ item: 'an analytical engine' });
  say('ada → orders', 'an order of an analytical engine', `placed for ${order?.recipient}`);

  const log = createClient(ActivityService, connect(kith, ada.token));
  const { activities } = await log.listUserActivity({ userId: ada.id, actionPrefixes: ['orders'] });
  say(
    'ada → kith',
    'what did I do at orders?',
    activities.map(({ action, details }) => `${action} (${details})`).join(),
  );

  await users.deleteUser({ userId: ada.id });
  say('admin → kith', 'delete the user ada', 'done');

  // Both learn of it within a second or so: the verifier from revocations, the service from the log.
  await until(async () => (await refusalOf(mine.listOrders({}))) !== 'nothing');
  say('ada → orders', 'my orders, with the same token', await refusalOf(mine.listOrders({})));
  const all = createClient(OrderService, connect(orders, admin.token));
  const stateOfOrder = async () => (await all.listOrders({})).orders[0]?.state;
  await until(async () => (await stateOfOrder()) === Order_State.CANCELED);
  say('admin → orders', 'what became of her order?', 'canceled');
}

function say(who: string, what: string, answer: string): void {
  console.log(`${who}: ${what}\n    ${answer}`);
}

async function signIn(kith: string, identifier: string, password: string) {
  const { outcome } = await createClient(AuthService, connect(kith)).login({ identifier, password });
  if (outcome.case !== 'signedIn') throw new Error(`not signed in yet: ${outcome.case}`);
  const { user, tokens } = outcome.value;
  return { id: user!.id, name: user!.name, token: tokens!.accessToken };
}

function connect(baseUrl: string, token?: string) {
  return createGrpcTransport({
    baseUrl,
    interceptors: [
      (next) => (request) => {
        if (token !== undefined) request.header.set('authorization', `Bearer ${token}`);
        return next(request);
      },
    ],
  });
}

async function refusalOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'nothing';
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return `refused, ${Code[code]}: ${rawMessage}`;
  }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries += 1) {
    if (tries === 1200) throw new Error('it has not happened in two minutes');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
