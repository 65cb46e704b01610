/** The longest a timer of Node's can run, 24 days. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

const MS_OF_UNIT: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * What `grpc-timeout` says, milliseconds; undefined for what does not look like one.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
 */
export function parseGrpcTimeout(value: string): number | undefined {
  const [, amount = '', unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(value) ?? [];
  const ms = MS_OF_UNIT[unit];
  return ms === undefined ? undefined : Number(amount) * ms;
}

/**
 * What `connect-timeout-ms` says, milliseconds; undefined for what does not look like one.
 * https://connectrpc.com/docs/protocol/#unary-request
 */
export function parseConnectTimeout(value: string): number | undefined {
  return /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}
