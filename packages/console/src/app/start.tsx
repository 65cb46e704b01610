import './app.css';
import type { Transport } from '@connectrpc/connect';
import { AuthService } from '@kith/client/auth';
import { createCalls, KithError } from '@kith/client/calls';
import type { Session } from '@kith/client/session';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createRoot } from 'react-dom/client';
import { ConsoleContext } from './context.tsx';
import { describeFailure } from './failures.ts';
import { Shell } from './shell.tsx';
import { t } from './texts.ts';

export interface AppOptions {
  readonly session: Session;
  readonly transport: Transport;
  readonly onSignedOut: () => void;
}

/** Shows the console of whoever is signed in. */
export async function startApp({ session, transport, onSignedOut }: AppOptions): Promise<void> {
  const calls = createCalls(transport, { credentials: { session } });
  const queries = new QueryClient({
    defaultOptions: {
      // The client repeats what can be repeated.
      queries: { retry: false, staleTime: 5_000 },
      mutations: { retry: false },
    },
  });
  const root = createRoot(document.getElementById('root')!);
  try {
    const { user, permissions } = await calls.of(AuthService, 'Auth').userMe();
    const signedIn = {
      calls,
      user: user!,
      permissions: new Set(permissions),
      signOut: () =>
        void calls
          .signOut()
          .catch(() => {})
          .finally(onSignedOut), // it is forgotten here in any case
    };
    root.render(
      <QueryClientProvider client={queries}>
        <ConsoleContext value={signedIn}>
          <Shell />
        </ConsoleContext>
      </QueryClientProvider>,
    );
  } catch (thrown) {
    root.render(
      <main className="lonely">
        <h1>{t.failed}</h1>
        <p>{describeFailure(KithError.from(thrown))}</p>
        <button type="button" className="button primary" onClick={() => location.reload()}>
          {t.tryAgain}
        </button>
      </main>,
    );
  }
}
