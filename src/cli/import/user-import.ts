import { create, fromJson, toBinary } from '@bufbuild/protobuf';
import {
  ImportConflict,
  type ImportedUser,
  ImportedUserSchema,
  ImportStatus,
  type Refusal,
  RefusalSchema,
} from '../../../packages/client/src/contract.ts';
import { errorText, type Kith, KithError, type Reason } from '../../../packages/client/src/index.ts';
import type { Row } from './records.ts';

/** What to do with a user who is there already, and differs from the record. */
export const ON_CONFLICT = ['skip', 'update', 'fail'] as const;
export type OnConflict = (typeof ON_CONFLICT)[number];

/** A record of a file as ImportUsers takes it. */
export interface ImportRecord {
  readonly line: number;
  readonly user: ImportedUser;
}

/** Why a record is not imported. */
export interface RecordRefusal {
  readonly reason?: string;
  readonly field?: string;
  readonly message: string;
}

/** What became of a record. */
export type Outcome = 'created' | 'updated' | 'unchanged' | 'skipped' | RecordRefusal;

/** So many records to a call: what ImportUsers takes, and far fewer bytes than a request may have. */
const RECORDS_MAX = 250;
const BYTES_MAX = 262_144;

/** Where a record is refused for a user who is there already. */
const CONFLICTS: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'USER_DIFFERS',
  'USERNAME_TAKEN',
  'EMAIL_TAKEN',
  'EXTERNAL_ID_TAKEN',
]);

/** A row of a file as a record, or why it is none. */
export function toRecord(row: Row): ImportRecord | { readonly line: number; readonly problem: string } {
  if ('problem' in row) return row;
  try {
    return { line: row.line, user: fromJson(ImportedUserSchema, row.request) };
  } catch (error) {
    return { line: row.line, problem: (error as Error).message };
  }
}

/** The records in groups of one call each, of at most `recordsMax`. */
export async function* batchesOf(
  records: AsyncIterable<ImportRecord>,
  recordsMax = RECORDS_MAX,
): AsyncGenerator<ImportRecord[]> {
  let batch: ImportRecord[] = [];
  let bytes = 0;
  for await (const record of records) {
    const length = toBinary(ImportedUserSchema, record.user).length;
    if (batch.length > 0 && (batch.length >= Math.min(recordsMax, RECORDS_MAX) || bytes + length > BYTES_MAX)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(record);
    bytes += length;
  }
  if (batch.length > 0) yield batch;
}

/** Imports records in one call, and says what became of each. Throws KithError where going on is of no use. */
export async function importRecords(
  kith: Kith,
  records: readonly ImportRecord[],
  onConflict: OnConflict,
): Promise<Outcome[]> {
  try {
    const { results } = await kith.users.import({
      users: records.map(({ user }) => user),
      onConflict: onConflict === 'update' ? ImportConflict.UPDATE : ImportConflict.REFUSE,
    });
    return results.map(({ status, refusal }) => outcomeOf(status, refusal, onConflict));
  } catch (error) {
    // What breaks the rules of requests, such as a text of many kilobytes, refuses the whole call.
    if (!(error instanceof KithError) || !(error.reason === 'FIELDS_INVALID' || error.reason === 'REQUEST_TOO_LARGE')) {
      throw error;
    }
    if (records.length === 1) return [refusalOfCall(error)];
    const half = Math.ceil(records.length / 2);
    const first = await importRecords(kith, records.slice(0, half), onConflict);
    return [...first, ...(await importRecords(kith, records.slice(half), onConflict))];
  }
}

function outcomeOf(status: ImportStatus, refusal: Refusal | undefined, onConflict: OnConflict): Outcome {
  if (status === ImportStatus.CREATED) return 'created';
  if (status === ImportStatus.UPDATED) return 'updated';
  if (status === ImportStatus.SAME) return 'unchanged';
  const { reason, code, metadata, cause } = KithError.ofRefusal(refusal ?? create(RefusalSchema));
  if (onConflict === 'skip' && CONFLICTS.has(reason)) return 'skipped';
  const { field } = metadata;
  return { reason: reason ?? code, ...(field !== undefined && { field }), message: cause.rawMessage };
}

function refusalOfCall(error: KithError): RecordRefusal {
  const [violation] = error.violations;
  const field = violation?.field.replace(/^users\[\d+\]\.?/, '');
  return {
    reason: error.reason ?? error.code,
    ...(field !== undefined && field !== '' && { field }),
    message: violation?.message ?? (error.cause.rawMessage || errorText(error)),
  };
}
