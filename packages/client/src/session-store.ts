import { pause } from './backoff.ts';

/** What a client keeps of a session, as JSON. All of it is secret. */
export interface StoredSession {
  /** Where a cookie has it (see `SessionStore.headers`), the id of the session, which is no secret. */
  readonly refreshToken: string;
  readonly accessToken: string;
  /** When to replace the access token, some time before it expires, by the clock of this machine: milliseconds since 1970. */
  readonly replaceTimeMs: number;
}

/**
 * Where a session is kept, for all clients that share it: tabs of a browser, processes of a machine. What is loaded is
 * checked by the server alone, so a store need not be trusted, but it must not be read by others.
 */
export interface SessionStore {
  /** The session; undefined when there is none, or what is there is not one. */
  load(): Promise<StoredSession | undefined>;
  /** Replaces the session as a whole, or removes it. Called within `exclusive` alone. */
  save(session: StoredSession | undefined): Promise<void>;
  /** Runs the action while no other client of the same session runs one. Rejects as the action does. */
  exclusive<T>(action: () => Promise<T>): Promise<T>;
  /** What calls that open, refresh or end the session send along. Where there are any, the browser keeps the refresh token. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Calls the listener when another client saves a session, or removes it. */
  onChangedElsewhere?(listener: (session: StoredSession | undefined) => void): void;
}

/** A store for this process alone. Begins with the session of a refresh token, or with none. */
export function memoryStore(refreshToken?: string): SessionStore {
  // An access token that has expired is replaced before it is used.
  let stored = refreshToken === undefined ? undefined : { refreshToken, accessToken: '', replaceTimeMs: 0 };
  return {
    load: async () => stored,
    async save(session) {
      stored = session;
    },
    exclusive: createMutex(),
  };
}

/**
 * A store in `localStorage` or another Web Storage, shared by the tabs of an origin. Scripts of the page can read it. One
 * tab at a time refreshes, by Web Locks (https://www.w3.org/TR/web-locks/); where those are missing, as on pages that came
 * over plain HTTP, each tab may, which does no harm within 30 seconds (RefreshAccessToken).
 */
export function webStorageStore(storage: Storage, key = 'kith.session'): SessionStore {
  const mutex = createMutex();
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  const saves = !isShared(storage) || locks === undefined ? undefined : announceSaves(locks, key);
  const read = () => parseSession(storage.getItem(key));
  return {
    load: async () => (saves === undefined ? read() : saves.readCurrent(read)),
    async save(session) {
      if (session === undefined) storage.removeItem(key);
      else {
        storage.setItem(key, JSON.stringify(session));
        saves?.announce(session);
      }
    },
    exclusive<T>(action: () => Promise<T>): Promise<T> {
      return locks === undefined ? mutex(action) : locks.request(key, action);
    },
  };
}

/** How long a save is announced, how long another tab waits for it at the most, and how often it looks, milliseconds. */
const SAVES = { announcedMs: 10_000, waitMs: 3_000, pollMs: 10 };

/**
 * What a tab writes to its `localStorage` may reach the others after they were granted the lock, since browsers keep a copy
 * for each process. Locks are known to all at once: so a save is announced by one, whose name says which it is.
 */
function announceSaves(locks: LockManager, key: string) {
  const prefix = `${key} saved `;
  const lastSaved = async (): Promise<number> => {
    const { held = [] } = await locks.query();
    const saved = held.filter(({ name }) => name?.startsWith(prefix) === true);
    return Math.max(...saved.map(({ name }) => Number(name!.slice(prefix.length))));
  };
  return {
    announce({ replaceTimeMs }: StoredSession): void {
      // Asked for before the lock of the session is let go.
      void locks.request(`${prefix}${replaceTimeMs}`, { ifAvailable: true }, () => pause(SAVES.announcedMs));
    },
    /** Reads what was saved last; a session that was removed may be told as that. */
    async readCurrent(read: () => StoredSession | undefined): Promise<StoredSession | undefined> {
      const endMs = Date.now() + SAVES.waitMs;
      for (;;) {
        const session = read();
        if (session === undefined || session.replaceTimeMs >= (await lastSaved()) || Date.now() > endMs) return session;
        await pause(SAVES.pollMs);
      }
    },
  };
}

/** Whether the tabs of a browser have the storage in common. Other runtimes have one that warns when it is touched. */
function isShared(storage: Storage): boolean {
  return typeof document !== 'undefined' && storage === globalThis.localStorage;
}

/** The session that a text holds; undefined when it holds none. */
export function parseSession(text: string | null): StoredSession | undefined {
  if (text === null) return undefined;
  try {
    const { refreshToken, accessToken, replaceTimeMs } = JSON.parse(text) as Record<keyof StoredSession, unknown>;
    const isSession =
      typeof refreshToken === 'string' && typeof accessToken === 'string' && typeof replaceTimeMs === 'number';
    return isSession ? { refreshToken, accessToken, replaceTimeMs } : undefined;
  } catch {
    return undefined;
  }
}

/** Runs one action after the other. */
export function createMutex(): <T>(action: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(action: () => Promise<T>): Promise<T> => {
    const result = last.then(action);
    last = result.catch(() => {});
    return result;
  };
}
