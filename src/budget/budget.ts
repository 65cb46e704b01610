import { Failure } from '../failure.ts';
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
  /** What a refused caller is told to wait at the least, whole seconds. Default 1. */
  readonly retryAfterSeconds?: number;
}

/**
 * Counts what callers make the server hold of one thing, and refuses what goes over
 * the share of a caller, of all strangers, or of everybody.
 *
 * Takes memory in proportion to the callers that hold something at the moment.
 */
export class Budget {
  readonly limits: BudgetLimits;
  readonly #strangersMax: number;
  readonly #held = new Map<Payer, number>();
  #used = 0;
  #usedByStrangers = 0;
  #refusals = 0;

  constructor(limits: BudgetLimits) {
    this.limits = limits;
    this.#strangersMax = limits.strangers ?? Math.ceil(limits.total / 2);
  }

  /** What all callers hold. */
  get used(): number {
    return this.#used;
  }

  /** How many charges were refused so far. */
  get refusals(): number {
    return this.#refusals;
  }

  /** What one caller holds. */
  usedBy(payer: Payer): number {
    return this.#held.get(payer) ?? 0;
  }

  /**
   * Charges a caller until the charge is released. Throws budget_exceeded where the
   * caller's share would not do, and server_busy where everybody's would not.
   */
  charge(payer: Payer, amount: number): Charge {
    this.take(payer, amount);
    return new Charge(this, payer, amount);
  }

  /** As `charge`, for those who remember themselves what they have to give back. */
  take(payer: Payer, amount: number): void {
    const { name, perCaller, total } = this.limits;
    const held = this.#held.get(payer) ?? 0;
    if (held + amount > perCaller)
      throw this.#refuse('budget_exceeded', `your calls hold too much of it`, name, perCaller);
    const isFull =
      this.#used + amount > total || (isStranger(payer) && this.#usedByStrangers + amount > this.#strangersMax);
    if (isFull) throw this.#refuse('server_busy', 'all calls together hold too much of it', name, total);
    this.#add(payer, held, amount);
  }

  /** Whether `take` would not throw. Takes the amount where it is so. */
  tryTake(payer: Payer, amount: number): boolean {
    const { perCaller, total } = this.limits;
    const held = this.#held.get(payer) ?? 0;
    if (held + amount > perCaller || this.#used + amount > total) return false;
    if (isStranger(payer) && this.#usedByStrangers + amount > this.#strangersMax) return false;
    this.#add(payer, held, amount);
    return true;
  }

  /** Gives back what was taken. */
  giveBack(payer: Payer, amount: number): void {
    this.#add(payer, this.#held.get(payer) ?? 0, -amount);
  }

  #add(payer: Payer, held: number, amount: number): void {
    this.#used += amount;
    if (isStranger(payer)) this.#usedByStrangers += amount;
    if (held + amount > 0) this.#held.set(payer, held + amount);
    else this.#held.delete(payer);
  }

  #refuse(reason: 'budget_exceeded' | 'server_busy', why: string, name: string, limit: number): Failure {
    this.#refusals += 1;
    return overBudget(reason, name, limit, why, this.limits.retryAfterSeconds ?? 1);
  }
}

/** What a caller holds of a budget. */
export class Charge {
  readonly #budget: Budget;
  readonly #payer: Payer;
  #amount: number;

  constructor(budget: Budget, payer: Payer, amount: number) {
    this.#budget = budget;
    this.#payer = payer;
    this.#amount = amount;
  }

  get amount(): number {
    return this.#amount;
  }

  /** Holds `amount` more. Throws what Budget.charge throws, and then holds what it did before. */
  grow(amount: number): void {
    this.#budget.take(this.#payer, amount);
    this.#amount += amount;
  }

  /** Gives everything back. Does nothing when called again. */
  release(): void {
    const amount = this.#amount;
    this.#amount = 0;
    if (amount > 0) this.#budget.giveBack(this.#payer, amount);
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
