import { Failure } from '../kernel/failure.ts';
import type { Keyring } from '../kernel/keyring.ts';
import type { Db } from './database.ts';
import { TransactionConflict, UniqueViolation } from './dialect.ts';
import type { Schema } from './schema.ts';

/** How long the answer to a request id is kept, milliseconds. */
export const REQUEST_TTL_MS = 24 * 60 * 60 * 1000;

/** A create that its caller may send again. */
export interface IdempotentRequest {
  readonly callerId: string;
  /** Empty: not to be remembered. */
  readonly requestId: string;
  readonly method: string;
  /**
   * What was asked for: plain data, the same keys in the same order each time. What is
   * empty ('', false, null, undefined, an empty list or object) is as good as absent, so
   * that a version which knows a field more takes the same request for the same.
   */
  readonly input: unknown;
}

/** An answer as it was stored, perhaps by a version that knew fewer fields of it. */
export type Stored<T> = T extends readonly (infer Item)[] ? readonly Partial<Item>[] : Partial<T>;

/**
 * Runs `create` and remembers its answer, or gives the answer of the first time
 * (AIP-155). Call it inside the transaction that creates. The answer is plain
 * data; `complete` gives a stored one the fields it was stored without. Only a MAC of
 * the request is kept: it may hold a password.
 *
 * Throws request_id_reused when the id came with another request before.
 */
export async function runIdempotently<T>(
  tx: Db,
  { keyring, now }: { keyring: Keyring; now: () => number },
  request: IdempotentRequest,
  create: () => Promise<T>,
  complete: (stored: Stored<T>) => T,
): Promise<T> {
  if (request.requestId === '') return create();
  const key = { caller_id: request.callerId, request_id: request.requestId };
  const fingerprint = keyring
    .mac('request-fingerprint', JSON.stringify([request.method, request.input], withoutEmpty))
    .toString('base64url');
  const earlier = await tx
    .selectFrom('requests')
    .select(['fingerprint', 'answer'])
    .where('caller_id', '=', key.caller_id)
    .where('request_id', '=', key.request_id)
    .executeTakeFirst();
  if (earlier !== undefined) {
    if (earlier.fingerprint === fingerprint) return complete(JSON.parse(earlier.answer) as Stored<T>);
    throw new Failure('request_id_reused', 'request_id was used before for another request: make a new one');
  }
  const answer = await create();
  await remember(tx, {
    ...key,
    method: request.method,
    fingerprint,
    answer: JSON.stringify(answer),
    create_ms: now(),
  });
  return answer;
}

/** Leaves out the fields that are empty; JSON.stringify calls it with the object or list that holds the value. */
function withoutEmpty(this: unknown, _: string, value: unknown): unknown {
  return !Array.isArray(this) && isEmpty(value) ? undefined : value;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === false || value === null;
}

async function remember(tx: Db, row: Schema['requests']): Promise<void> {
  try {
    await tx.insertInto('requests').values(row).execute();
  } catch (error) {
    // The same request is answered by another transaction: a second attempt finds its answer.
    throw error instanceof UniqueViolation ? new TransactionConflict('answered meanwhile', { cause: error }) : error;
  }
}

/** Forgets up to `limit` answers whose time is over; how many there were. */
export async function purgeResponses(db: Db, nowMs: number, limit: number): Promise<number> {
  const old = db
    .selectFrom('requests')
    .select(['caller_id', 'request_id'])
    .where('create_ms', '<=', nowMs - REQUEST_TTL_MS)
    .orderBy('create_ms')
    .limit(limit);
  const rows = await old.execute();
  for (const { caller_id, request_id } of rows) {
    await db.deleteFrom('requests').where('caller_id', '=', caller_id).where('request_id', '=', request_id).execute();
  }
  return rows.length;
}
