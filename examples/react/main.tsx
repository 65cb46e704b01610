/** An address book with React: queries and mutations of connect-query over the transport of @kith/client. */
import {
  createConnectQueryKey,
  TransportProvider,
  useInfiniteQuery,
  useMutation,
  useTransport,
} from '@connectrpc/connect-query';
import { createKith, errorText, KithError, webStorageStore } from '@kith/client';
import { ContactService } from '@kith/client/contacts';
import { QueryClient, QueryClientProvider, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { createRoot } from 'react-dom/client';

const kith = createKith({
  url: 'http://localhost:8080',
  credentials: { store: webStorageStore(sessionStorage), onSessionEnded: () => location.reload() },
});
// @kith/client repeats what may be repeated.
const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });

const { listContacts, createContact } = ContactService.method;

function App() {
  const [isSignedIn, setSignedIn] = useState(false);
  return isSignedIn ? <Contacts /> : <SignIn onSignedIn={() => setSignedIn(true)} />;
}

function SignIn({ onSignedIn }: { onSignedIn: () => void }) {
  const [error, setError] = useState<unknown>();
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    try {
      await kith.signIn({
        identifier: fieldOf(event.currentTarget, 'identifier'),
        password: fieldOf(event.currentTarget, 'password'),
      });
      onSignedIn();
    } catch (thrown) {
      setError(thrown);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <input name="identifier" autoComplete="username" />
      <input name="password" type="password" autoComplete="current-password" />
      <button type="submit">Sign in</button>
      <Refusal error={error} />
    </form>
  );
}

function Contacts() {
  const client = useQueryClient();
  const transport = useTransport();
  const contacts = useInfiniteQuery(
    listContacts,
    { pageToken: '', pageSize: 2 },
    { pageParamKey: 'pageToken', getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const created = useMutation(createContact, {
    onSuccess: () =>
      client.invalidateQueries({
        queryKey: createConnectQueryKey({ schema: listContacts, transport, cardinality: 'infinite' }),
      }),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const address = fieldOf(event.currentTarget, 'address');
    created.mutate({ givenName: address.split('@')[0], emails: [{ address }] });
  };
  return (
    <>
      <ul>
        {contacts.data?.pages
          .flatMap((page) => page.contacts)
          .map(({ id, givenName }) => (
            <li key={id}>{givenName}</li>
          ))}
      </ul>
      {contacts.hasNextPage && <button onClick={() => contacts.fetchNextPage()}>More</button>}
      <form onSubmit={submit}>
        <input name="address" />
        <button type="submit">Add</button>
      </form>
      <Refusal error={contacts.error ?? created.error} />
    </>
  );
}

function Refusal({ error }: { error: unknown }) {
  return error ? <output>{errorText(KithError.from(error))}</output> : null;
}

function fieldOf(form: HTMLFormElement, name: string): string {
  const value = new FormData(form).get(name);
  return typeof value === 'string' ? value : '';
}

const root = document.querySelector('#root');
if (root === null) throw new Error('the page has no #root');
createRoot(root).render(
  <TransportProvider transport={kith.transport}>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </TransportProvider>,
);
