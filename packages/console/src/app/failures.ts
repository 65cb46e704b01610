import { errorText, KithError, type Language, violationText } from '@kith/client/calls';

/** What to tell people of a call that failed, in one text. `texts`: of a page for its own reasons, in place of the client's. */
export function describeFailure(
  thrown: unknown,
  language: Language,
  texts: Readonly<Record<string, string>> = {},
): string {
  const error = KithError.from(thrown);
  const text = errorText(error, language, texts);
  const after = error.retryAfter === undefined ? '' : ` (${error.retryAfter} s)`;
  return `${text}${after}`;
}

/** What to tell people of the fields that break rules, by the name of the field. */
export function violationsOf(thrown: unknown, language: Language): ReadonlyMap<string, string> {
  const error = KithError.from(thrown);
  const fields = error.violations.map((violation) => [violation.field, violationText(violation, language)] as const);
  const named = error.metadata['field'];
  return new Map(named === undefined ? fields : [...fields, [named, errorText(error, language)]]);
}
