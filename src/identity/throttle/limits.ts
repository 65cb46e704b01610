/** How many failures are free, and how long the next attempt waits after more. */
export interface Waits {
  /** From this number of failures on ... */
  readonly failures: number;
  /** ... the next attempt waits this long, milliseconds. */
  readonly waitMs: number;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * Every limit on guessing, with what it is for. docs/decisions/throttling.md has
 * what an attacker can do within them.
 *
 * | what is counted                       | free | then                         | why |
 * | ------------------------------------- | ---- | ---------------------------- | --- |
 * | passwords of an account, one address  | 4    | 10 s, doubling to 5 min      | people mistype some three times; a wait, not a lock, since a lock lets anybody shut others out (OWASP Authentication Cheat Sheet; ASVS 5.0, 6.1.1 and 6.3.1) |
 * | passwords of an account, all addresses it did not sign in from | 20 | the same, and 1 h from 100 on | many addresses guess together; 100 in a row is where NIST SP 800-63B-4, 3.2.2, ends it, and an hour the longest wait it speaks of |
 * | codes of an account, all addresses it did not sign in from, or one that it did | 4 | the same, and 1 h from 100 on | three of a million codes are right at a time (RFC 6238, 5.2): 100 guesses in 32 hours, over and over, find one in 12 years on average |
 * | mails with a code to a user, asked for from addresses it did not sign in from, or that it did | 2 | 1 min, and 1 h from the sixth on | nobody's mailbox is filled by others; codes are sent again at once, since mails get lost |
 * | failures from an address, whatever the account | 30, see KITH_SIGN_IN_FAILURES_PER_ADDRESS | 1 every 10 s | one password tried at many accounts (ASVS 5.0, 6.3.1), and hashing as a load |
 */
export const ONE_ADDRESS: readonly Waits[] = doubling(4);
export const MANY_ADDRESSES: readonly Waits[] = [...doubling(20), { failures: 100, waitMs: HOUR_MS }];
export const CODES: readonly Waits[] = [...doubling(4), { failures: 100, waitMs: HOUR_MS }];
export const MAILS: readonly Waits[] = [
  { failures: 2, waitMs: MINUTE_MS },
  { failures: 6, waitMs: HOUR_MS },
];

/** How often an address may fail once more, when it has failed as often as it may at once. */
export const ADDRESS_INTERVAL_MS = 10 * SECOND_MS;

/** How long after the last failure the failures before count no more, of an account or an address. */
export const FORGET_MS = DAY_MS;

/** How long after a sign-in the address is one that the account signs in from. */
export const KNOWN_ADDRESS_MS = 30 * DAY_MS;

/** No wait after `free` - 1 failures, 10 s after one more, twice as long after each further, and at most 5 min. */
function doubling(free: number): Waits[] {
  const longestMs = 5 * MINUTE_MS;
  const waits: Waits[] = [];
  for (let waitMs = 10 * SECOND_MS; waitMs < longestMs; waitMs *= 2) {
    waits.push({ failures: free + waits.length, waitMs });
  }
  return [...waits, { failures: free + waits.length, waitMs: longestMs }];
}
