import { Failure } from '../kernel/failure.ts';
import { isStranger, type Payer } from './payer.ts';

/** How much of one thing callers may make the server hold. */
export interface BudgetLimits {
  /** What it counts, as refusals and metrics name it, e.g. "request_bytes". */
  readonly name: string;
  /** What one caller may take. */
  readonly perCaller: number;
  /** What all callers may take together. */
  readonly total: number;
  /**
   * What those may take together who have not signed in, so that strangers cannot take
   * the share of users. Half of `total` unless given.
   */
  readonly strangers?: number;
  /** What one caller may take who has not signed in. `perCaller` unless given. */
  readonly perStranger?: number;
  /**
   * The last eighth of `total`, and that of `strangers`, is kept for callers that hold no more than this: whoever takes
   * all that can be had leaves room for them. Nothing is kept unless given.
   */
  readonly little?: number;
  /** What a refused caller is told to wait at the least, whole seconds. Default 1. */
  readonly retryAfterSeconds?: number;
}

/** Which part of what there is for many is kept for callers that hold little. */
const RESERVED_PART = 8;

/** How many accounts may be empty before they are looked through for those to forget. */
const EMPTY_MAX = 4096;

/**
 * Counts what callers make the server hold of one thing, and refuses what goes over
 * the share of a caller, of all strangers, or of everybody.
 *
 * Takes memory in proportion to the callers that hold something at the moment, and for
 * some thousands that held something lately.
 */
export class Budget {
  readonly limits: BudgetLimits;
  readonly #strangersMax: number;
  readonly #accounts = new Map<Payer, Account>();
  #used = 0;
  #usedByStrangers = 0;
  #refusals = 0;
  #sweepAt = EMPTY_MAX;

  constructor(limits: BudgetLimits) {
    this.limits = limits;
    this.#strangersMax = limits.strangers ?? Math.ceil(limits.total / 2);
  }

  /** What all callers hold. */
  get used(): number {
    return this.#used;
  }

  /** How many charges were refused so far, those of `tryCharge` too. */
  get refusals(): number {
    return this.#refusals;
  }

  /** What one caller holds. */
  usedBy(payer: Payer): number {
    return this.#accounts.get(payer)?.held ?? 0;
  }

  /**
   * Charges a caller until the charge is released. Throws budget_exceeded where the
   * caller's share would not do, and server_busy where everybody's would not.
   */
  charge(payer: Payer, amount: number): Charge {
    const account = this.#account(payer);
    if (!this.#tryTake(account, amount)) throw this.#refusal(account, amount);
    return new Charge(account, amount, this.#book);
  }

  /** Whether `charge` would not throw, and the charge where it is so. */
  tryCharge(payer: Payer, amount: number): Charge | undefined {
    const account = this.#account(payer);
    return this.#tryTake(account, amount) ? new Charge(account, amount, this.#book) : undefined;
  }

  #account(payer: Payer): Account {
    let account = this.#accounts.get(payer);
    if (account === undefined) {
      if (this.#accounts.size >= this.#sweepAt) this.#forgetEmpty();
      account = { isStranger: isStranger(payer), held: 0, charges: 0 };
      this.#accounts.set(payer, account);
    }
    return account;
  }

  #forgetEmpty(): void {
    for (const [payer, { charges }] of this.#accounts) if (charges === 0) this.#accounts.delete(payer);
    this.#sweepAt = this.#accounts.size + EMPTY_MAX;
  }

  #hasRoom(account: Account, amount: number): boolean {
    if (account.held + amount > this.#shareOf(account)) return false;
    if (this.#used + amount > this.#openTo(account, amount, this.limits.total)) return false;
    return !account.isStranger || this.#usedByStrangers + amount <= this.#openTo(account, amount, this.#strangersMax);
  }

  #shareOf({ isStranger }: Account): number {
    const { perCaller, perStranger = perCaller } = this.limits;
    return isStranger ? perStranger : perCaller;
  }

  /** How much of `max` may be used after a charge of this amount. */
  #openTo({ held }: Account, amount: number, max: number): number {
    const { little = Infinity } = this.limits;
    return held + amount > little ? max - Math.floor(max / RESERVED_PART) : max;
  }

  /** What charges are kept by. */
  readonly #book: Book = {
    tryTake: (account, amount) => this.#tryTake(account, amount),
    refusal: (account, amount) => this.#refusal(account, amount),
    giveBack: (account, amount) => this.#add(account, -amount),
  };

  #tryTake(account: Account, amount: number): boolean {
    if (!this.#hasRoom(account, amount)) {
      this.#refusals += 1;
      return false;
    }
    this.#add(account, amount);
    return true;
  }

  #add(account: Account, amount: number): void {
    account.held += amount;
    this.#used += amount;
    if (account.isStranger) this.#usedByStrangers += amount;
  }

  #refusal(account: Account, amount: number): Failure {
    const { name, total, retryAfterSeconds = 1 } = this.limits;
    const share = this.#shareOf(account);
    return account.held + amount > share
      ? overBudget('budget_exceeded', name, share, 'your calls hold too much of it', retryAfterSeconds)
      : overBudget('server_busy', name, total, 'all calls together hold too much of it', retryAfterSeconds);
  }
}

/** What a caller holds of a budget. */
interface Account {
  readonly isStranger: boolean;
  held: number;
  /** Those that are not released yet: until then the account is not forgotten. */
  charges: number;
}

interface Book {
  /** Whether there was room. */
  readonly tryTake: (account: Account, amount: number) => boolean;
  /** Why there was none. */
  readonly refusal: (account: Account, amount: number) => Failure;
  readonly giveBack: (account: Account, amount: number) => void;
}

/** What is held of a budget for one purpose. */
export class Charge {
  readonly #account: Account;
  readonly #book: Book;
  #amount: number;
  #isReleased = false;

  constructor(account: Account, amount: number, book: Book) {
    this.#account = account;
    this.#amount = amount;
    this.#book = book;
    account.charges += 1;
  }

  get amount(): number {
    return this.#amount;
  }

  /**
   * Holds `amount` more, until the charge is released. Throws what Budget.charge throws, and then holds what it did before.
   * Does nothing once the charge is released: what comes later, such as the rest of a body that is read past, would never
   * be given back.
   */
  grow(amount: number): void {
    if (!this.#isReleased && !this.tryGrow(amount)) throw this.#book.refusal(this.#account, amount);
  }

  /** Holds `amount` more if there is room for it and the charge is not released; whether it does. */
  tryGrow(amount: number): boolean {
    if (this.#isReleased || !this.#book.tryTake(this.#account, amount)) return false;
    this.#amount += amount;
    return true;
  }

  /** Gives a part back. Does nothing once the charge is released, which gave it back already. */
  shrink(amount: number): void {
    if (this.#isReleased) return;
    this.#book.giveBack(this.#account, amount);
    this.#amount -= amount;
  }

  /** Gives everything back. Does nothing when called again. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#account.charges -= 1;
    this.#book.giveBack(this.#account, this.#amount);
    this.#amount = 0;
  }
}

/** The refusal of what goes over a limit: it names the limit and says when to come back. */
export function overBudget(
  reason: 'budget_exceeded' | 'server_busy',
  budget: string,
  limit: number,
  why: string,
  retryAfterSeconds: number,
): Failure {
  return new Failure(reason, `${budget} is limited to ${limit}: ${why}; call again later`, {
    budget,
    limit: String(limit),
    retry_after_seconds: String(Math.max(1, Math.ceil(retryAfterSeconds))),
  });
}
