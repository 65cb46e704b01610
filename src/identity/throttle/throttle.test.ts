import { randomUUIDv7 } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { databases, type TestDatabase } from '../../../test/support/databases.ts';
import { Background } from '../../kernel/background.ts';
import { openDatabase } from '../../storage/database.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { createPasswords, type Passwords } from '../passwords/passwords.ts';
import {
  beginAttempt,
  createThrottle,
  forgiveAttempt,
  guessCode,
  guessPassword,
  purgeThrottles,
  rememberAddress,
  type ThrottleApp,
} from './throttle.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

type Compare = (granted: boolean) => Promise<boolean>;
const never: Compare = async () => false;
const always: Compare = async () => true;

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase;
  let passwords: Passwords;
  const clock = { ms: Date.UTC(2030, 0, 1) };
  const opened = new AsyncDisposableStack();
  let app: ThrottleApp;

  /** What one instance has. */
  async function openInstance(failuresPerAddress = 1_000_000): Promise<ThrottleApp> {
    const on = opened.use(await openDatabase(database.url));
    const background = opened.use(
      new Background((error) => {
        throw error;
      }),
    );
    return {
      database: on,
      keyring: createKeyring(Buffer.alloc(32, 'throttle')),
      passwords,
      background,
      now: () => clock.ms,
      monotonic: () => clock.ms,
      purgeAfterMs: 0,
      accessTokenTtlMs: 0,
      activityRetentionMs: 0,
      throttle: createThrottle(failuresPerAddress),
    };
  }

  beforeAll(async () => {
    database = await kind.create();
    passwords = createPasswords();
    app = await openInstance();
  });
  afterAll(async () => {
    await opened.disposeAsync();
    await database[Symbol.asyncDispose]();
  });

  let addresses = 0;
  const newAddress = () => {
    addresses++;
    return `10.${addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}`;
  };
  const from = (address: string) => ({ address, userAgent: '' });

  /** One guess at a password; whether it was compared. */
  async function guess(subject: string, address: string, compare = never, on = app) {
    return guessPassword(on, await beginAttempt(on, from(address)), subject, compare);
  }
  async function code(userId: string, address: string, compare = never) {
    return guessCode(app, await beginAttempt(app, from(address)), userId, compare);
  }
  /** Guesses wrong until that is not let through; how often it was. */
  async function guessUntilRefused(subject: string, address: () => string, one = guess): Promise<number> {
    for (let granted = 0; ; granted++) if (!(await one(subject, address())).granted) return granted;
  }
  /** How long until the next wrong guess is let through, milliseconds, which is then made. */
  async function waitOf(subject: string, address: () => string, one = guess): Promise<number> {
    const startMs = clock.ms;
    for (const waitMs of [0, 10, 20, 40, 80, 160, 300, 3600].map((seconds) => seconds * SECOND_MS)) {
      clock.ms = startMs + waitMs - 1;
      if (waitMs > 0 && (await one(subject, address())).granted) return Number.NaN;
      clock.ms = startMs + waitMs;
      if ((await one(subject, address())).granted) return waitMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  describe('passwords from one address', () => {
    test('four are free, then each waits 10 s, doubling up to 5 min', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      const waits: number[] = [];
      for (let i = 0; i < 12; i++) waits.push(await waitOf(subject, () => address));
      expect(waits.map((ms) => ms / SECOND_MS)).toEqual([0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300]);
    });

    test('a guess that has to wait is not compared, and does not make the wait longer', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      expect(await guessUntilRefused(subject, () => address)).toBe(4);
      const compared: boolean[] = [];
      const refused = await guess(subject, address, async (granted) => {
        compared.push(granted);
        return true; // of what it is compared with instead
      });
      expect({ refused, compared }).toEqual({ refused: { granted: false, right: false }, compared: [false] });
      for (let i = 0; i < 20; i++) await guess(subject, address);
      clock.ms += 10 * SECOND_MS;
      expect(await guess(subject, address)).toEqual({ granted: true, right: false });
    });

    test('the right one makes the failures before it forgotten', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 3; i++) await guess(subject, address);
      expect(await guess(subject, address, always)).toEqual({ granted: true, right: true });
      expect(await guessUntilRefused(subject, () => address)).toBe(4);
    });

    test('a hundred right ones wait for nothing, one after the other or at once', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 50; i++) expect((await guess(subject, address, always)).right).toBe(true);
      const atOnce = await Promise.all(Array.from({ length: 50 }, () => guess(subject, address, always)));
      expect(atOnce.every(({ right }) => right)).toBe(true);
    });

    test('another account and another address have failures of their own', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      await guessUntilRefused(subject, () => address);
      expect((await guess(randomUUIDv7(), address)).granted).toBe(true);
      expect((await guess(subject, newAddress())).granted).toBe(true);
      expect((await guess(subject, address)).granted).toBe(false);
    });

    test('another address of the same IPv6 /64 is no other address', async () => {
      const subject = randomUUIDv7();
      let last = 0;
      expect(await guessUntilRefused(subject, () => `2001:db8:1:2::${++last}`)).toBe(4);
      expect((await guess(subject, '2001:db8:1:3::1')).granted).toBe(true);
    });

    test('instances whose clocks differ count alike', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      const early = { ...app, now: () => clock.ms - 5 * SECOND_MS };
      const late = { ...app, now: () => clock.ms + 5 * SECOND_MS };
      for (const on of [late, early, app, early]) expect((await guess(subject, address, never, on)).granted).toBe(true);
      for (const on of [app, early]) expect((await guess(subject, address, never, on)).granted).toBe(false);
    });

    test('failures are forgotten a day after the last', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 4; i++) await guess(subject, address);
      clock.ms += DAY_MS - 1;
      await guess(subject, address);
      expect((await guess(subject, address)).granted).toBe(false);
      clock.ms += DAY_MS;
      expect(await guessUntilRefused(subject, () => address)).toBe(4);
    });

    test.each([
      ['not compared, e.g. for too many others', () => Promise.reject(new Error('busy'))],
      [
        'not let through to the end',
        () => {
          throw new Error('busy');
        },
      ],
    ])('what was %s is given back, and says why', async (_, compare) => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 10; i++) {
        await expect(guess(subject, address, compare)).rejects.toThrow('busy');
        await app.background[Symbol.asyncDispose]();
      }
      expect(await guessUntilRefused(subject, () => address)).toBe(4);
    });

    test('a guess counts while it is compared: a crash leaves it counted', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      // Another process, which ends before it knows.
      const crashing = await openInstance();
      for (let i = 0; i < 4; i++) {
        const { promise: comparing, resolve } = Promise.withResolvers<void>();
        const endless = () => {
          resolve();
          return new Promise<boolean>(() => {});
        };
        void guess(subject, address, endless, { ...crashing, throttle: createThrottle(1_000_000) });
        await comparing;
      }
      expect((await guess(subject, address)).granted).toBe(false);
    });
  });

  describe('passwords from many addresses', () => {
    test('twenty are free, then each waits 10 s, doubling up to 5 min', async () => {
      const subject = randomUUIDv7();
      expect(await guessUntilRefused(subject, newAddress)).toBe(20);
      const waits: number[] = [];
      for (let i = 0; i < 7; i++) waits.push(await waitOf(subject, newAddress));
      expect(waits.map((ms) => ms / SECOND_MS)).toEqual([10, 20, 40, 80, 160, 300, 300]);
    });

    test('from a hundred on, each waits an hour', async () => {
      const subject = randomUUIDv7();
      for (let failures = await guessUntilRefused(subject, newAddress); failures < 100; failures++) {
        clock.ms += 300 * SECOND_MS;
        expect((await guess(subject, newAddress())).granted).toBe(true);
      }
      expect(await waitOf(subject, newAddress)).toBe(HOUR_MS);
    });

    test('an address that the account signed in from lately does not wait for the others', async () => {
      const [subject, home] = [randomUUIDv7(), newAddress()];
      await rememberAddress(app, subject, from(home));
      await guessUntilRefused(subject, newAddress);
      expect(await guess(subject, home, always)).toEqual({ granted: true, right: true });
      expect((await guess(subject, newAddress(), always)).granted).toBe(false);
      // That it signed in again forgives the others nothing.
      clock.ms += 10 * SECOND_MS;
      expect(await guessUntilRefused(subject, newAddress)).toBe(1);
    });

    test('an address that the account signed in from lately waits for its own failures, and no other waits for them', async () => {
      const [subject, home] = [randomUUIDv7(), newAddress()];
      await rememberAddress(app, subject, from(home));
      expect(await guessUntilRefused(subject, () => home)).toBe(4);
      expect(await guessUntilRefused(subject, newAddress)).toBe(20);
    });

    test('an address is known for 30 days after the last sign-in', async () => {
      const [subject, home] = [randomUUIDv7(), newAddress()];
      await rememberAddress(app, subject, from(home));
      clock.ms += 29 * DAY_MS;
      await rememberAddress(app, subject, from(home));
      clock.ms += 30 * DAY_MS - SECOND_MS;
      await guessUntilRefused(subject, newAddress);
      expect((await guess(subject, home)).granted).toBe(true);
      clock.ms += SECOND_MS;
      await guessUntilRefused(subject, newAddress);
      expect((await guess(subject, home)).granted).toBe(false);
    });

    test('that an address is known of one account says nothing of another', async () => {
      const [subject, home] = [randomUUIDv7(), newAddress()];
      await rememberAddress(app, randomUUIDv7(), from(home));
      await guessUntilRefused(subject, newAddress);
      expect((await guess(subject, home)).granted).toBe(false);
    });

    test('guesses that one address has to wait with do not make others wait', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 50; i++) await guess(subject, address);
      expect(await guessUntilRefused(subject, newAddress)).toBe(16);
    });

    test('guesses that wait for the other addresses do not make their own address wait', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      await guessUntilRefused(subject, newAddress);
      for (let i = 0; i < 10; i++) {
        expect((await guess(subject, address)).granted).toBe(false);
        await app.background[Symbol.asyncDispose]();
      }
      await rememberAddress(app, subject, from(address));
      expect(await guessUntilRefused(subject, () => address)).toBe(4);
    });

    test('a right one from an address that is not known takes back its own, and no other', async () => {
      const subject = randomUUIDv7();
      for (let i = 0; i < 10; i++) await guess(subject, newAddress());
      for (let i = 0; i < 5; i++) await guess(subject, newAddress(), always);
      expect(await guessUntilRefused(subject, newAddress)).toBe(10);
    });
  });

  describe('at once', () => {
    const instances = kind === databases[0] ? 1 : 3; // one process serves a file
    const counted = instances === 1 ? 'one instance' : 'three instances';

    test(`200 guesses from one address on ${counted}: four are compared`, async () => {
      const on = await Promise.all(Array.from({ length: instances }, () => openInstance()));
      const [subject, address] = [randomUUIDv7(), newAddress()];
      const guesses = await Promise.all(
        Array.from({ length: 200 }, (_, i) => guess(subject, address, never, on[i % instances])),
      );
      expect(guesses.filter(({ granted }) => granted)).toHaveLength(4);
      clock.ms += 10 * SECOND_MS;
      expect((await guess(subject, address)).granted).toBe(true);
      clock.ms += 10 * SECOND_MS; // the fifth is followed by 20 s: none of the four was lost
      expect((await guess(subject, address)).granted).toBe(false);
    });

    test(`200 guesses from 200 addresses on ${counted}: twenty are compared`, async () => {
      const on = await Promise.all(Array.from({ length: instances }, () => openInstance()));
      const subject = randomUUIDv7();
      const guesses = await Promise.all(
        Array.from({ length: 200 }, (_, i) => guess(subject, newAddress(), never, on[i % instances])),
      );
      expect(guesses.filter(({ granted }) => granted)).toHaveLength(20);
    });

    test(`40 failures from one address on ${counted}: thirty are let through`, async () => {
      const on = await Promise.all(Array.from({ length: instances }, () => openInstance(30)));
      const address = newAddress();
      const attempts = await Promise.allSettled(
        Array.from({ length: 40 }, (_, i) => beginAttempt(on[i % instances]!, from(address))),
      );
      expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(30);
    });
  });

  describe('an address', () => {
    let few: ThrottleApp;
    beforeAll(async () => {
      few = await openInstance(5);
    });
    const attempt = (address: string) => beginAttempt(few, from(address));
    const refusal = (seconds: number) =>
      expect.objectContaining({
        name: 'Failure',
        reason: 'too_many_attempts',
        metadata: { retry_after_seconds: String(seconds) },
      });

    test('may fail so often at once, then once more every 10 s', async () => {
      const address = newAddress();
      for (let i = 0; i < 5; i++) await attempt(address);
      await expect(attempt(address)).rejects.toEqual(refusal(10));
      clock.ms += 9999;
      await expect(attempt(address)).rejects.toEqual(refusal(1));
      clock.ms += 1;
      await attempt(address);
      await expect(attempt(address)).rejects.toEqual(refusal(10));
      clock.ms += 25 * SECOND_MS;
      await attempt(address);
      await attempt(address);
      await expect(attempt(address)).rejects.toEqual(refusal(5));
      clock.ms += HOUR_MS;
      for (let i = 0; i < 5; i++) await attempt(address);
      await expect(attempt(address)).rejects.toEqual(refusal(10));
    });

    test('that signs in is not charged, whichever account', async () => {
      const address = newAddress();
      for (let i = 0; i < 4; i++) await attempt(address);
      for (let i = 0; i < 10; i++) await guess(randomUUIDv7(), address, always, few);
      for (let i = 0; i < 10; i++) await forgiveAttempt(few, await attempt(address));
      await attempt(address);
      await expect(attempt(address)).rejects.toEqual(refusal(10));
    });

    test('is not charged for guesses that could not be compared, neither passwords nor codes', async () => {
      const address = newAddress();
      const failing: Compare = async () => {
        throw new Error('the queue is full');
      };
      for (let i = 0; i < 20; i++) {
        const one = i % 2 === 0 ? guessPassword : guessCode;
        await expect(one(few, await attempt(address), randomUUIDv7(), failing)).rejects.toThrow('the queue is full');
        await few.background[Symbol.asyncDispose](); // what is given back is given back behind the answer
      }
      await attempt(address);
    });

    test('is charged for guesses at any account, compared or not', async () => {
      const address = newAddress();
      const subject = randomUUIDv7();
      await guessUntilRefused(subject, newAddress);
      await guess(subject, address, never, few);
      for (let i = 0; i < 4; i++) await guess(randomUUIDv7(), address, never, few);
      await expect(attempt(address)).rejects.toEqual(refusal(10));
    });

    test('of an IPv6 /64 is one, and another /64 is another', async () => {
      for (let i = 0; i < 5; i++) await attempt(`2001:db8:7:7::${i}`);
      await expect(attempt('2001:db8:7:7:ffff::1')).rejects.toEqual(refusal(10));
      await attempt('2001:db8:7:8::1');
    });

    test('that is not known is one as well', async () => {
      for (let i = 0; i < 5; i++) await attempt('');
      await expect(attempt('')).rejects.toEqual(refusal(10));
      const subject = randomUUIDv7();
      await rememberAddress(app, subject, from(''));
      await guessUntilRefused(subject, newAddress);
      expect((await guess(subject, '')).granted).toBe(false);
    });
  });

  describe('codes of the second factor', () => {
    test('four are free from all addresses together, then each waits 10 s, doubling up to 5 min', async () => {
      const user = randomUUIDv7();
      const waits: number[] = [];
      for (let i = 0; i < 11; i++) waits.push(await waitOf(user, newAddress, code));
      expect(waits.map((ms) => ms / SECOND_MS)).toEqual([0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300]);
    });

    test('from a hundred on, each waits an hour', async () => {
      const user = randomUUIDv7();
      for (let failures = await guessUntilRefused(user, newAddress, code); failures < 100; failures++) {
        clock.ms += 300 * SECOND_MS;
        expect((await code(user, newAddress())).granted).toBe(true);
      }
      expect(await waitOf(user, newAddress, code)).toBe(HOUR_MS);
    });

    test('an address that the user signed in from lately has four of its own, and is forgiven by a right one', async () => {
      const [user, home] = [randomUUIDv7(), newAddress()];
      await rememberAddress(app, user, from(home));
      await guessUntilRefused(user, newAddress, code);
      for (let i = 0; i < 3; i++) await code(user, home);
      expect(await code(user, home, always)).toEqual({ granted: true, right: true });
      expect(await guessUntilRefused(user, () => home, code)).toBe(4);
    });

    test('a right one from elsewhere takes back its own, and no other', async () => {
      const user = randomUUIDv7();
      for (let i = 0; i < 3; i++) await code(user, newAddress());
      for (let i = 0; i < 3; i++) expect((await code(user, newAddress(), always)).right).toBe(true);
      expect(await guessUntilRefused(user, newAddress, code)).toBe(1);
    });

    test('wrong passwords and wrong codes do not count as each other', async () => {
      const [user, address] = [randomUUIDv7(), newAddress()];
      await guessUntilRefused(user, () => address);
      expect((await code(user, address)).granted).toBe(true);
      const other = randomUUIDv7();
      await guessUntilRefused(other, () => address, code);
      expect((await guess(other, address)).granted).toBe(true);
    });
  });

  describe('what is stored', () => {
    const keys = async () =>
      (await app.database.db.selectFrom('throttles').select('key').execute()).map(({ key }) => key);

    test('tells neither who nor from where', async () => {
      const [subject, address] = [randomUUIDv7(), newAddress()];
      await guess(subject, address);
      await guess(`nobody ${subject}`, address);
      const dump = await database.dump();
      expect(dump).not.toContain(subject);
      expect(dump).not.toContain(address);
      expect((await keys()).every((key) => /^[\w-]{43}$/.test(key))).toBe(true);
    });

    test('is removed when nothing of it matters any more, and not before', async () => {
      while ((await purgeThrottles({ ...app, now: () => clock.ms + 100 * DAY_MS }, 100)) > 0);
      expect(await keys()).toEqual([]);
      const [subject, address] = [randomUUIDv7(), newAddress()];
      for (let i = 0; i < 5; i++) await guess(subject, address);
      await rememberAddress(app, subject, from(address));
      const purged = async () => {
        let count = 0;
        for (let removed = 1; removed > 0; count += removed) removed = await purgeThrottles(app, 2);
        return count;
      };
      expect(await purged()).toBe(0);
      clock.ms += 50 * SECOND_MS;
      expect(await purged()).toBe(0);
      clock.ms += DAY_MS - 51 * SECOND_MS;
      expect(await purged()).toBe(0);
      expect((await guess(subject, address)).granted).toBe(true); // the fifth; the next would be the sixth
      expect((await guess(subject, address)).granted).toBe(false);
      clock.ms += DAY_MS;
      await purged();
      expect(await keys()).toHaveLength(1); // that the address is known
      clock.ms += 30 * DAY_MS;
      await purged();
      expect(await keys()).toEqual([]);
    });
  });
});
