import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between callers and one instance, with an address that stays when the instance is started again. */
export interface Relay extends AsyncDisposable {
  /** As a URL without a path. */
  readonly address: string;
  /** Where connections go to from now on; undefined for nowhere: they are reset. */
  upstream: string | undefined;
  /** How many connections are open. */
  connections(): number;
  /** Resets those of the open connections that `isChosen` says. */
  cut(isChosen: () => boolean): void;
  /** Passes nothing on, in no direction and on no connection, until that is over. */
  stall(isStalled: boolean): void;
}

export async function startRelay(): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let stalled = false;
  const server = createServer({ pauseOnConnect: true }, (inward) => {
    inward.on('error', () => {});
    if (relay.upstream === undefined) {
      inward.resetAndDestroy();
      return;
    }
    const outward = connect(Number(new URL(relay.upstream).port), '127.0.0.1').on('error', () => {});
    const pair = [inward, outward] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [outward, inward] as const]) {
      from.setNoDelay().on('data', (chunk) => {
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => void (stalled || from.resume()));
      from.on('end', () => to.end());
      from.on('close', () => {
        pairs.delete(pair);
        // Half of what was on its way may be lost, as when a machine goes away.
        if (!to.destroyed) to.destroySoon();
      });
    }
    if (stalled) outward.pause();
    else inward.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay: Relay = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    upstream: undefined,
    connections: () => pairs.size,
    cut(isChosen) {
      for (const pair of pairs) if (isChosen()) for (const end of pair) end.resetAndDestroy();
    },
    stall(isStalled) {
      stalled = isStalled;
      for (const end of [...pairs].flat()) end[isStalled ? 'pause' : 'resume']();
    },
    async [Symbol.asyncDispose]() {
      relay.cut(() => true);
      server.close();
      await once(server, 'close');
    },
  };
  return relay;
}
