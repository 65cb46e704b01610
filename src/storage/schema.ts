import type { Generated } from 'kysely';
import type { Role } from '../kernel/access.ts';

/**
 * The tables. Ids are UUIDv7 in lower case, times whole milliseconds since 1970
 * (`_ms`), flags 0 or 1, lists JSON: types that every database has.
 */
export interface Schema {
  users: UserTable;
  user_terms: UserTermTable;
  sessions: SessionTable;
  revocations: RevocationTable;
  throttles: ThrottleTable;
  second_factors: SecondFactorTable;
  recovery_codes: RecoveryCodeTable;
  api_keys: ApiKeyTable;
  signing_keys: SigningKeyTable;
  contacts: ContactTable;
  contact_terms: ContactTermTable;
  user_usage: UserUsageTable;
  requests: RequestTable;
  activity: ActivityTable;
  activity_purged: ActivityPurgedTable;
}

/** The name of every table. */
export const TABLES = Object.keys({
  users: true,
  user_terms: true,
  sessions: true,
  revocations: true,
  throttles: true,
  second_factors: true,
  recovery_codes: true,
  api_keys: true,
  signing_keys: true,
  contacts: true,
  contact_terms: true,
  user_usage: true,
  requests: true,
  activity: true,
  activity_purged: true,
} satisfies Record<keyof Schema, true>);

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
  /** PHC string, or a hash of another system as it was imported. */
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
}

/** What finds a user: see wordTerms. */
export interface UserTermTable {
  term: string;
  user_id: string;
}

export interface SessionTable {
  id: string;
  user_id: string;
  /** The user's session_epoch when the session began. */
  epoch: number;
  /** The counter of the newest refresh token. */
  refresh_counter: number;
  /** When the newest refresh token was given. */
  refresh_ms: number;
  user_agent: string;
  address: string;
  /** What was proved to sign in, as in the claim amr, joined by commas. */
  methods: string;
  create_ms: number;
  /** When the session ends unless refreshed, at most `end_by_ms`. */
  expire_ms: number;
  /** When the session ends in any case. */
  end_by_ms: number;
  /** When the session was ended before its time. */
  end_ms: number | null;
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

/** How often something failed, and until when it is not tried again. */
export interface ThrottleTable {
  /** MAC of what is counted. */
  key: string;
  failures: number;
  until_ms: number;
  /** When nothing of it matters any more. */
  forget_ms: number;
}

/** TOTP of a user. */
export interface SecondFactorTable {
  user_id: string;
  /** Sealed by the keyring. */
  secret_sealed: string;
  /** The time step of the newest code that was accepted: neither it nor an older one is again. */
  last_step: number;
  create_ms: number;
  /** Null while the enrolment waits for its first code. */
  confirm_ms: number | null;
}

export interface RecoveryCodeTable {
  user_id: string;
  /** MAC of user and code. */
  code_mac: string;
}

export interface ApiKeyTable {
  id: string;
  user_id: string;
  name: string;
  /** SHA-256 of the secret, base64url: the secret is random, so nothing slower is needed. */
  secret_hash: string;
  secret_hint: string;
  /** JSON. */
  permissions: string;
  create_ms: number;
  expire_ms: number | null;
  last_used_ms: number | null;
}

export interface SigningKeyTable {
  /** JWK thumbprint (RFC 7638). */
  kid: string;
  /** JWK, JSON. */
  public_key: string;
  /** JWK, JSON, sealed by the keyring. */
  private_key_sealed: string;
  create_ms: number;
  /** When it begins to sign. */
  activate_ms: number;
}

export interface ContactTable {
  id: string;
  owner_id: string;
  /** The folded name that lists are sorted by. */
  sort_key: string;
  given_name: string;
  family_name: string;
  company: string;
  job_title: string;
  emails: string;
  phones: string;
  addresses: string;
  urls: string;
  /** Of YYYY-MM-DD what is known, with - for a year that is not: YYYY, YYYY-MM, --MM or --MM-DD as well. */
  birthday: string | null;
  notes: string;
  starred: 0 | 1;
  deleted: 0 | 1;
  create_ms: number;
  update_ms: number;
  delete_ms: number | null;
  purge_ms: number | null;
  revision: number;
  /** What it takes with its search terms: see bytesOf. 0 while an older version's: terms and usage are not up to date. */
  bytes: number;
}

/** What a user's contacts take together: those whose `bytes` are not 0. */
export interface UserUsageTable {
  user_id: string;
  contacts: number;
  live_contacts: number;
  contact_bytes: number;
}

/** What finds a contact of an owner: see contactTerms. */
export interface ContactTermTable {
  owner_id: string;
  term: string;
  contact_id: string;
}

/** The responses of creates with a request_id, to give them again. */
export interface RequestTable {
  caller_id: string;
  request_id: string;
  method: string;
  /** MAC of the request. */
  fingerprint: string;
  /** The response message in protobuf's binary format, base64. */
  response: string;
  create_ms: number;
}

/** The log. Rows are read in the order of (writer, seq): see Dialect.endOfLog. */
export interface ActivityTable {
  seq: Generated<number>;
  /** The transaction that wrote the row, where transactions run side by side; 0 elsewhere. */
  writer: Generated<number>;
  /** Unique. */
  id: string;
  /** Null for what concerns no user. */
  user_id: string | null;
  actor_id: string | null;
  /** The session or API key of the actor; null when nobody was signed in, and in rows of older versions. */
  actor_session_id: string | null;
  action: string;
  details: string;
  /** JSON. */
  attributes: string;
  /** Whether the user alone may see it. */
  private: 0 | 1;
  event_ms: number;
  record_ms: number;
}

/** One row: up to where the log has been purged. */
export interface ActivityPurgedTable {
  id: 1;
  writer: number;
  seq: number;
  /** What is added to the number of a transaction to give the writer of a row: see Dialect.resumeLog. */
  base: Generated<number>;
}
