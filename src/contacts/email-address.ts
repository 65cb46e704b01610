import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';

/** The most octets before the "@" (RFC 5321, 4.5.3.1.1). */
const LOCAL_PART_MAX = 64;
/** The most octets of an address: 256 of a path, less its angle brackets (RFC 5321, 4.5.3.1.3). */
const ADDRESS_MAX = 254;
const DOMAIN_MAX = 253;

/** Atoms with single dots between them (RFC 5321, 4.1.2), in which RFC 6531 admits what is not ASCII. */
const DOT_ATOM =
  /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10FFFF}-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10FFFF}-]+)*$/u;
const QUOTED = /^"(?:[\x20\x21\x23-\x5B\x5D-\x7E\u{80}-\u{10FFFF}]|\\[\x20-\x7E])*"$/u;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
/** No character of a domain, although some that follow are separators of URLs. */
const NOT_OF_DOMAIN = /[\s%/:?#@[\]\\]/u;

/**
 * Whether an email address has the form of one that mail can be sent to: RFC 5321, with the local parts of RFC 6531
 * and internationalised domains (UTS 46). Whether there is such a mailbox only mail can tell.
 */
export function isEmailAddress(address: string): boolean {
  const at = address.lastIndexOf('@');
  const [local, domain] = [address.slice(0, at), address.slice(at + 1)];
  if (at < 1 || Buffer.byteLength(local) > LOCAL_PART_MAX || !(DOT_ATOM.test(local) || QUOTED.test(local)))
    return false;
  if (domain.startsWith('[')) return isAddressLiteral(domain) && Buffer.byteLength(address) <= ADDRESS_MAX;
  if (NOT_OF_DOMAIN.test(domain)) return false;
  const ascii = LABELS.test(domain) ? domain : domainToASCII(domain);
  if (ascii === '' || ascii.length > DOMAIN_MAX || local.length + 1 + ascii.length > ADDRESS_MAX) return false;
  return ascii.split('.').every((label) => LABEL.test(label)) && !/^\d+$/.test(ascii.slice(ascii.lastIndexOf('.') + 1));
}

/** What needs no conversion. */
const LABELS = /^[A-Za-z0-9.-]*$/;

/** An IP address in brackets (RFC 5321, 4.1.3). */
function isAddressLiteral(domain: string): boolean {
  const inside = /^\[(?<ipv6>IPv6:)?(?<address>[^\]]*)\]$/i.exec(domain)?.groups;
  if (inside === undefined) return false;
  return inside['ipv6'] === undefined ? isIPv4(inside['address']!) : isIPv6(inside['address']!);
}
