import { describe, expect, test } from 'vitest';
import { readPeer } from './peer.ts';

const request = (ips: string[], userAgent?: string) => ({
  ip: ips.at(-1)!,
  ips,
  headers: { ...(userAgent !== undefined && { 'user-agent': userAgent }) },
});

describe('the address', () => {
  test.each([
    ['the peer', ['192.0.2.1'], '192.0.2.1'],
    ['the peer, IPv4 on a socket of IPv6', ['::ffff:192.0.2.1'], '192.0.2.1'],
    ['the peer with its zone', ['fe80::1%eth0'], 'fe80::1'],
    ['what the proxy says', ['10.0.0.1', '192.0.2.1'], '192.0.2.1'],
    ['what the last proxy says', ['10.0.0.1', '10.0.0.2', '2001:DB8::1'], '2001:db8::1'],
    ['what the proxy says with a port', ['10.0.0.1', '192.0.2.1:4711'], '192.0.2.1'],
    ['the proxy, where it says what is no address', ['10.0.0.1', 'unknown'], '10.0.0.1'],
    ['the proxy, where it says nothing', ['10.0.0.1', ''], '10.0.0.1'],
    ['nothing, where the connection is gone', [undefined as unknown as string], ''],
  ])('is %s', (_, ips, address) => {
    expect(readPeer(request(ips)).address).toBe(address);
  });
});

describe('the user agent', () => {
  test.each([
    ['is taken as it is', 'grpc-node-js/1.14.7', 'grpc-node-js/1.14.7'],
    ['may be missing', undefined, ''],
    ['is UTF-8, which Node reads as latin1', Buffer.from('Bürö/1 🦉').toString('latin1'), 'Bürö/1 🦉'],
    ['is cut to 256 code points', 'x'.repeat(300), 'x'.repeat(256)],
    ['is cut between code points', Buffer.from('🦉'.repeat(300)).toString('latin1'), '🦉'.repeat(256)],
    ['is one line', 'a\r\nb\u0000c\u001b[31md', 'a\uFFFD\uFFFDb\uFFFDc\uFFFD[31md'],
    ['is read in one direction', Buffer.from('a\u202Eb\u2066c\u2028d').toString('latin1'), 'a\uFFFDb\uFFFDc\uFFFDd'],
    ['that is not UTF-8 is told apart', 'caf\xe9', 'caf\uFFFD'],
    ['has no blanks around', '  curl/8 ', 'curl/8'],
  ])('%s', (_, header, userAgent) => {
    expect(readPeer(request(['192.0.2.1'], header)).userAgent).toBe(userAgent);
  });
});
