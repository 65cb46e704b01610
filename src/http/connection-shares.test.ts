import { describe, expect, test } from 'vitest';
import { ConnectionShares } from './connection-shares.ts';

const sharesOf = (limits = {}) => new ConnectionShares({ max: 100, perAddress: 50, isProxy: () => false, ...limits });

function takeMany(shares: ConnectionShares, address: string, count: number) {
  const taken = Array.from({ length: count }, () => shares.take(address)).filter((give) => give !== undefined);
  return { count: taken.length, giveBack: () => taken.forEach((give) => give()) };
}

describe('connections', () => {
  test('one address has its share at the most, and has it again when it gives it back', () => {
    const shares = sharesOf();
    const first = takeMany(shares, '192.0.2.1', 80);
    expect(first.count).toBe(50);
    expect(takeMany(shares, '192.0.2.2', 1).count).toBe(1);
    first.giveBack();
    expect(takeMany(shares, '192.0.2.1', 80).count).toBe(50);
  });

  test.each([
    ['the addresses of a /64 together', '2001:db8::1', '2001:db8::2:3'],
    ['IPv4 that is mapped into IPv6 as IPv4', '192.0.2.1', '::ffff:192.0.2.1'],
  ])('count %s', (_, one, other) => {
    const shares = sharesOf();
    expect(takeMany(shares, one, 30).count + takeMany(shares, other, 30).count).toBe(50);
  });

  test('the last tenth goes to addresses that hold few', () => {
    const shares = sharesOf();
    for (const address of ['192.0.2.1', '192.0.2.2']) takeMany(shares, address, 50);
    expect(shares.open).toBe(90);
    expect(shares.take('192.0.2.1')).toBeUndefined();
    expect(takeMany(shares, '192.0.2.3', 10).count).toBe(4);
    expect(takeMany(shares, '192.0.2.4', 10).count).toBe(4);
  });

  test('never more than there are, whoever asks', () => {
    const shares = sharesOf({ perAddress: 1000 });
    let open = 0;
    for (let i = 0; i < 300; i++) open += takeMany(shares, `192.0.2.${i % 250}`, 3).count;
    expect([open, shares.open]).toEqual([100, 100]);
  });

  test('a proxy, which stands for many, has more than a share', () => {
    const shares = sharesOf({ isProxy: (address: string | undefined) => address === '192.0.2.1' });
    expect(takeMany(shares, '192.0.2.1', 100).count).toBe(90);
  });
});
