import { ConnectError } from '@connectrpc/connect';
import { errorText, KithError } from '../../../packages/client/src/index.ts';
import { EXIT_CODES, type ExitCode } from '../exit-codes.ts';
import { withPlurals } from '../terminal/count.ts';
import { safeText } from '../terminal/safe-text.ts';

/** What to say of a call that failed, and how to end. */
export interface CallFailure {
  readonly lines: readonly string[];
  readonly exitCode: ExitCode;
}

/** A call's error in words for people; undefined for what is none. */
export function explainCallFailure(thrown: unknown): CallFailure | undefined {
  if (!(thrown instanceof KithError) && !(thrown instanceof ConnectError)) return undefined;
  const error = KithError.from(thrown);
  if (error.reason === undefined && !error.cause.isWireError) {
    return { lines: [`cannot reach Kith: ${safeText(networkMessage(error))}`], exitCode: EXIT_CODES.unavailable };
  }
  const { reason, code, violations, requestId, retryAfter } = error;
  const message = error.cause.rawMessage;
  // The message has the violations in it, which lines of their own say better.
  const what = violations.length > 0 ? 'the request breaks rules of the contract' : message || errorText(error);
  const lines = [`${safeText(what)} (${reason ?? code})`];
  for (const { field, message: why } of violations)
    lines.push(`  ${safeText(field || 'the request')}: ${safeText(withPlurals(why))}`);
  const { contact_id: mergedInto } = error.metadata;
  if (reason === 'CONTACT_MERGED' && mergedInto !== undefined) {
    lines.push(`  kith contacts get ${safeText(mergedInto)} shows the contact that it is part of`);
    lines.push(`  kith contacts unmerge ${safeText(mergedInto)} takes the last merge into that one back`);
  }
  if (retryAfter !== undefined) lines.push(`  try again in ${retryAfter} s`);
  const exitCode = exitCodeOf(error);
  if (reason === 'FRESH_SIGN_IN_REQUIRED') lines.push('  kith login signs in again');
  else if (exitCode === EXIT_CODES.unauthenticated) lines.push('  kith login signs in; scripts set KITH_API_KEY');
  if (reason === 'INTERNAL' && requestId !== undefined)
    lines.push(`  the log of the server has it as ${safeText(requestId)}`);
  return { lines, exitCode };
}

function exitCodeOf({ code }: KithError): ExitCode {
  switch (code) {
    case 'Unauthenticated':
      return EXIT_CODES.unauthenticated;
    case 'NotFound':
      return EXIT_CODES.notFound;
    case 'AlreadyExists':
    case 'Aborted':
      return EXIT_CODES.conflict;
    case 'Unavailable':
    case 'DeadlineExceeded':
    case 'ResourceExhausted':
      return EXIT_CODES.unavailable;
    default:
      return EXIT_CODES.failed;
  }
}

/** What the network said: the causes of an error of fetch have it. */
function networkMessage({ cause }: KithError): string {
  let message = cause.rawMessage;
  for (let each: unknown = cause.cause, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth++) {
    if (each instanceof AggregateError && each.errors[0] instanceof Error) message = each.errors[0].message;
    else if (each.message !== '' && each.message !== 'fetch failed') message = each.message;
  }
  return message;
}
