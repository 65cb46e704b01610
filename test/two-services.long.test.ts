import { expect, test } from 'vitest';
import { run } from './support/commands.ts';

test('the orders service of examples/ and Kith talk as printed', { timeout: 300_000 }, async () => {
  const { code, stdout, stderr } = await run(process.execPath, ['examples/two-services/start.ts']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const said = stdout
    .replaceAll(/http:\/\/(?:localhost|127\.0\.0\.1):\d+/g, 'ADDRESS')
    .trimEnd()
    .split('\n');
  // When the orders service notices that somebody was deleted is its own affair.
  const canceled = '[orders] canceled the order of an analytical engine for Ada Lovelace, who was deleted';
  expect(said.filter((line) => line === canceled)).toHaveLength(1);
  expect(said.filter((line) => line !== canceled)).toEqual([
    expect.stringMatching(/^\[kith\] Kith .* serves .* at ADDRESS$/),
    '$ buf generate ADDRESS/contract.binpb',
    '$ buf generate proto',
    '[orders] serving at ADDRESS',
    'admin → kith: create the user ada',
    '    done',
    'ada → kith: sign in',
    '    access token of Ada Lovelace',
    'somebody → orders: an order without a token',
    '    refused, Unauthenticated: sign in at Kith',
    'ada → orders: an order of an analytical engine',
    '    placed for Ada Lovelace',
    'ada → kith: what did I do at orders?',
    '    orders.order.placed (an analytical engine)',
    'admin → kith: delete the user ada',
    '    done',
    'ada → orders: my orders, with the same token',
    '    refused, Unauthenticated: token_revoked',
    'admin → orders: what became of her order?',
    '    canceled',
  ]);
});
