import { createKith, type Kith, KithError, webStorageStore } from '../../packages/client/src/index.ts';

// The script of the pages in client/tabs.long.test.ts: everything here runs in the browser.

let kith: Kith;
/** Why the session ended, each time that was told. */
const ends: (string | undefined)[] = [];
/** What came of the watch: names of contacts, the state, and why it is over. */
const seen: string[] = [];
let state = 'none';
let over: string | undefined;
let leave = (): void => {};

globalThis.tab = {
  /** A client whose session the tabs of this origin share. */
  open(url: string, protocol: 'connect' | 'grpc-web', key?: string) {
    const onSessionEnded = ({ reason }: KithError) => void ends.push(reason);
    kith = createKith({ url, protocol, credentials: { store: webStorageStore(localStorage, key), onSessionEnded } });
  },
  signIn: async (identifier: string, password: string) => (await kith.signIn({ identifier, password })).id,
  /** Calls at once; the names that were answered, or reasons. */
  call: (count: number) =>
    Promise.all(
      Array.from({ length: count }, () =>
        kith.auth.userMe().then(
          ({ user }) => user?.username,
          (error: unknown) => (error as KithError).reason,
        ),
      ),
    ),
  watch(userId: string, from: string) {
    const watched = kith.activity.watch({ userId, from, actionPrefixes: ['kith.contact'] });
    const ended = new AbortController();
    leave = () => ended.abort();
    const run = async () => {
      for await (const event of watched) {
        if (ended.signal.aborted) return;
        if (event.kind === 'state') state = event.state;
        if (event.kind === 'activity') seen.push(event.activity.attributes['contact_id'] ?? event.activity.id);
      }
    };
    run().catch((error: unknown) => (over = error instanceof KithError ? error.reason : String(error)));
    return undefined;
  },
  leave: () => leave(),
  /** Whether this tab holds the connection of a watch. */
  isHolder: () =>
    navigator.locks.request(`probe ${Math.random()}`, async (probe) => {
      const { held = [] } = await navigator.locks.query();
      const { clientId } = held.find(({ name }) => name === probe!.name)!;
      return held.some((lock) => lock.clientId === clientId && lock.name!.startsWith('kith.watch '));
    }),
  create: async (givenName: string) => (await kith.contacts.create({ givenName })).contact.id,
  cursor: async (userId: string) => (await kith.activity.list({ userId, pageSize: 1 }).page()).watchCursor,
  told: () => ({ seen, state, over, ends }),
};

/** What the page can be asked. */
export interface Tab {
  open(url: string, protocol: 'connect' | 'grpc-web', key?: string): void;
  signIn(identifier: string, password: string): Promise<string>;
  call(count: number): Promise<(string | undefined)[]>;
  watch(userId: string, from: string): undefined;
  leave(): void;
  isHolder(): Promise<boolean>;
  create(givenName: string): Promise<string>;
  cursor(userId: string): Promise<string>;
  told(): { seen: string[]; state: string; over: string | undefined; ends: (string | undefined)[] };
}

declare global {
  var tab: Tab;
}
