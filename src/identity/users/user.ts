import { etagOf } from '../../storage/etag.ts';
import type { ShownUserRow, StoredState } from './store.ts';
import { toFields, type UserFields } from './user-fields.ts';

export type UserState = StoredState;

/** A user as the contract shows them; times in milliseconds since 1970. */
export interface User extends UserFields {
  readonly id: string;
  readonly createMs: number;
  readonly updateMs: number;
  readonly deleteMs: number | null;
  readonly purgeMs: number | null;
  /** Null before the first sign-in. Not among what the etag stands for. */
  readonly lastSignInMs: number | null;
  readonly etag: string;
}

export function toUser(row: ShownUserRow): User {
  return {
    ...toFields(row),
    id: row.id,
    createMs: row.create_ms,
    updateMs: row.update_ms,
    deleteMs: row.delete_ms,
    purgeMs: row.purge_ms,
    lastSignInMs: row.last_sign_in_ms,
    etag: etagOf(row),
  };
}
