import { explainError, explainViolation } from '@kith/client/error-texts';
import { KithError } from '@kith/client/calls';
import { errorTexts } from '../error-texts.ts';

/** What to tell people of a call that failed, in one text. `texts`: of a page for its own reasons, in place of the client's. */
export function describeFailure(thrown: unknown, texts: Readonly<Record<string, string>> = {}): string {
  const error = KithError.from(thrown);
  const text = explainError(error, errorTexts, texts);
  const after = error.retryAfter === undefined ? '' : ` (${error.retryAfter} s)`;
  return `${text}${after}`;
}

/** What to tell people of the fields that break rules, by the name of the field. */
export function violationsOf(thrown: unknown): ReadonlyMap<string, string> {
  const error = KithError.from(thrown);
  const fields = error.violations.map(
    (violation) => [violation.field, explainViolation(violation, errorTexts)] as const,
  );
  const named = error.metadata['field'];
  return new Map(named === undefined ? fields : [...fields, [named, explainError(error, errorTexts)]]);
}
