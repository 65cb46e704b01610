import type { HandlerContext } from '@connectrpc/connect';
import { createContextValues } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import type { Caller } from '../kernel/access.ts';
import { readAccessRules } from './access.ts';
import { createCallBudgets, limitCalls } from './call-budgets.ts';
import { setCaller } from './caller.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Calls a service whose methods go on until they are told to end. */
function start() {
  const running: string[] = [];
  const ends: (() => void)[] = [];
  const work =
    (name: string) =>
    async (_request: unknown, { values }: HandlerContext) => {
      running.push(`${name} ${values.get(OWNER)}`);
      await new Promise<void>((resolve) => ends.push(resolve));
      return {};
    };
  const budgets = createCallBudgets();
  const service = limitCalls(
    ContactService,
    { createContact: work('create'), listContacts: work('list'), getContact: work('get') },
    budgets,
    readAccessRules([ContactService], []),
  );
  const call = (method: keyof typeof service, userId: string): Promise<unknown> => {
    const values = createContextValues().set(OWNER, userId);
    setCaller(values, {
      userId,
      sessionId: 's',
      kind: 'session',
      permissions: new Set(),
      signInMs: 0,
    } satisfies Caller);
    return service[method]({}, { values, signal: new AbortController().signal } as HandlerContext);
  };
  const endAll = async () => {
    while (ends.length > 0) {
      for (const end of ends.splice(0)) end();
      await settled();
    }
  };
  return { running, call, endAll, budgets };
}

const OWNER = { id: Symbol('owner'), defaultValue: '' };

test.each([
  ['listContacts', 'list', 2],
  ['createContact', 'create', 8],
  ['getContact', 'get', 32],
] as const)('of %s a caller has so many running, and another one has room', async (method, name, most) => {
  const { running, call, endAll, budgets } = start();
  const calls = Array.from({ length: most + 20 }, () => call(method, 'many'));
  await settled();
  expect(running).toEqual(Array<string>(most).fill(`${name} many`));
  calls.push(call(method, 'few'));
  await settled();
  expect(running.at(-1)).toBe(`${name} few`);
  await endAll();
  await Promise.all(calls);
  expect(running.length).toBe(most + 21);
  const { lists, writes, reads } = budgets;
  expect([lists, writes, reads].map((limiter) => limiter.running + limiter.waiting)).toEqual([0, 0, 0]);
});

test('a caller whose queue is full is refused', async () => {
  const { call, endAll } = start();
  const calls = Array.from({ length: 2 + 128 }, () => call('listContacts', 'many'));
  await expect(call('listContacts', 'many')).rejects.toMatchObject({
    reason: 'budget_exceeded',
    metadata: { budget: 'lists', limit: '128' },
  });
  await endAll();
  await Promise.all(calls);
});
