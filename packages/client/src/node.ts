/// <reference lib="esnext.disposable" preserve="true" />
/** What Node has and browsers have not: gRPC over HTTP/2, and a session in a file. */
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { createKith as createWebKith, createKithOver, type Kith, type KithOptions } from './kith.ts';

export { fileStore } from './file-store.ts';

/** Where Kith is, how it is called, and who calls. */
export interface NodeKithOptions extends Omit<KithOptions, 'protocol'> {
  /** Default `grpc`, which keeps one HTTP/2 connection. The others go over `fetch`. */
  readonly protocol?: 'grpc' | 'connect' | 'grpc-web' | undefined;
  /** For TLS: certificates of an authority of one's own, for example. For `grpc` alone. */
  readonly tls?: ConstructorParameters<typeof Http2SessionManager>[2];
}

/** A client, and its connection. */
export interface NodeKith extends Kith, Disposable {
  /** Closes the connection. Calls and watches that are open fail. */
  close(): void;
}

/** Creates a client. It connects with the first call; its idle connection keeps no process running. */
export function createKith({ protocol = 'grpc', tls, ...options }: NodeKithOptions): NodeKith {
  if (protocol !== 'grpc') return closable(createWebKith({ ...options, protocol }), () => {});
  const sessionManager = new Http2SessionManager(options.url, undefined, tls);
  const transport = createGrpcTransport({ baseUrl: options.url, sessionManager });
  return closable(createKithOver(transport, { ...options, streamsRequests: true }), () => sessionManager.abort());
}

function closable(kith: Kith, close: () => void): NodeKith {
  return { ...kith, close, [Symbol.dispose]: close };
}
