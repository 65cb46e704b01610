import { systemClock } from '../../kernel/clock.ts';
import { type Caller, permissionMissing } from '../../kernel/access.ts';
import { Notification } from '../../budget/notification.ts';
import type { App } from '../../app.ts';
import { payerOf } from '../../budget/payer.ts';
import type { WakeQueue } from '../../budget/wake-queue.ts';
import type { Revocation, Revocations } from './revocations.ts';

/** How long a watch says nothing before it says that, and how old what it says may be, milliseconds. */
const HEARTBEAT_MS = 1000;

/** How long a watch waits at least before it looks again, milliseconds. */
const PAUSE_MS = 50;

/** How many revocations a message holds, at some 60 bytes each. */
const MESSAGE_MAX = 10_000;

export interface RevocationWatchApp extends App {
  readonly revocations: Revocations;
  /** Wakes watches a few at a time. */
  readonly wakes: WakeQueue;
  /** How often the caller is asked after when nothing tells of a change, milliseconds. */
  readonly progressMs: number;
  /** The caller as they are now. Throws session_ended, api_key_invalid. */
  readonly renew: (caller: Caller) => Promise<Caller>;
}

export interface RevocationBatch {
  readonly revocations: readonly Revocation[];
  /** Whether something that was committed more than a second ago may be missing. */
  readonly isIncomplete: boolean;
}

/**
 * Sends all revocations that are in force at once, then new ones as they come, and
 * word each second that there were none. Ends when `signal` is aborted.
 *
 * All watchers share what is sent; each remembers how far it has got, so a reader
 * that stands still costs nothing. Those it would miss have expired by then.
 *
 * Throws session_ended, permission_missing, server_unavailable.
 */
export async function* watchRevocations(
  app: RevocationWatchApp,
  caller: Caller,
  signal: AbortSignal,
): AsyncGenerator<RevocationBatch> {
  const { revocations } = app;
  const notification = new Notification(signal, app.wakes, payerOf(caller, ''));
  notification.onAbort(revocations.subscribe(undefined, () => notification.notify()));
  let position = 0;
  let sentMs: number | undefined;
  let checkedMs = systemClock.monotonic();

  while (!signal.aborted) {
    notification.reset();
    await revocations.requireFresh();
    const batch = revocations.after(position, MESSAGE_MAX);
    const isCallerAmongThem = batch.revocations.some(({ user_id }) => user_id === caller.userId);
    // Nothing tells of a session whose time is over.
    if (isCallerAmongThem || systemClock.monotonic() - checkedMs >= app.progressMs) {
      checkedMs = systemClock.monotonic();
      await checkStillAllowed(app, caller);
    }
    position = batch.position;
    const isCurrent = revocations.ageMs <= HEARTBEAT_MS;
    const isDue = isCurrent && sentMs !== undefined && systemClock.monotonic() - sentMs >= HEARTBEAT_MS;
    // While the database does not answer, silence tells the reader that.
    if (batch.revocations.length > 0 || isDue || sentMs === undefined) {
      sentMs = systemClock.monotonic();
      yield { revocations: batch.revocations, isIncomplete: !(batch.isAll && isCurrent) };
    }
    if (batch.isAll) await notification.wait(Math.max(HEARTBEAT_MS - (systemClock.monotonic() - sentMs), PAUSE_MS));
  }
}

async function checkStillAllowed(app: RevocationWatchApp, caller: Caller): Promise<void> {
  const { permissions } = await app.renew(caller);
  if (!permissions.has('revocations.read')) throw permissionMissing('revocations.read');
}
