import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import type { Calls } from './calls.ts';
import { claimsOf, type TokenSource } from './session.ts';

/** One session, and calls that are signed by it alone: they fail once somebody else has signed in. */
export interface Caller {
  /** Differs for each session, and is the same in all tabs that share it. No secret. */
  readonly key: string;
  readonly userId: string;
  readonly transport: Transport;
  /** Whether the session is still that of the client. */
  isStill(): boolean;
}

/** Who is signed in now; undefined for credentials that are no session. Throws as a call does. */
export async function callerOf({ signing: { tokens, by } }: Pick<Calls, 'signing'>): Promise<Caller | undefined> {
  const token = await tokens.token();
  const key = keyOf(token);
  if (key === undefined) return undefined;
  const own = (token: string | undefined) => {
    if (keyOf(token) !== key) throw new ConnectError('somebody else has signed in', Code.Unauthenticated);
    return token;
  };
  const ofSession: TokenSource = {
    token: async () => own(await tokens.token()),
    renew: async (refused) => own(await tokens.renew(refused)),
    current: () => tokens.current(),
    ended: (token, error) => tokens.ended(token, error),
  };
  return { key, userId: userIdOf(token)!, transport: by(ofSession), isStill: () => keyOf(tokens.current()) === key };
}

/** Whose session an access token is of; undefined for what is no access token. */
export function userIdOf(token: string | undefined): string | undefined {
  const { sub } = claimsOf(token ?? '');
  return typeof sub === 'string' ? sub : undefined;
}

/** What tells the session of an access token from all others, and what it may do; undefined for what is no access token. */
function keyOf(token: string | undefined): string | undefined {
  const { iss, sub, sid, scope } = claimsOf(token ?? '');
  return typeof sid === 'string' ? JSON.stringify([iss, sub, sid, scope]) : undefined;
}
