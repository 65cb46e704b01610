import { Failure } from '../kernel/failure.ts';
import type { Keyring } from '../kernel/keyring.ts';
import type { Db } from './database.ts';
import { TransactionConflict, UniqueViolation } from './dialect.ts';
import { prepared, preparedPost } from './prepared.ts';
import type { Schema } from './schema.ts';

/** How long the response to a request id is kept, milliseconds. */
export const REQUEST_TTL_MS = 24 * 60 * 60 * 1000;

/** A create that its caller may send again. */
export interface IdempotentRequest {
  readonly callerId: string;
  /** Empty if the response is not to be stored. */
  readonly requestId: string;
  /**
   * The request as plain data, with the same keys in the same order each time. An empty
   * value ('', false, null, undefined, an empty list or object) is the same as an absent
   * one, so that a version with one more field takes the same request for the same.
   */
  readonly input: unknown;
}

/**
 * How a method makes its response of what was created, and how the response is stored. What was
 * stored by a version that knew fewer fields decodes to a response that lacks them.
 */
export interface ResponseFormat<Created, Response> {
  /** The name of the method. */
  readonly method: string;
  toResponse(created: Created): Response;
  encode(response: Response): Uint8Array;
  decode(bytes: Uint8Array): Response;
}

/**
 * Runs `create` and stores the response, or returns the response that was stored the
 * first time (AIP-155). Call it inside the transaction that creates. Of the request only
 * a MAC is stored, since it may hold a password.
 *
 * Throws request_id_reused if the request id came with another request before.
 */
export async function runIdempotently<Created, Response>(
  tx: Db,
  { keyring, now }: { keyring: Keyring; now: () => number },
  { callerId, requestId, input }: IdempotentRequest,
  format: ResponseFormat<Created, Response>,
  create: () => Promise<Created>,
): Promise<Response> {
  if (requestId === '') return format.toResponse(await create());
  const key = { caller_id: callerId, request_id: requestId };
  const fingerprint = keyring
    .mac('request-fingerprint', JSON.stringify([format.method, input], withoutEmpty))
    .toString('base64url');
  const earlier = await selectResponse(tx, callerId, requestId);
  if (earlier !== undefined) {
    if (earlier.fingerprint === fingerprint) return format.decode(Buffer.from(earlier.response, 'base64'));
    throw new Failure('request_id_reused', 'request_id was used before for another request: make a new one');
  }
  const response = format.toResponse(await create());
  await store(tx, {
    ...key,
    method: format.method,
    fingerprint,
    response: Buffer.from(format.encode(response)).toString('base64'),
    create_ms: now(),
  });
  return response;
}

/** Leaves out the fields that are empty; JSON.stringify calls it with the object or list that holds the value. */
function withoutEmpty(this: unknown, _: string, value: unknown): unknown {
  return !Array.isArray(this) && isEmpty(value) ? undefined : value;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === false || value === null;
}

const selectResponse = prepared((db, callerId: string, requestId: string) =>
  db
    .selectFrom('requests')
    .select(['fingerprint', 'response'])
    .where('caller_id', '=', callerId)
    .where('request_id', '=', requestId),
);

const postResponse = preparedPost<Schema['requests']>((tx, row) => tx.insertInto('requests').values(row));

async function store(tx: Db, row: Schema['requests']): Promise<void> {
  try {
    await postResponse(tx, row);
  } catch (error) {
    // Another transaction ran the same request meanwhile: the next attempt finds its response.
    throw error instanceof UniqueViolation ? new TransactionConflict('answered meanwhile', { cause: error }) : error;
  }
}

/** Removes up to `limit` responses to a caller. Returns how many it removed. */
export async function removeResponsesTo(db: Db, callerId: string, limit: number): Promise<number> {
  const some = db.selectFrom('requests').select('request_id').where('caller_id', '=', callerId).limit(limit);
  const { numDeletedRows } = await db
    .deleteFrom('requests')
    .where('caller_id', '=', callerId)
    .where('request_id', 'in', some)
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** Removes up to `limit` responses whose time is over. Returns how many it removed. */
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
