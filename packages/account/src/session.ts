import { cookieStore } from '@kith/client/session';
import { call, Refusal } from './rpc.ts';

/** The session of this browser, which the console and other pages with `cookieStore` go on with. */
const store = cookieStore();

/** An access token is replaced this long before it expires, milliseconds. */
const MARGIN_MS = 30_000;

const OVER = new Set(['SESSION_ENDED', 'REFRESH_TOKEN_INVALID', 'REFRESH_TOKEN_REUSED']);

interface Tokens {
  readonly accessToken: string;
  /** `300s`. */
  readonly accessTokenLifetime: string;
}

export interface Challenge {
  readonly challengeToken: string;
  readonly step: string;
  readonly methods: readonly string[];
}

/** The answer of Login, LoginWithCode and CompleteLogin. */
interface Outcome {
  readonly signedIn?: { readonly tokens: Tokens };
  readonly challenge?: Challenge;
}

/** Takes a step of a sign-in. Returns the challenge of the next, or undefined once there is a session. Throws Refusal. */
export async function signInStep(
  method: 'Login' | 'LoginWithCode' | 'CompleteLogin',
  message: object,
): Promise<Challenge | undefined> {
  const { signedIn, challenge } = await call<Outcome>(method, message, { withCookie: true });
  if (signedIn === undefined) return challenge ?? unknownStep();
  await store.exclusive(() => keep(signedIn.tokens));
  return undefined;
}

/** Throws for an outcome or a step that is newer than this page. */
export function unknownStep(): never {
  throw new Refusal('CHALLENGE_STEP_WRONG');
}

/** An access token of the session; undefined without one. Throws Refusal. */
export function accessToken(): Promise<string | undefined> {
  return store.exclusive(async () => {
    const stored = await store.load();
    if (stored === undefined) return undefined;
    if (stored.accessToken !== '' && Date.now() < stored.replaceTimeMs) return stored.accessToken;
    try {
      return await keep((await call<{ tokens: Tokens }>('RefreshAccessToken', {}, { withCookie: true })).tokens);
    } catch (error) {
      if (!(error instanceof Refusal) || !OVER.has(error.reason)) throw error;
      await store.save(undefined);
      return undefined;
    }
  });
}

/** Ends the session. Throws Refusal. */
export async function signOut(): Promise<void> {
  const token = await accessToken();
  if (token !== undefined) await call('Logout', {}, { token, withCookie: true });
  await store.exclusive(() => store.save(undefined));
}

async function keep({ accessToken: token, accessTokenLifetime }: Tokens): Promise<string> {
  const lifetimeMs = Number.parseFloat(accessTokenLifetime) * 1000;
  const replaceTimeMs = Date.now() + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 5);
  await store.save({ refreshToken: sessionIdOf(token), accessToken: token, replaceTimeMs });
  return token;
}

/** What an access token says its session is, which the server verifies. */
function sessionIdOf(token: string): string {
  const payload = token.split('.')[1] ?? '';
  const { sid } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as { sid: string };
  return sid;
}
