import type { Peer } from '../../kernel/access.ts';
import { countedAddress } from '../../kernel/address.ts';
import type { App } from '../../app.ts';
import { Failure } from '../../kernel/failure.ts';
import { identifierKey } from '../../kernel/text.ts';
import { createKeyedMutex, type RunExclusive } from '../../kernel/keyed-mutex.ts';
import {
  ADDRESS_INTERVAL_MS,
  CODES,
  FORGET_MS,
  KNOWN_ADDRESS_MS,
  MAILS,
  MANY_ADDRESSES,
  ONE_ADDRESS,
  type Waits,
} from './limits.ts';
import {
  type Bucket,
  countAttempt,
  deleteCount,
  deleteForgotten,
  forgetSooner,
  hasMark,
  nextTokenMs,
  returnToken,
  setMark,
  takeToken,
  uncountAttempt,
} from './store.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

export interface ThrottleApp extends App {
  readonly throttle: Throttle;
}

export interface Throttle {
  /** How many attempts may fail from one address at once. */
  readonly failuresPerAddress: number;
  /**
   * Guesses at the same thing from the same address, one after the other: were they
   * counted at once, many right ones would look like many wrong ones.
   */
  readonly runExclusive: RunExclusive;
  /** How many attempts and guesses had to wait so far: for too many failures from an address, or at an account. */
  readonly throttled: { address: number; account: number };
}

export function createThrottle(failuresPerAddress: number): Throttle {
  return { failuresPerAddress, runExclusive: createKeyedMutex(), throttled: { address: 0, account: 0 } };
}

/** An attempt to sign in that its address has been charged for. */
export interface Attempt {
  /** As it is counted. */
  readonly address: string;
}

/** How a guess came out. */
export interface Guess {
  /** Whether it was compared at all; one that was not is wrong. */
  readonly granted: boolean;
  readonly right: boolean;
}

/**
 * Charges an address for an attempt, before anything is compared or hashed. What
 * comes out right is given back. Throws too_many_attempts when too many failed.
 */
export async function beginAttempt(app: ThrottleApp, peer: Peer): Promise<Attempt> {
  const { db } = app.database;
  const address = countedAddress(peer.address);
  const key = keyOf(app, 'address', address);
  const bucket = bucketOf(app);
  const now = app.now();
  if (await takeToken(db, key, bucket, now, FORGET_MS)) return { address };
  app.throttle.throttled.address += 1;
  const seconds = Math.max(1, Math.ceil(((await nextTokenMs(db, key, bucket)) - now) / 1000));
  throw new Failure('too_many_attempts', `too many sign-ins failed from this address: try again in ${seconds} s`, {
    retry_after_seconds: String(seconds),
  });
}

/** Gives back what an attempt was charged that did not fail. */
export async function forgiveAttempt(app: ThrottleApp, { address }: Attempt): Promise<void> {
  await returnToken(app.database.db, keyOf(app, 'address', address), bucketOf(app));
}

/**
 * Counts a guess at a password, then has it compared: by `compare(true)` with the real
 * thing, or by `compare(false)` in the same time with something else, when there
 * were too many before. A crash while comparing leaves the guess counted.
 *
 * `subject` is what the guesses are at: the id of the user, or what stands for one
 * who does not exist. Guesses from an address that the user signed in from lately
 * are held against that address alone: others cannot keep the user out by guessing.
 * `known` says whether it is such an address, where the caller has looked already.
 */
export async function guessPassword(
  app: ThrottleApp,
  attempt: Attempt,
  subject: string,
  compare: (granted: boolean) => Promise<boolean>,
  known?: boolean,
): Promise<Guess> {
  const { address } = attempt;
  const { db } = app.database;
  const hereKey = keyOf(app, 'password', subject, address);
  return compared(app, attempt, hereKey, compare, async () => {
    const isKnown = known ?? (await isKnownAt(app, subject, address));
    const here = await count(app, hereKey, ONE_ADDRESS);
    // Always a second one, so that every guess takes the same statements.
    const everywhere =
      here === undefined || isKnown
        ? await count(app, keyOf(app, 'in vain', subject, address), NO_WAITS)
        : await count(app, keyOf(app, 'password', subject), MANY_ADDRESSES);
    return {
      granted: here !== undefined && everywhere !== undefined,
      async takeBack() {
        if (here !== undefined) await uncount(app, here);
        if (here !== undefined && everywhere !== undefined && !isKnown) await uncount(app, everywhere);
      },
      // NIST SP 800-63B-4, 3.2.2: who signs in is forgiven the failures from the same address, and no others.
      async forgive() {
        await deleteCount(db, hereKey);
        if (!isKnown && everywhere !== undefined) await uncount(app, everywhere);
      },
    };
  });
}

/** Codes that are guessed: of the second factor, and of a mail. Each kind is counted apart. */
type CodeKind = 'code' | 'mailed code';

/**
 * Counts a guess at a code of the second factor or, if `kind` says so, of a mail, then has it
 * compared, as guessPassword does. Guesses from an address that the user signed in from lately
 * are counted apart. `subject` as in guessPassword.
 */
