import { openSessions, receiveMessages } from './grpc-stream.ts';
import { measured, type Request, type Run, type ServingProcess } from './load.ts';

/** More than is under way at any time: the server never waits for this side to have read. */
const WINDOW_BYTES = 2 ** 24;

/**
 * Reads a log again and again through watches, which no load generator can: they
 * do not end. Each of `streams` watches at once is left after `messages` of them;
 * a request is one message. Throws when a watch ends before.
 */
export async function loadReplay(
  server: ServingProcess,
  request: Request,
  { messages, streams, seconds }: { messages: number; streams: number; seconds: number },
): Promise<Run> {
  const [session] = openSessions(server.address, 1, { settings: { initialWindowSize: WINDOW_BYTES } });
  session!.once('connect', () => session!.setLocalWindowSize(WINDOW_BYTES));
  try {
    return await measured(server, async () => {
      const startMs = performance.now();
      let received = 0;
      do {
        await Promise.all(Array.from({ length: streams }, () => receiveMessages(session!, request, messages)));
        received += streams * messages;
      } while (performance.now() - startMs < seconds * 1000);
      return { perSecond: received / ((performance.now() - startMs) / 1000), requests: received };
    });
  } finally {
    session!.destroy();
  }
}
