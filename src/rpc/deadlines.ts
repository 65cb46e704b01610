import { parseConnectTimeout, parseGrpcTimeout, TIMER_MAX_MS } from '../../packages/connect-fast/src/index.ts';

/**
 * Takes the deadline out of request headers when it is too far off for a timer:
 * the call will have ended long before. Connect would refuse it, and start a
 * timer that Node warns of and sets to 1 ms.
 */
export function dropFarDeadline(header: Headers): void {
  const grpcMs = parseGrpcTimeout(header.get('grpc-timeout') ?? '');
  if (grpcMs !== undefined && grpcMs > TIMER_MAX_MS) header.delete('grpc-timeout');
  const connectMs = parseConnectTimeout(header.get('connect-timeout-ms') ?? '');
  if (connectMs !== undefined && connectMs > TIMER_MAX_MS) header.delete('connect-timeout-ms');
}
