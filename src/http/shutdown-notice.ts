import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';

/** GOAWAY with the largest stream id and NO_ERROR. */
const SHUTDOWN_NOTICE = Buffer.from('0000080700000000007fffffff00000000', 'hex');

/** What Node keeps behind a socket without TLS. */
interface Handle {
  readonly fd: number;
  readonly writeQueueSize: number;
}

/**
 * Asks the client of an HTTP/2 session to begin no further streams, while those on
 * their way are still served (RFC 9113, 6.8). Returns whether the notice was sent: not
 * while output waits for the client to read, and not over TLS.
 *
 * Of a GOAWAY by `session.goaway`, nghttp2 takes no stream that begins afterwards,
 * whatever the stream id in it, and Node does not offer nghttp2_submit_shutdown_notice.
 * A write of the socket's would end the process when it does not finish at once,
 * because the session takes its completion for one of its own. So the frame goes to
 * the descriptor: the session writes whole frames, and with an empty queue all of
 * them have gone.
 */
export function sendShutdownNotice(socket: Socket): boolean {
  const { _handle: handle } = socket as Socket & { _handle?: Partial<Handle> | null };
  if ('encrypted' in socket || handle?.writeQueueSize !== 0 || handle.fd === undefined || handle.fd < 0) return false;
  try {
    if (writeSync(handle.fd, SHUTDOWN_NOTICE) < SHUTDOWN_NOTICE.length) socket.destroy();
    return true;
  } catch {
    return false; // the client does not read
  }
}
