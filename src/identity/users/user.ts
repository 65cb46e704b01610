import type { Role } from '../../kernel/access.ts';
import { etagOf } from '../../storage/etag.ts';
import type { ShownUserRow, StoredState } from './store.ts';

export type UserState = StoredState;

/** A user as the contract shows them; times in milliseconds since 1970. */
export interface User {
  readonly id: string;
  readonly username: string;
  readonly email: string;
  readonly name: string;
  readonly role: Role;
  readonly state: UserState;
  readonly createMs: number;
  readonly updateMs: number;
  readonly deleteMs: number | null;
  readonly purgeMs: number | null;
  readonly etag: string;
}

export function toUser(row: ShownUserRow): User {
  return {
    id: row.id,
    username: row.username,
    email: row.email,
    name: row.name,
    role: row.role,
    state: row.state,
    createMs: row.create_ms,
    updateMs: row.update_ms,
    deleteMs: row.delete_ms,
    purgeMs: row.purge_ms,
    etag: etagOf(row),
  };
}
