import { Failure } from '../kernel/failure.ts';

interface Versioned {
  readonly revision: number;
  readonly update_ms: number;
}

/** Changes with every change of a row. The time is part of it so that a restored backup repeats no etag. */
export function etagOf(row: Versioned): string {
  return `${row.revision.toString(36)}-${row.update_ms.toString(36)}`;
}

/** Throws etag_mismatch unless the row still has the etag; undefined fits every row. */
export function checkEtag(row: Versioned, etag: string | undefined): void {
  if (etag !== undefined && etag !== etagOf(row)) {
    throw new Failure('etag_mismatch', 'changed since this etag was read: read it again, then decide');
  }
}
