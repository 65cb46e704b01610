import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { pause } from './backoff.ts';
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

describe('a time limit of a call', () => {
  test('of 0 is none, as with Connect', async () => {
    const given: number[] = [];
    const attempt = (ms: number) => {
      given.push(ms);
      return given.length < 2
        ? Promise.reject(new ConnectError('gone', Code.Unavailable))
        : Promise.resolve('answered');
    };
    expect(await repeat({ ...OPTIONS, attemptTimeoutMs: 0, timeoutMs: 0 }, undefined, attempt)).toBe('answered');
    expect(given).toEqual([0, 0]);
    await repeat({ ...OPTIONS, timeoutMs: 0 }, undefined, attempt);
    expect(given[2]).toBe(10_000);
  });

  test('that the server saw first is a deadline exceeded, unless the caller canceled', async () => {
    const reset = new ConnectError('http/2 stream closed with error code CANCEL (0x8)', Code.Canceled);
    const codeOf = (timeoutMs: number, signal?: AbortSignal) =>
      repeat({ ...OPTIONS, attemptsMax: 1, timeoutMs }, signal, async () => {
        await pause(5);
        throw reset;
      }).catch((error: unknown) => (error as ConnectError).code);
    expect(await codeOf(1)).toBe(Code.DeadlineExceeded);
    expect(await codeOf(1, AbortSignal.abort())).toBe(Code.Canceled);
    expect(await codeOf(30_000)).toBe(Code.Canceled);
  });
});
