import type { Generated } from 'kysely';
import type { Role } from '../kernel/access.ts';

/**
 * The tables. Those that one slice alone uses are declared in its store.ts, which adds them to this interface.
 * Ids are UUIDv7 in lower case, times whole milliseconds since 1970 (`_ms`), flags 0 or 1, lists JSON: types
 * that every database has.
 */
export interface Schema {
  users: UserTable;
  revocations: RevocationTable;
  requests: RequestTable;
}

export interface UserTable {
  id: string;
  username: string;
  /** identifierKey(username); unique. */
  username_key: string;
  email: string;
  /** identifierKey(email); unique. */
  email_key: string;
  name: string;
  role: Role;
  state: 'active' | 'suspended' | 'deleted';
  /** While deleted: the state to come back to. */
  undelete_state: 'active' | 'suspended' | null;
  /** PHC string, or a hash of another system as it was imported; '' for a user without a password. */
  password_hash: string;
  must_change_password: 0 | 1;
  /** Sessions of another epoch are over: one write here ends all of a user's sessions. */
  session_epoch: number;
  last_sign_in_ms: number | null;
  create_ms: number;
  update_ms: number;
  delete_ms: number | null;
  purge_ms: number | null;
  /** Counts the changes of what the contract calls a User. */
  revision: number;
  /** Unique; null for none. */
  external_id: string | null;
  /** JSON objects, '' for none: see patchMetadata. */
  public_metadata: string;
  private_metadata: string;
  /** BCP 47; '' for none. */
  locale: string;
  /** IANA; '' for none. */
  time_zone: string;
  avatar_url: string;
  email_verified_ms: number | null;
  /** searchTerm(name), which lists are sorted by; '' while an older version's. */
  name_key: string;
  /** SEARCH_VERSION of what wrote the search terms and the name_key; less while an older version's. */
  search_version: number;
}

/** What ended or changed while access tokens that say otherwise may be good. */
export interface RevocationTable {
  seq: Generated<number>;
  /** The transaction that wrote the row, where transactions run side by side; 0 elsewhere. */
  writer: Generated<number>;
  /** The session or API key that ended, or null for a user that changed. */
  session_id: string | null;
  user_id: string;
  /** The user's role from now on; null for one who may not sign in, and where a session ended. */
  role: Role | null;
  /** The user's revision with that role; 0 where a session ended. */
  revision: number;
  /** When the last access token that says otherwise has expired. */
  expire_ms: number;
}

/** The responses of creates with a request_id, to give them again. */
interface RequestTable {
  caller_id: string;
  request_id: string;
  method: string;
  /** MAC of the request. */
  fingerprint: string;
  /** The response message in protobuf's binary format, base64. */
  response: string;
  create_ms: number;
}
