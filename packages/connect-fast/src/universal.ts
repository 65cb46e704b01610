import { ConnectError } from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerRequest } from '@connectrpc/connect/protocol';
import type { Exchange } from './exchange.ts';
import { addHeaders, nodeHeaders } from './call-format.ts';

/** Serves an exchange with one of Connect's handlers. `added` is sent with the headers of the answer. */
export async function serveUniversal(
  exchange: Exchange,
  handler: UniversalHandler,
  request: UniversalServerRequest,
  added: Readonly<Record<string, string>> | undefined,
): Promise<void> {
  const { status, header, trailer, body } = await handler(request);
  const chunks = body?.[Symbol.asyncIterator]();
  try {
    // The implementation may add headers until the first bytes are there.
    let chunk = await chunks?.next();
    const headers = { ...added };
    if (header !== undefined) addHeaders(headers, header);
    exchange.begin(status, headers, trailer !== undefined);
    for (; chunk !== undefined && chunk.done !== true; chunk = await chunks?.next()) {
      if (exchange.isClosed) return;
      if (!exchange.write(chunk.value)) await exchange.drained();
    }
    exchange.end(undefined, trailer === undefined ? undefined : nodeHeaders(trailer));
  } catch (error) {
    if (!exchange.isClosed) throw ConnectError.from(error);
  } finally {
    await chunks?.return?.().catch(() => {});
  }
}
