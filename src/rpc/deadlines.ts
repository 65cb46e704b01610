/** The longest a timer of Node's can run, 24 days. */
const TIMER_MAX_MS = 2 ** 31 - 1;

const MS_OF_UNIT: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Takes the deadline out of request headers when it is too far off for a timer:
 * the call will have ended long before. Connect would refuse it, and start a
 * timer that Node warns of and sets to 1 ms.
 */
export function dropFarDeadline(header: Headers): void {
  const [, amount = '', unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(header.get('grpc-timeout') ?? '') ?? [];
  if (Number(amount) * (MS_OF_UNIT[unit] ?? 0) > TIMER_MAX_MS) header.delete('grpc-timeout');
  const timeoutMs = header.get('connect-timeout-ms') ?? '';
  if (/^\d{1,10}$/.test(timeoutMs) && Number(timeoutMs) > TIMER_MAX_MS) header.delete('connect-timeout-ms');
}
