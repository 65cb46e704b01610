import type { Config } from '../config/config.ts';
import type { PhotosApp } from '../contacts/photos.ts';
import { PhotoMaker } from '../contacts/photos/photo-maker.ts';
import { createPasswords, type PasswordCost } from '../identity/passwords/passwords.ts';
import { hasSigningKeys } from '../identity/tokens/signing-keys.ts';
import { Background } from '../kernel/background.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { loadSecretKey } from '../kernel/secret-key.ts';
import { openDatabase } from '../storage/database.ts';
import type { Tracing } from '../tracing/tracing.ts';

export interface StoreOptions {
  /** Called with what background work failed by. */
  readonly onBackgroundError: (error: unknown) => void;
  /** Default: the clock of the machine. */
  readonly clock?: Clock | undefined;
  /** What hashes of passwords cost: less in tests of other things. */
  readonly passwordCost?: PasswordCost | undefined;
  readonly tracing?: Tracing | undefined;
}

/**
 * Opens the database, and what every slice needs besides: enough to read and write what is stored. Nothing runs by
 * itself. Throws DatabaseError and SecretKeyError; the database is closed then.
 */
export async function openStore(config: Config, options: StoreOptions): Promise<PhotosApp & AsyncDisposable> {
  const { onBackgroundError, clock = systemClock, passwordCost: cost, tracing } = options;
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await openDatabase(config.databaseUrl, config.databaseLimits, tracing));
  const secretKey =
    config.secretKey ?? loadSecretKey(database.dialect.fileBeside('.key'), !(await hasSigningKeys(database.db)));
  const background = opened.use(new Background(onBackgroundError));
  const passwords = createPasswords({ workers: config.workers, cost, tracing });
  const photoMaker = opened.use(new PhotoMaker());
  const running = opened.move();
  return {
    ...clock,
    database,
    keyring: createKeyring(secretKey),
    passwords,
    background,
    purgeAfterMs: config.purgeAfterMs,
    accessTokenTtlMs: config.accessTokenTtlMs,
    activityRetentionMs: config.activityRetentionMs,
    contacts: config.contacts,
    photoMaker,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
