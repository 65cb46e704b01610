/** How long an answer is waited for, milliseconds. */
const TIMEOUT_MS = 30_000;

/** A call that was refused, or not answered. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** As the contract names it, without `ERROR_REASON_`; `UNREACHABLE` without an answer of Kith's. */
  readonly reason: string;
  /** The rules that fields break, by the names of the fields. */
  readonly rules: ReadonlyMap<string, string>;
  /** When to call again at the earliest, seconds from now. */
  readonly retryAfterS: number | undefined;

  constructor(reason: string, rules: ReadonlyMap<string, string> = new Map(), retryAfterS?: number) {
    super(reason);
    this.reason = reason;
    this.rules = rules;
    this.retryAfterS = retryAfterS;
  }
}

export interface CallOptions {
  /** The access token to call with. */
  readonly token?: string;
  /** Whether the refresh token is, or is to be, in a cookie that no script can read. */
  readonly withCookie?: boolean;
}

/**
 * Calls a method of AuthService by the Connect protocol, with JSON: a client with the contract in it would be the larger
 * part of these pages. Throws Refusal.
 */
export async function call<T>(method: string, message: object, { token, withCookie }: CallOptions = {}): Promise<T> {
  const headers = {
    'content-type': 'application/json',
    'connect-protocol-version': '1',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(withCookie && { 'x-kith-session': 'cookie' }),
  };
  let answer: unknown;
  let isGood = false;
  try {
    const response = await fetch(`/kith.auth.v1.AuthService/${method}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(message),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    answer = await response.json();
    isGood = response.ok;
  } catch {
    throw new Refusal('UNREACHABLE');
  }
  if (!isGood) throw toRefusal(answer as ErrorAnswer);
  return answer as T;
}

/** An error of the Connect protocol (https://connectrpc.com/docs/protocol#error-end-stream). */
interface ErrorAnswer {
  readonly details?: readonly {
    readonly debug?: {
      readonly reason?: string;
      readonly metadata?: Readonly<Record<string, string>>;
      readonly violations?: readonly {
        readonly ruleId?: string;
        readonly field?: { readonly elements?: readonly { readonly fieldName?: string }[] };
      }[];
    };
  }[];
}

function toRefusal({ details = [] }: ErrorAnswer): Refusal {
  const debugs = details.map(({ debug }) => debug ?? {});
  const { reason, metadata } = debugs.find((debug) => debug.reason !== undefined) ?? {};
  const violations = debugs.flatMap((debug) => debug.violations ?? []);
  const rules = violations.map(({ field, ruleId = '' }): [string, string] => [
    // Fields have the names of the forms.
    (field?.elements?.[0]?.fieldName ?? '').replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    ruleId,
  ]);
  const seconds = metadata?.['retry_after_seconds'];
  return new Refusal(
    reason?.replace('ERROR_REASON_', '') ?? 'UNREACHABLE',
    new Map(rules.toReversed()), // the first of each field counts
    seconds === undefined ? undefined : Number(seconds),
  );
}
