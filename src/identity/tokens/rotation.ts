import type { Caller } from '../../kernel/access.ts';
import { recordActivity } from '../../activity/log/log.ts';
import type { App } from '../../app.ts';
import { isOfFuture, type Scheduled, scheduleOf } from './key-schedule.ts';
import { insertNextKey, makeSigningKey, SIGNING_KEYS_TURN, type SigningKeys } from './signing-keys.ts';
import { deleteAllSigningKeys, insertSigningKey, type SigningKeyRow, selectSigningKeys } from './store.ts';

export interface SigningKeysApp extends Pick<App, 'database' | 'keyring' | 'now'> {
  readonly signingKeys: SigningKeys;
}

export type ScheduledKey = Scheduled<Omit<SigningKeyRow, 'private_key_sealed'>>;

/** All keys that are published, newest first. */
export async function listSigningKeys(app: Pick<App, 'database' | 'now'>): Promise<ScheduledKey[]> {
  return scheduleOf(await selectSigningKeys(app.database.db), app.now());
}

/**
 * Makes the key that follows, or answers the one that waits for its turn.
 *
 * When the present keys are `compromised`, the new one signs at once and all
 * others are gone, with every access token they signed: here before this answers,
 * on other instances when they have read the keys.
 */
export async function rotateSigningKey(
  app: SigningKeysApp,
  caller: Caller,
  compromised: boolean,
): Promise<ScheduledKey> {
  const pair = await makeSigningKey(app.keyring);
  const rotated = await app.database.transaction<ScheduledKey>(async (tx) => {
    const nowMs = app.now();
    const present = scheduleOf(await selectSigningKeys(tx), nowMs);
    const pending = present.find(({ key, state }) => state === 'pending' && !isOfFuture(key, nowMs));
    if (pending !== undefined && !compromised) return pending;
    if (compromised) await deleteAllSigningKeys(tx);
    const key = compromised
      ? await insertSigningKey(tx, { ...pair, create_ms: nowMs, activate_ms: nowMs })
      : await insertNextKey(tx, pair, nowMs);
    await recordActivity(tx, app, {
      userId: caller.userId,
      by: caller,
      action: 'kith.signing_key.rotated',
      attributes: { kid: key.kid, compromised: String(compromised) },
    });
    return { key, state: compromised ? 'active' : 'pending', retireMs: undefined, removeMs: undefined };
  }, SIGNING_KEYS_TURN);
  await app.signingKeys.reload();
  return rotated;
}
