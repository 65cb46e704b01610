import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { repeat } from './retries.ts';

const OPTIONS = { attemptsMax: 2, attemptTimeoutMs: 10_000, timeoutMs: 30_000 };

/** How often a call is made that is refused with this header. */
async function attemptsOf(retryAfter: string): Promise<number> {
  let attempts = 0;
  const refused = new ConnectError('come back later', Code.ResourceExhausted, { 'retry-after': retryAfter });
  const calling = repeat(OPTIONS, undefined, () => {
    attempts += 1;
    return Promise.reject(refused);
  });
  await expect(calling).rejects.toBe(refused);
  return attempts;
}

describe('a call that is told when to come back', () => {
  test('is made again when that is within its time', async () => {
    expect(await attemptsOf('0')).toBe(2);
  });

  test('is not made again when its time is over by then', async () => {
    expect(await attemptsOf('60')).toBe(1);
  });
});
