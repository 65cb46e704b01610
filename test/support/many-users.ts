import { randomUUIDv7 } from 'node:crypto';
import { openDatabase } from '../../src/storage/database.ts';
import { identifierKey, SEARCH_VERSION, searchTerm, wordTerms } from '../../src/kernel/text.ts';
import { metadataTerms } from '../../src/identity/users/metadata.ts';
import type { UserRow } from '../../src/identity/users/store.ts';

/** So many rows to a statement: well within the parameters that a database takes. */
const ROWS_AT_ONCE = 500;

/** What differs from a viewer called "User n", active, whose password nobody has. */
export type UserOverrides = Partial<
  Pick<UserRow, 'name' | 'username' | 'email' | 'role' | 'state' | 'create_ms' | 'last_sign_in_ms' | 'public_metadata'>
>;

/**
 * Stores users as the service would, with their search terms, in one
 * transaction; the n-th is what `describe(n)` says. Gives their ids, oldest first.
 */
export async function insertManyUsers(
  databaseUrl: string,
  count: number,
  describe: (n: number) => UserOverrides = () => ({}),
): Promise<string[]> {
  await using database = await openDatabase(databaseUrl);
  const nowMs = Date.now();
  // Those of one millisecond are in no order.
  const ids = Array.from({ length: count }, () => randomUUIDv7()).toSorted();
  const users = ids.map((id, n) => userRow(id, n, nowMs, describe(n)));
  const terms = users.flatMap((user) => termRows(user));
  await database.transaction(async (tx) => {
    for (const rows of chunksOf(users)) await tx.insertInto('users').values(rows).execute();
    for (const rows of chunksOf(terms)) await tx.insertInto('user_terms').values(rows).execute();
  });
  return ids;
}

function userRow(id: string, n: number, nowMs: number, overrides: UserOverrides): UserRow {
  const { username = `many-${n}`, email = `many-${n}@example.org`, state = 'active' } = overrides;
  const isDeleted = state === 'deleted';
  return {
    id,
    username,
    username_key: identifierKey(username),
    email,
    email_key: identifierKey(email),
    name: `User ${n}`,
    role: 'viewer',
    ...overrides,
    state,
    undelete_state: isDeleted ? 'active' : null,
    password_hash: '$argon2id$v=19$m=19456,t=2,p=1$$',
    must_change_password: 0,
    session_epoch: 0,
    last_sign_in_ms: overrides.last_sign_in_ms ?? null,
    create_ms: overrides.create_ms ?? nowMs,
    update_ms: nowMs,
    delete_ms: isDeleted ? nowMs : null,
    purge_ms: isDeleted ? nowMs + 30 * 24 * 60 * 60 * 1000 : null,
    revision: 1,
    external_id: null,
    public_metadata: overrides.public_metadata ?? '',
    private_metadata: '',
    locale: '',
    time_zone: '',
    avatar_url: '',
    email_verified_ms: null,
    name_key: searchTerm(overrides.name ?? `User ${n}`),
    search_version: SEARCH_VERSION,
  };
}

function termRows({ id, name, username, email, public_metadata }: UserRow): { term: string; user_id: string }[] {
  const metadata = metadataTerms('public_metadata', public_metadata);
  const terms = new Set([...wordTerms(name), searchTerm(username), searchTerm(email), ...metadata]);
  return [...terms].map((term) => ({ term, user_id: id }));
}

function* chunksOf<T>(rows: readonly T[]): Iterable<T[]> {
  for (let start = 0; start < rows.length; start += ROWS_AT_ONCE) yield rows.slice(start, start + ROWS_AT_ONCE);
}