export async function guessCode(
  app: ThrottleApp,
  attempt: Attempt,
  subject: string,
  compare: (granted: boolean) => Promise<boolean>,
  kind: CodeKind = 'code',
): Promise<Guess> {
  const { address } = attempt;
  const { db } = app.database;
  const hereKey = keyOf(app, kind, subject, address);
  return compared(app, attempt, hereKey, compare, async () => {
    const isKnown = await isKnownAt(app, subject, address);
    const counted = await count(app, isKnown ? hereKey : keyOf(app, kind, subject), CODES);
    const takeBack = async () => {
      if (counted !== undefined) await uncount(app, counted);
    };
    return {
      granted: counted !== undefined,
      takeBack,
      forgive: isKnown ? () => deleteCount(db, hereKey) : takeBack,
    };
  });
}

/**
 * Counts a mail with a code for a user, and to an address, whoever caused it; whether it may be sent. What is asked for
 * from addresses that the user signed in from lately is counted apart: others cannot keep the user from mails by asking
 * for too many.
 */
export async function mayMail(
  app: App,
  { id, email }: { readonly id: string; readonly email: string },
  peer?: Peer,
): Promise<boolean> {
  const of = peer !== undefined && (await isKnownAddress(app, id, peer)) ? 'mail of the user' : 'mail';
  const forUser = await count(app, keyOf(app, of, id), MAILS);
  return forUser !== undefined && (await count(app, keyOf(app, `${of} to`, identifierKey(email)), MAILS)) !== undefined;
}

/**
 * Counts a mail to an address with which somebody wants to sign up; whether it may be sent. By itself: otherwise
 * strangers could keep a user from the mails of a password reset, whose codes those mails do not have.
 */
export async function mayMailNewcomer(app: App, email: string): Promise<boolean> {
  return (await count(app, keyOf(app, 'mail to newcomer', identifierKey(email)), MAILS)) !== undefined;
}

/** Forgets the wrong passwords that were tried at a user from an address: the user has proved to be who they are. */
export function forgivePasswords(app: App, userId: string, peer: Peer): Promise<void> {
  return deleteCount(app.database.db, keyOf(app, 'password', userId, countedAddress(peer.address)));
}

/** Whether a user signed in from an address lately. `subject` as in guessPassword. */
export function isKnownAddress(app: App, subject: string, peer: Peer): Promise<boolean> {
  return isKnownAt(app, subject, countedAddress(peer.address));
}

function isKnownAt(app: App, subject: string, address: string): Promise<boolean> {
  return hasMark(app.database.db, keyOf(app, 'known', subject, address), app.now());
}

/** Remembers that a user signed in from an address. */
export async function rememberAddress(app: App, userId: string, peer: Peer): Promise<void> {
  if (peer.address === '') return; // the connection was gone before it could be asked
  const key = keyOf(app, 'known', userId, countedAddress(peer.address));
  await setMark(app.database.db, key, app.now() + KNOWN_ADDRESS_MS, DAY_MS);
}

/** Removes up to `limit` counts that are past their time, and sees to it that none is kept for longer than a known address; how many there were. */
export async function purgeThrottles(app: App, limit: number): Promise<number> {
  const { db } = app.database;
  const now = app.now();
  return (await deleteForgotten(db, now, limit)) + (await forgetSooner(db, now + KNOWN_ADDRESS_MS, limit));
}

/** A guess that was counted under a key, and keeps the next one waiting until then. */
interface Counted {
  readonly key: string;
  readonly untilMs: number;
}

/** MANY_ADDRESSES without the waits. */
const NO_WAITS: readonly Waits[] = MANY_ADDRESSES.map((wait) => ({ ...wait, waitMs: 0 }));

/** Undefined when the guess has to wait. */
async function count(app: App, key: string, waits: readonly Waits[]): Promise<Counted | undefined> {
  const untilMs = await countAttempt(app.database.db, key, waits, app.now(), FORGET_MS);
  return untilMs === undefined ? undefined : { key, untilMs };
}

function uncount(app: App, { key, untilMs }: Counted): Promise<void> {
  return uncountAttempt(app.database.db, key, untilMs);
}

/** A guess that has been counted. */
interface Ticket {
  readonly granted: boolean;
  /** Makes it uncounted, and with it what was counted before it turned out not to be granted. */
  readonly takeBack: () => Promise<void>;
  /** Does away with what a right guess makes forgotten. */
  readonly forgive: () => Promise<void>;
}

/**
 * Counts a guess and has it compared. Guesses of one name wait for each other until
 * it is known how they came out, so that many from one place take one core at the most.
 */
function compared(
  app: ThrottleApp,
  attempt: Attempt,
  name: string,
  compare: (granted: boolean) => Promise<boolean>,
  countGuess: () => Promise<Ticket>,
): Promise<Guess> {
  return app.throttle.runExclusive(name, async () => {
    const { granted, takeBack, forgive } = await countGuess();
    if (!granted) app.throttle.throttled.account += 1;
    let right: boolean;
    try {
      right = (await compare(granted)) && granted;
    } catch (error) {
      // It was not compared, e.g. for too many others that wait: the caller may try again at once.
      app.background.run(takeBack);
      app.background.run(() => forgiveAttempt(app, attempt));
      throw error;
    }
    if (right) {
      await forgive();
      await forgiveAttempt(app, attempt);
    } else if (!granted) {
      app.background.run(takeBack); // not before: the time that it takes would show the result
    }
    return { granted, right };
  });
}

function bucketOf({ throttle }: ThrottleApp): Bucket {
  return { size: throttle.failuresPerAddress, intervalMs: ADDRESS_INTERVAL_MS };
}

/** A MAC: the table does not show whose password was guessed, or from which address. */
function keyOf(app: App, ...parts: readonly string[]): string {
  return app.keyring.mac('throttle', JSON.stringify(parts)).toString('base64url');
}
