import { pause } from './backoff.ts';
import { createMutex, type SessionStore, type StoredSession } from './session-store.ts';

/** What tabs tell each other. `session`: absent when it is over. */
type Message =
  | { readonly kind: 'saved'; readonly session?: StoredSession | undefined }
  | { readonly kind: 'given'; readonly session: StoredSession }
  | { readonly kind: 'wanted'; readonly sessionId: string };

/** How long a tab waits for what another one has, milliseconds. A tab that is asleep does not answer. */
const ANSWER_MS = 150;

/**
 * A store for pages of Kith's own origin: the refresh token is in a cookie that no script can read, and the access token in
 * the memory of the tabs, which give it to each other. `localStorage` has the id of the session alone, so that a tab knows
 * whether there is one. One tab at a time refreshes, by Web Locks; where those are missing, as on pages that came over plain
 * HTTP from another machine, each tab may, which does no harm.
 *
 * Pages of other origins are refused with COOKIE_REFUSED: they use `webStorageStore`.
 */
export function cookieStore(key = 'kith.session'): SessionStore {
  const mutex = createMutex();
  const locks = navigator.locks as LockManager | undefined;
  const tabs = new BroadcastChannel(key);
  const listeners = new Set<(session: StoredSession | undefined) => void>();
  const arrivals = new Set<() => void>();
  let current: StoredSession | undefined;

  const adopt = (session: StoredSession | undefined) => {
    current = session;
    for (const arrived of arrivals) arrived();
  };
  tabs.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    if (data.kind === 'saved') {
      adopt(data.session);
      for (const listener of listeners) listener(data.session);
    } else if (data.kind === 'given') {
      if (localStorage.getItem(key) === data.session.refreshToken) adopt(data.session);
    } else if (current !== undefined && current.refreshToken === data.sessionId && isFresh(current)) {
      tell({ kind: 'given', session: current });
    }
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is of one origin
  const tell = (message: Message) => tabs.postMessage(message);
  // Held as long as the tab is open, so that others know whether there is anybody to ask.
  void locks?.request(`${key} tab`, { mode: 'shared' }, () => new Promise(() => {}));

  const hasOtherTabs = async () => {
    if (locks === undefined) return true;
    const { held = [] } = await locks.query();
    return held.filter(({ name }) => name === `${key} tab`).length > 1;
  };
  const askOtherTabs = async (sessionId: string) => {
    if (!(await hasOtherTabs())) return;
    const asked = new AbortController();
    const arrived = () => asked.abort();
    arrivals.add(arrived);
    tell({ kind: 'wanted', sessionId });
    await pause(ANSWER_MS, asked.signal).catch(() => {}); // ended by an answer
    arrivals.delete(arrived);
  };

  return {
    headers: { 'x-kith-session': 'cookie' },
    async load() {
      const sessionId = localStorage.getItem(key) ?? undefined;
      if (sessionId === undefined) return (current = undefined);
      if (current?.refreshToken !== sessionId || !isFresh(current)) await askOtherTabs(sessionId);
      return current?.refreshToken === sessionId
        ? current
        : { refreshToken: sessionId, accessToken: '', replaceTimeMs: 0 };
    },
    async save(session) {
      current = session;
      if (session === undefined) localStorage.removeItem(key);
      else localStorage.setItem(key, session.refreshToken);
      tell({ kind: 'saved', session });
    },
    exclusive<T>(action: () => Promise<T>): Promise<T> {
      return locks === undefined ? mutex(action) : locks.request(key, action);
    },
    onChangedElsewhere(listener) {
      listeners.add(listener);
    },
  };
}

function isFresh({ accessToken, replaceTimeMs }: StoredSession): boolean {
  return accessToken !== '' && Date.now() < replaceTimeMs;
}
