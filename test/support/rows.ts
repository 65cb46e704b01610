import { randomUUIDv7 } from 'node:crypto';
import type { SessionRow } from '../../src/identity/sessions/store.ts';
import type { UserTable } from '../../src/storage/schema.ts';
import { SEARCH_VERSION, searchTerm } from '../../src/kernel/text.ts';

/** A user as stored, whom nobody made. */
export function userRow(given: Partial<UserTable> = {}): UserTable {
  const id = given.id ?? randomUUIDv7();
  const username = given.username ?? `u${id}`;
  const email = given.email ?? `${username}@example.org`;
  return {
    id,
    username,
    username_key: username.toLowerCase(),
    email,
    email_key: email.toLowerCase(),
    name: username,
    role: 'viewer',
    state: 'active',
    undelete_state: null,
    password_hash: '',
    must_change_password: 0,
    session_epoch: 0,
    last_sign_in_ms: null,
    create_ms: 0,
    update_ms: 0,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
    external_id: null,
    public_metadata: '',
    private_metadata: '',
    locale: '',
    time_zone: '',
    avatar_url: '',
    email_verified_ms: null,
    name_key: searchTerm(given.name ?? username),
    search_version: SEARCH_VERSION,
    ...given,
  };
}

/** What a user as stored had before migration 0009. */
export function userRowBefore0009(given: Partial<UserTable> = {}): UserTable {
  const {
    external_id: _,
    public_metadata: _p,
    private_metadata: _q,
    locale: _l,
    time_zone: _t,
    avatar_url: _a,
    email_verified_ms: _e,
    name_key: _n,
    search_version: _s,
    ...row
  } = userRow(given);
  return row as UserTable;
}

/** A session as stored, of a user. */
export function sessionRow(userId: string, given: Partial<SessionRow> = {}): SessionRow {
  return {
    id: randomUUIDv7(),
    user_id: userId,
    epoch: 0,
    refresh_counter: 0,
    refresh_ms: 0,
    user_agent: '',
    address: '',
    methods: 'pwd',
    create_ms: 0,
    expire_ms: 0,
    end_by_ms: 0,
    end_ms: null,
    ...given,
  };
}
