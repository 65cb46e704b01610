import './base.css';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { cookieStore, KithError, Session } from '@kith/client/session';
import { applyPreferences } from './preferences.ts';

/** What the page says after it has been loaded again. */
const NOTICE = 'kith.notice';

applyPreferences();
const transport = createGrpcWebTransport({ baseUrl: location.origin });
let isStarted = false;
/** Whether the session that the page began with was over. */
let hasEnded = false;
const session = new Session({
  transport,
  store: cookieStore(),
  onSessionEnded() {
    if (isStarted) begin('ended');
    else hasEnded = true;
  },
  onChangedElsewhere: (isSignedIn) => begin(isSignedIn ? undefined : 'signed-out'),
});
await start();

/** Shows the sign-in page, or the console where there is a session that goes on. */
async function start(): Promise<void> {
  const notice = sessionStorage.getItem(NOTICE) ?? undefined;
  sessionStorage.removeItem(NOTICE);
  let error: KithError | undefined;
  const isSignedIn = await session.token().then(
    (token) => token !== undefined,
    (thrown: unknown) => {
      error = KithError.from(thrown);
      return false;
    },
  );
  isStarted = true;
  if (isSignedIn) return open();
  const { showSignIn } = await import('./sign-in/sign-in.ts');
  await showSignIn(hasEnded ? { session, notice: 'ended', error: undefined } : { session, notice, error });
  await open();
}

async function open(): Promise<void> {
  const { startApp } = await import('./app/start.tsx');
  await startApp({ session, transport, onSignedOut: () => begin('signed-out') });
}

/** Begins anew, with nothing of the session before in memory. */
function begin(notice: 'ended' | 'signed-out' | undefined): void {
  if (!isStarted) return;
  if (notice !== undefined) sessionStorage.setItem(NOTICE, notice);
  location.reload();
}
