import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import type { Kith } from './kith.ts';
import { signedIn } from './sign-in.ts';
import type { ReceivedMail } from './smtp-server.ts';

const MINUTE_MS = 60_000;

/**
 * Somebody signs up, signs in by a code, sets another password, changes the address and takes it back: with nothing but
 * what a mail server received, and each mail at the address that it is for. Returns how many mails that took.
 */
export async function goThroughMailFlows(kith: Kith, received: () => readonly ReceivedMail[]): Promise<number> {
  const username = `u${randomUUID()}`;
  const [first, second] = [`${username}@example.org`, `next.${username}@example.org`];
  const auth = kith.client(AuthService);
  /** What the next mail has to be typed in. */
  let count = 0;
  const read = async (to: string): Promise<string> => {
    count += 1;
    for (const endMs = performance.now() + 30_000; received().length < count && performance.now() < endMs; )
      await sleep(10);
    const mail = received()[count - 1];
    expect(mail?.to).toEqual([to]);
    kith.clock.offsetMs += MINUTE_MS; // a mailbox gets no two codes a minute
    return /^(\d{4} \d{4}|[\w-]{64})$/m.exec(mail?.parsed.text ?? '')?.[0] ?? '';
  };

  await auth.signUp({ email: first });
  const password = 'the first password of all';
  await auth.confirmSignUp({ email: first, code: await read(first), username, name: 'Ada', password });

  const { clientToken } = await auth.requestLoginCode({ identifier: username });
  await signedIn(auth.loginWithCode({ identifier: username, clientToken, code: await read(first) }));

  await auth.requestPasswordReset({ identifier: username });
  const next = 'an entirely new one';
  await auth.resetPassword({ identifier: username, code: await read(first), newPassword: next });
  expect(await read(first)).toBe(''); // tells of the reset

  const { accessToken } = await signedIn(auth.login({ identifier: first, password: next }));
  const own = kith.client(AuthService, accessToken);
  await own.requestEmailChange({ email: second });
  await own.confirmEmailChange({ code: await read(second) });
  const token = await read(first);
  await auth.takeEmailBack({ token, newPassword: 'yet another password' });
  await signedIn(auth.login({ identifier: first, password: 'yet another password' }));
  return count;
}
