import { Failure } from '../failure.ts';
import type { Keyring } from '../keyring.ts';
import type { Db } from './database.ts';
import { TransactionConflict, UniqueViolation } from './dialect.ts';
import type { Schema } from './schema.ts';

/** How long the answer to a request id is kept, milliseconds. */
export const REQUEST_TTL_MS = 24 * 60 * 60 * 1000;

/** A create that its caller may send again. */
export interface OnceRequest {
  readonly callerId: string;
  /** Empty: not to be remembered. */
  readonly requestId: string;
  readonly method: string;
  /** What was asked for: plain data, the same keys in the same order each time. */
  readonly input: unknown;
}

/**
 * Runs `create` and remembers its answer, or gives the answer of the first time
 * (AIP-155). Call it inside the transaction that creates. The answer is plain
 * data. Only a MAC of the request is kept: it may hold a password.
 *
 * Throws request_id_reused when the id came with another request before.
 */
export async function answerOnce<T>(
  tx: Db,
  { keyring, now }: { keyring: Keyring; now: () => number },
  request: OnceRequest,
  create: () => Promise<T>,
): Promise<T> {
  if (request.requestId === '') return create();
  const key = { caller_id: request.callerId, request_id: request.requestId };
  const fingerprint = keyring
    .mac('request-fingerprint', JSON.stringify([request.method, request.input]))
    .toString('base64url');
  const earlier = await tx
    .selectFrom('requests')
    .select(['fingerprint', 'answer'])
    .where('caller_id', '=', key.caller_id)
    .where('request_id', '=', key.request_id)
    .executeTakeFirst();
  if (earlier !== undefined) {
    if (earlier.fingerprint === fingerprint) return JSON.parse(earlier.answer) as T;
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

async function remember(tx: Db, row: Schema['requests']): Promise<void> {
  try {
    await tx.insertInto('requests').values(row).execute();
  } catch (error) {
    // The same request is answered by another transaction: a second attempt finds its answer.
    throw error instanceof UniqueViolation ? new TransactionConflict('answered meanwhile', { cause: error }) : error;
  }
}

/** Forgets up to `limit` answers whose time is over; how many there were. */
export async function purgeAnswers(db: Db, nowMs: number, limit: number): Promise<number> {
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
