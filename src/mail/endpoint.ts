/** Where mails are connected to: a mail server (`smtp:`, `smtps:`) or a webhook (`http:`, `https:`). */
export interface Endpoint {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Whether TLS begins with the first byte. */
  readonly isTls: boolean;
  /** Whether a connection there does not leave this machine. */
  readonly isLoopback: boolean;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'smtp:': 587, 'smtps:': 465, 'http:': 80, 'https:': 443 };

/** What a URL of the settings, which are checked, leads to. */
export function endpointOf(url: string): Endpoint {
  const { protocol, hostname, port } = new URL(url);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || DEFAULT_PORTS[protocol]!,
    isTls: protocol === 'smtps:' || protocol === 'https:',
    isLoopback: /^(localhost|127\.[\d.]+|\[::1\])$/.test(hostname),
  };
}
