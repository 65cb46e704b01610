import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between callers and a server, to see what really travels. */
export interface Relay extends AsyncDisposable {
  /** As a URL without a path. */
  readonly address: string;
  /** What callers have sent until now, byte for byte. */
  sent(): string;
}

/** Passes connections on to a port of this machine and keeps what callers send. */
export async function startRelay(port: number, scheme = 'http'): Promise<Relay> {
  const chunks: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const onward = connect(port, 'localhost');
    sockets.push(socket, onward);
    for (const end of [socket, onward]) end.on('error', () => {});
    socket.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    address: `${scheme}://localhost:${(server.address() as AddressInfo).port}`,
    sent: () => Buffer.concat(chunks).toString('latin1'),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
