import { isIP, isIPv6 } from 'node:net';

/**
 * The host in KITH_HOST as Node listens on it: an IPv6 address without its brackets
 * and in its shortest form (RFC 5952), with its zone if it has one (RFC 4007, 11).
 * Undefined for anything but an address or a name of DNS (RFC 1123, 2.1).
 */
export function parseHost(text: string): string | undefined {
  const [, inBrackets] = /^\[(.*)\]$/.exec(text) ?? [];
  const host = inBrackets ?? text;
  if (isIPv6(host)) {
    const [address, ...zone] = host.split('%');
    return [new URL(`http://[${address}]`).hostname.slice(1, -1), ...zone].join('%');
  }
  if (inBrackets !== undefined) return undefined;
  return isIP(host) || isName(host) ? host : undefined;
}

/** Labels of letters, digits, _ and -; the last one is no number, or it would be a mistyped address. */
function isName(host: string): boolean {
  return (
    host.length <= 253 &&
    /^([a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?\.)*(?!\d+\.?$)[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?\.?$/i.test(host)
  );
}

/** An address without the zone that says which network of this machine it belongs to. */
export function withoutZone(host: string): string {
  return host.split('%')[0] ?? host;
}
