import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/** Stands between clients and a server, and cuts connections off in the middle of what the server answers. */
export interface Cutter extends AsyncDisposable {
  /** As a URL without a path. */
  readonly address: string;
  /** How many connections were cut off so far. */
  readonly cuts: number;
}

/**
 * Passes connections on to a port of this machine, each until so many bytes of answers have come: the rest of them is lost.
 * Connections are counted from 0; Infinity cuts nothing off.
 */
export async function startCutter(port: number, bytesOf: (connection: number) => number): Promise<Cutter> {
  let cuts = 0;
  let connections = 0;
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((inward) => {
    const most = bytesOf(connections++);
    const outward = connect(port, '127.0.0.1');
    for (const end of [inward, outward]) {
      sockets.add(end);
      end.on('error', () => {}).on('close', () => sockets.delete(end));
    }
    inward.on('close', () => outward.destroy());
    outward.on('close', () => inward.destroy());
    inward.pipe(outward);
    let sent = 0;
    outward.on('data', (chunk: Buffer) => {
      const rest = most - sent;
      sent += chunk.length;
      if (rest >= chunk.length) {
        inward.write(chunk);
        return;
      }
      cuts += 1;
      outward.removeAllListeners('data');
      // Written out, so that the other side has read what came before.
      inward.write(chunk.subarray(0, rest), () => inward.destroy());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
