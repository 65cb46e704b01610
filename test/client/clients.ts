import { createKith as createWebKith, type KithOptions } from '../../packages/client/src/index.ts';
import { createKith, type NodeKith } from '../../packages/client/src/node.ts';

/** One way in which the client calls, and the HTTP version that it takes. */
export interface ClientProtocol {
  readonly protocol: 'grpc' | 'grpc-web' | 'connect';
  readonly httpVersion: '1.1' | '2';
}

/** Every way in which the client calls. */
export const clientProtocols: readonly ClientProtocol[] = [
  { protocol: 'grpc', httpVersion: '2' },
  { protocol: 'grpc-web', httpVersion: '1.1' },
  { protocol: 'connect', httpVersion: '1.1' },
];

/** A client of the server at an address, closed when it is disposed. */
export function openKith(
  url: string,
  options: Omit<KithOptions, 'url' | 'protocol'> & Pick<ClientProtocol, 'protocol'>,
): NodeKith {
  if (options.protocol === 'grpc') return createKith({ ...options, url, protocol: 'grpc' });
  // As in a browser.
  return { ...createWebKith({ ...options, url, protocol: options.protocol }), close() {}, [Symbol.dispose]() {} };
}
