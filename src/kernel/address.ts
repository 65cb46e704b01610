import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';

/** Forms of addresses that were read, since each call of a connection comes from the same one. */
const canonicalForms = new LRUCache<string, string>({ max: 4096 });

/** Longer than any form of an address with a zone and a port: such texts are read each time. */
const REMEMBERED_LENGTH_MAX = 64;

/**
 * An IP address in the one form that is stored and compared: IPv6 as RFC 5952
 * writes it and without a zone, IPv4 that is mapped into IPv6 as IPv4. Undefined
 * for what is no address.
 *
 * Takes what proxies write as well: a port behind, brackets around IPv6.
 */
export function canonicalAddress(written: string): string | undefined {
  const known = canonicalForms.get(written);
  if (known !== undefined) return known;
  const canonical = readAddress(written);
  if (canonical !== undefined && written.length <= REMEMBERED_LENGTH_MAX) canonicalForms.set(written, canonical);
  return canonical;
}

function readAddress(written: string): string | undefined {
  const bare = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(written.trim());
  const address = (bare?.[1] ?? bare?.[2] ?? written.trim()).replace(/%.*$/s, '');
  if (isIPv4(address)) return address;
  if (!isIPv6(address)) return undefined;
  const groups = groupsOf(address);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff; // RFC 4291, 2.5.5.2
  if (!isMapped) return compressed(address);
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join('.');
}

/**
 * What counts as one address, of a canonical one: IPv4 itself, and of IPv6 the
 * /64, which a subscriber is given at the least and changes addresses within
 * at will (RFC 6177, RFC 8981).
 */
export function countedAddress(address: string): string {
  if (!address.includes(':')) return address;
  const prefix = groupsOf(address).slice(0, 4);
  return `${prefix.map((group) => group.toString(16)).join(':')}::/64`;
}

/**
 * Whether an address, in any form, lies within one of the blocks: addresses, alone or
 * with a prefix length of at least 1 (RFC 4632). Throws RangeError for what is no block.
 */
export function createBlockCheck(blocks: readonly string[]): (address: string | undefined) => boolean {
  const list = new BlockList();
  for (const block of blocks) {
    const [written = '', bits, ...rest] = block.split('/');
    const address = isIP(written) === 0 ? undefined : canonicalAddress(written);
    if (address === undefined || rest.length > 0) throw new RangeError(`${block} is no block of addresses`);
    const [family, length] = isIPv4(address) ? (['ipv4', 32] as const) : (['ipv6', 128] as const);
    // Of IPv4 written as IPv6, the 96 bits before it count as well.
    const before = family === 'ipv4' && written.includes(':') ? 96 : 0;
    const prefix = bits === undefined ? length : /^\d{1,3}$/.test(bits) ? Number(bits) - before : 0;
    if (prefix < 1 || prefix > length) throw new RangeError(`${block} is no block of addresses`);
    list.addSubnet(address, prefix, family);
  }
  return (written) => {
    const address = written === undefined ? undefined : canonicalAddress(written);
    return address !== undefined && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  };
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = compressed(address).split('::');
  const numbers = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const [before, after] = [numbers(head), numbers(tail ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** As URLs serialize IPv6, which is RFC 5952 without dots (https://url.spec.whatwg.org/#concept-ipv6-serializer). */
function compressed(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}
