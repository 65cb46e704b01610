import { ACCESS_TOKEN_TTL_MAX_MS } from '../../../packages/verify/src/access-token.ts';
import { CLOCKS_DIFFER_MS, latestBelievable } from '../../kernel/clock.ts';

/** How long others may keep the public keys, milliseconds. */
export const JWKS_MAX_AGE_MS = 5 * 60 * 1000;

/** How old what an instance knows of the keys may be without its telling others to ask again sooner, milliseconds. */
export const VIEW_AGE_MAX_MS = 10_000;

/**
 * How long a key is published before it signs, milliseconds: as long as somebody
 * may keep what an instance published that did not know of it yet, and as much
 * longer as another instance's clock may be ahead.
 */
export const LEAD_MS = JWKS_MAX_AGE_MS + VIEW_AGE_MAX_MS + CLOCKS_DIFFER_MS;

/**
 * How long a key is kept once the next one signs, milliseconds. By then the last
 * token it signed has expired on every clock.
 */
export const KEEP_MS = ACCESS_TOKEN_TTL_MAX_MS + CLOCKS_DIFFER_MS;

/** What decides when a key is used, all as stored. */
export interface KeyTimes {
  /** When the key was made and published, milliseconds since 1970. */
  readonly create_ms: number;
  /** When it begins to sign; 0 for one that always has. */
  readonly activate_ms: number;
}

export type KeyState = 'pending' | 'active' | 'retired';

export interface Scheduled<K> {
  readonly key: K;
  readonly state: KeyState;
  /** When the key stops signing; undefined while none follows it. */
  readonly retireMs: number | undefined;
  /** When the key is removed; undefined while none follows it. */
  readonly removeMs: number | undefined;
}

/**
 * What each of `keys`, newest first, is used for at a moment. The newest whose
 * time has come is active, and when no clock but this one's says that one's has,
 * the oldest.
 */
export function scheduleOf<K extends KeyTimes>(keys: readonly K[], nowMs: number): Scheduled<K>[] {
  const begun = keys.findIndex(({ activate_ms: activateMs }) => activateMs <= nowMs);
  const active = begun === -1 ? keys.length - 1 : begun;
  return keys.map((key, i) => {
    const retireMs = keys[i - 1]?.activate_ms;
    return {
      key,
      state: i < active ? 'pending' : i === active ? 'active' : 'retired',
      retireMs,
      removeMs: retireMs === undefined ? undefined : retireMs + KEEP_MS,
    };
  });
}

/** Whether a key begins to sign later than one that is made now: it was made before the clock was set back. */
export function isOfFuture({ activate_ms: activateMs }: KeyTimes, nowMs: number): boolean {
  return activateMs > latestBelievable(LEAD_MS, nowMs);
}

/** Whether the next key must be made now, for the newest of `keys` to sign for `periodMs` and no longer. */
export function isRotationDue(keys: readonly KeyTimes[], periodMs: number, nowMs: number): boolean {
  const [newest] = keys;
  return newest === undefined || Math.max(newest.create_ms, newest.activate_ms) + periodMs - LEAD_MS <= nowMs;
}
