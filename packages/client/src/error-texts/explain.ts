import type { KithError, Reason, StatusCode, Violation } from '../kith-error.ts';

/** Texts in place of those of this package, by reason or by rule of a field (`string.email`). */
export type Texts = Readonly<Record<string, string>>;

/** What people are told of errors, in one language. */
export interface ErrorTexts {
  /** Of an error that has no other text. */
  readonly failed: string;
  /** Of a field that breaks a rule without a text. */
  readonly invalid: string;
  /** The texts of reasons that say more than their status code does. */
  readonly reasons: Readonly<Partial<Record<Reason, string>>>;
  /** The texts of all status codes that the contract has: of errors of the network, and of reasons without a text of their own. */
  readonly codes: Readonly<Partial<Record<StatusCode, string>>>;
  /** The rules of the contract that people can break by what they enter. */
  readonly rules: Texts;
}

/** As `errorText`, with the texts of one language, so that a page need not load those of others. */
export function explainError({ reason, code }: KithError, texts: ErrorTexts, own: Texts = {}): string {
  const text = reason === undefined ? undefined : (own[reason] ?? texts.reasons[reason]);
  return text ?? own[code] ?? texts.codes[code] ?? texts.failed;
}

/** As `violationText`, with the texts of one language. */
export function explainViolation({ rule }: Violation, texts: ErrorTexts, own: Texts = {}): string {
  return own[rule] ?? texts.rules[rule] ?? texts.invalid;
}
