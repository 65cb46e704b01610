import type { Selectable } from 'kysely';
import type { Db, NewRevocation } from '../../storage/database.ts';
import type { Dialect } from '../../storage/dialect.ts';
import type { RevocationTable } from '../../storage/schema.ts';

type RevocationRow = Selectable<RevocationTable>;

/** Up to where revocations have been read. */
export interface ReadPosition {
  /** The highest number that was read. */
  readonly seq: number;
  /** The transactions before this one are over, and all that they revoked was read. */
  readonly horizon: number;
}

export async function insertRevocations(tx: Db, rows: readonly NewRevocation[]): Promise<void> {
  await tx.insertInto('revocations').values(rows).execute();
}

/**
 * The revocations that may be new since a position, among them some that were
 * read before; without a position, all that are in force.
 *
 * Where transactions run side by side, numbers become visible out of order, so
 * those of transactions that were not over are read again. Numbers above the
 * highest are read for a server that crashed: it may give the numbers of
 * transactions again that left no trace on its disk.
 */
export async function selectRevocations(
  db: Db,
  { horizon }: Pick<Dialect, 'horizon'>,
  after: ReadPosition | undefined,
  nowMs: number,
): Promise<{ rows: RevocationRow[]; position: ReadPosition }> {
  // In one statement, and so at one moment: what is over by then, the rows show.
  const found = await db
    .selectFrom(db.selectNoFrom(horizon.as('horizon')).as('present'))
    .leftJoin('revocations', (join) =>
      after === undefined
        ? join.on('expire_ms', '>', nowMs)
        : join.on(({ eb, or }) => or([eb('seq', '>', after.seq), eb('writer', '>=', after.horizon)])),
    )
    .select('horizon')
    .selectAll('revocations')
    .orderBy('seq')
    .execute();
  const rows = found.filter((row): row is typeof row & RevocationRow => row.seq !== null);
  return { rows, position: { seq: Math.max(rows.at(-1)?.seq ?? 0, after?.seq ?? 0), horizon: found[0]!.horizon } };
}

/** Removes up to `limit` revocations that are in force no more; how many there were. */
export async function deleteExpiredRevocations(db: Db, nowMs: number, limit: number): Promise<number> {
  const expired = db.selectFrom('revocations').select('seq').where('expire_ms', '<=', nowMs).limit(limit);
  const { numDeletedRows } = await db.deleteFrom('revocations').where('seq', 'in', expired).executeTakeFirst();
  return Number(numDeletedRows);
}
