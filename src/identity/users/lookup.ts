import { setImmediate } from 'node:timers/promises';
import type { App } from '../../app.ts';
import type { Caller } from '../../kernel/access.ts';
import { identifierKey } from '../../kernel/text.ts';
import type { Db } from '../../storage/database.ts';
import { PAGE_TEXT_MAX, textOf } from '../../storage/pages.ts';
import { selectUser, selectUsersBy, type ShownUserRow } from './store.ts';
import { toUser, type User } from './user.ts';

/** What is known of a user. */
export interface UserKey {
  readonly kind: 'id' | 'username' | 'email' | 'external_id';
  readonly value: string;
}

/** The answer to one key: the user, none whom the caller may read, or no room for the user in this answer. */
export type UserLookup =
  | { readonly status: 'found'; readonly user: User }
  | { readonly status: 'not_found' | 'left_out' };

const NOT_FOUND: UserLookup = { status: 'not_found' };

/** How many keys are looked up at a time: users with all the metadata that they may have take memory. */
const STEP_KEYS = 50;

/** More keys may take long to look up: see Database.longReads. */
const LONG_MIN = 100;

/**
 * Looks up users, deleted or not, in the order of the keys. Callers who may not read every user find themselves alone,
 * and nothing is looked up for them that would take another time for a user who exists. Users beyond what an answer
 * holds are left out.
 */
export async function lookupUsers(app: App, caller: Caller, keys: readonly UserKey[]): Promise<UserLookup[]> {
  const { db, longReads } = app.database;
  if (!caller.permissions.has('users.read')) {
    const self = caller.kind === 'session' ? await selectUser(db, caller.userId) : undefined;
    return keys.map((key) =>
      self !== undefined && keyOf(self, key.kind) === comparable(key)
        ? { status: 'found', user: toUser(self) }
        : NOT_FOUND,
    );
  }
  const from = keys.length > LONG_MIN ? longReads : db;
  const lookups: UserLookup[] = [];
  let text = 0;
  for (let start = 0; start < keys.length; start += STEP_KEYS) {
    const step = keys.slice(start, start + STEP_KEYS);
    if (text > PAGE_TEXT_MAX) {
      lookups.push(...step.map((): UserLookup => ({ status: 'left_out' })));
      continue;
    }
    if (start > 0) await setImmediate();
    const find = await findRows(from, step);
    for (const key of step) {
      const row = find(key);
      if (row === undefined || (row.purge_ms !== null && row.purge_ms <= app.now())) lookups.push(NOT_FOUND);
      else if (text > PAGE_TEXT_MAX) lookups.push({ status: 'left_out' });
      else {
        text += textOf(row);
        lookups.push({ status: 'found', user: toUser(row) });
      }
    }
  }
  return lookups;
}

/** Reads the users of some keys: one statement for each kind of key. */
async function findRows(db: Db, keys: readonly UserKey[]): Promise<(key: UserKey) => ShownUserRow | undefined> {
  const found = new Map<UserKey['kind'], Map<string, ShownUserRow>>();
  for (const [kind, ofKind] of Map.groupBy(keys, (key) => key.kind)) {
    const rows = await selectUsersBy(db, COLUMNS[kind], [...new Set(ofKind.map(comparable))]);
    found.set(kind, new Map(rows.map((row) => [keyOf(row, kind), row])));
  }
  return (key) => found.get(key.kind)?.get(comparable(key));
}

/** The unique columns by which users are looked up. */
const COLUMNS = { id: 'id', username: 'username_key', email: 'email_key', external_id: 'external_id' } as const;

function comparable({ kind, value }: UserKey): string {
  return kind === 'username' || kind === 'email' ? identifierKey(value) : value;
}

function keyOf(row: ShownUserRow, kind: UserKey['kind']): string {
  return comparable({ kind, value: row[kind] ?? '' });
}
