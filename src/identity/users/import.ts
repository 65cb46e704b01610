import { recordActivity } from '../../activity/log/log.ts';
import { type App, atOneTime } from '../../app.ts';
import type { Caller, Role } from '../../kernel/access.ts';
import { Failure, type PartRefusal, toPartRefusal } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import { identifierKey } from '../../kernel/text.ts';
import { changeWithin } from '../../resources/resource.ts';
import type { Db } from '../../storage/database.ts';
import { TransactionConflict, UniqueViolation } from '../../storage/dialect.ts';
import { importHash } from '../passwords/hash-formats.ts';
import { patchMetadata } from './metadata.ts';
import { insertUsers, selectUserRowsBy, type UserRow } from './store.ts';
import { changedFields, termsOf, toColumns, toFields, type UserFields } from './user-fields.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { changeAndTell, requireLocale, requireTimeZone, userResource } from './users.ts';

/** A user of another system. '' and undefined are unknown: a user who exists keeps what they have. */
export interface ImportedUser extends Omit<UserFields, 'role' | 'state' | 'emailVerifiedMs'> {
  /** '' to have one made. */
  readonly id: string;
  readonly role: Role | undefined;
  readonly state: 'active' | 'suspended' | undefined;
  /** '' for none: nobody can sign in with a password until one is set. */
  readonly passwordHash: string;
  readonly mustChangePassword: boolean;
  readonly createMs: number | undefined;
  readonly emailVerifiedMs: number | undefined;
}

/** What becomes of a user who exists and differs. */
export type ImportConflict = 'refuse' | 'update';

/** What came of one row. */
export type ImportResult = { readonly status: 'created' | 'updated' | 'same'; readonly id: string } | Refused;

export interface Refused {
  readonly status: 'refused';
  /** Of the user who is in the way, if it is the one that the row is about; '' otherwise. */
  readonly id: string;
  /** `field` in its metadata is the name of the field in the contract, where it is about one. */
  readonly refusal: PartRefusal;
}

/** How many rows one transaction writes: others write in between, and a stop waits no longer. */
const STEP_ROWS = 50;

/**
 * Imports users, and says of each what came of it. A row is about the user with its id; without an id, about the one
 * with its external id; without either, about the one with its username. The same rows again change nothing.
 *
 * Rows are written in steps of STEP_ROWS, each in a transaction: of a call that fails, some steps may be written. A row
 * that is refused changes nothing, and does not keep others from being written.
 */
export async function importUsers(
  app: MailApp,
  caller: Caller,
  rows: readonly (ImportedUser | Refused)[],
  onConflict: ImportConflict,
  signal?: AbortSignal,
): Promise<ImportResult[]> {
  const results: ImportResult[] = [];
  for (let start = 0; start < rows.length; start += STEP_ROWS) {
    signal?.throwIfAborted();
    const step = rows.slice(start, start + STEP_ROWS).map((row) => prepare(app, caller, row));
    const write = () =>
      app.database.transaction(async (tx) => {
        try {
          const importing = new Importing(tx, atOneTime(app), caller, onConflict);
          await importing.read(step);
          const written: ImportResult[] = [];
          for (const row of step) written.push(row.status === 'refused' ? row : await importing.write(row));
          await importing.insert();
          return written;
        } catch (error) {
          // Another transaction wrote one of them meanwhile: the next attempt finds it.
          throw error instanceof UniqueViolation
            ? new TransactionConflict('written meanwhile', { cause: error })
            : error;
        }
      }, LOCK_KEY);
    results.push(...(await write()));
  }
  return results;
}

/** Imports of one process run one after the other: their rows are neighbours in every index. */
const LOCK_KEY = 'import of users';

/** A row whose fields are as they are stored. */
interface Prepared extends ImportedUser {
  readonly status?: never;
}

/** Checks what no other user matters for. */
function prepare(app: App, caller: Caller, row: ImportedUser | Refused): Prepared | Refused {
  if ('status' in row) return row;
  const now = app.now();
  const pastMs = (time: number | undefined) => (time === undefined ? undefined : Math.min(time, now));
  try {
    if (row.role !== undefined && !caller.permissions.has('roles.write')) throw roleNeedsPermission();
    if (row.passwordHash !== '') importHash(row.passwordHash);
    return {
      ...row,
      publicMetadata: patchMetadata('public_metadata', '', row.publicMetadata),
      privateMetadata: patchMetadata('private_metadata', '', row.privateMetadata),
      locale: requireLocale(row.locale),
      timeZone: requireTimeZone(row.timeZone),
      createMs: pastMs(row.createMs),
      emailVerifiedMs: pastMs(row.emailVerifiedMs),
    };
  } catch (error) {
    return refusedFor(error, '');
  }
}

function roleNeedsPermission(): Failure {
  const metadata = { field: 'role', permission: 'PERMISSION_ROLES_WRITE' };
  return new Failure('field_needs_permission', 'role takes PERMISSION_ROLES_WRITE', metadata);
}

/** The result of a row for what was thrown. Throws what is no refusal of the row. */
function refusedFor(error: unknown, id: string): Refused {
  const refusal = toPartRefusal(error);
  const isOfHash = refusal.reason === 'password_hash_unsupported';
  return { status: 'refused', id, refusal: isOfHash ? { ...refusal, metadata: { field: 'password_hash' } } : refusal };
}

/** The unique fields of a row, in the order in which they are reported. */
const UNIQUE = [
  { field: 'username', column: 'username_key', reason: 'username_taken', what: 'username' },
  { field: 'email', column: 'email_key', reason: 'email_taken', what: 'email address' },
  { field: 'external_id', column: 'external_id', reason: 'external_id_taken', what: 'external id' },
] as const;
type UniqueColumn = 'id' | (typeof UNIQUE)[number]['column'];

/** One step of an import, within its transaction. */
class Importing {
  readonly #tx: Db;
  readonly #at: MailApp;
  readonly #caller: Caller;
  readonly #onConflict: ImportConflict;
  /** Users by what is unique, as they are at this point of the step. */
  readonly #known: Readonly<Record<UniqueColumn, Map<string, UserRow>>> = {
    id: new Map(),
    username_key: new Map(),
    email_key: new Map(),
    external_id: new Map(),
  };
  /** New users who are not inserted yet. */
  #added: UserRow[] = [];

  constructor(tx: Db, at: MailApp, caller: Caller, onConflict: ImportConflict) {
    this.#tx = tx;
    this.#at = at;
    this.#caller = caller;
    this.#onConflict = onConflict;
  }

  /** Reads the users whom the rows may be about, or who may be in their way. */
  async read(step: readonly (Prepared | Refused)[]): Promise<void> {
    const rows = step.filter((row): row is Prepared => !('status' in row));
    for (const column of ['id', ...UNIQUE.map((each) => each.column)] as const) {
      const values = [...new Set(rows.map((row) => keysOf(row)[column]))].filter((value) => value !== '');
      if (values.length === 0) continue;
      for (const row of await selectUserRowsBy(this.#tx, column, values)) this.#know(row);
    }
  }

  async write(row: Prepared): Promise<ImportResult> {
    const keys = keysOf(row);
    const { id, external_id, username_key } = this.#known;
    const target =
      keys.id !== ''
        ? id.get(keys.id)
        : keys.external_id !== ''
          ? external_id.get(keys.external_id)
          : username_key.get(keys.username_key);
    try {
      for (const { field, column, reason, what } of UNIQUE) {
        const other = keys[column] === '' ? undefined : this.#known[column].get(keys[column]);
        if (other !== undefined && other !== target) {
          throw new Failure(reason, `another user has this ${what}`, { field });
        }
      }
      return target === undefined ? this.#create(row) : await this.#update(target, row);
    } catch (error) {
      return refusedFor(error, target?.id ?? '');
    }
  }

  #create(row: Prepared): ImportResult {
    const now = this.#at.now();
    const fields: UserFields = { ...row, role: row.role ?? 'viewer', state: row.state ?? 'active' };
    const created: UserRow = {
      id: row.id === '' ? newId() : row.id,
      ...toColumns(fields),
      undelete_state: null,
      password_hash: row.passwordHash,
      must_change_password: row.mustChangePassword ? 1 : 0,
      session_epoch: 0,
      last_sign_in_ms: null,
      create_ms: row.createMs ?? now,
      update_ms: now,
      delete_ms: null,
      purge_ms: null,
      revision: 1,
    };
    this.#added.push(created);
    this.#know(created);
    return { status: 'created', id: created.id };
  }

  async #update(target: UserRow, row: Prepared): Promise<ImportResult> {
    if (target.delete_ms !== null) throw new Failure('resource_deleted', 'the user is deleted: undelete it first');
    const present = toFields(target);
    const wanted = wantedFields(present, row);
    const [changed] = changedFields(wanted, present);
    if (changed === undefined) return { status: 'same', id: target.id };
    if (this.#onConflict === 'refuse') {
      throw new Failure('user_differs', `the user is there, and has another ${changed}`, { field: changed });
    }
    await this.insert(); // the user may be one of this step
    const resource = userResource(this.#caller, target.id);
    const next = await changeWithin(this.#tx, this.#at, 'update', resource, undefined, (changing) =>
      changeAndTell(changing, this.#caller, wanted),
    );
    this.#forget(target);
    this.#know(next);
    return { status: 'updated', id: target.id };
  }

  /** Inserts the users who were created so far. */
  async insert(): Promise<void> {
    const rows = this.#added;
    if (rows.length === 0) return;
    this.#added = [];
    await insertUsers(
      this.#tx,
      rows.map((row) => ({ row, terms: termsOf(toFields(row)) })),
    );
    await recordActivity(
      this.#tx,
      this.#at,
      ...rows.map((row) => ({
        userId: row.id,
        by: this.#caller,
        action: 'kith.user.created' as const,
        attributes: { imported: 'true' },
      })),
    );
  }

  #know(row: UserRow): void {
    for (const [column, users] of Object.entries(this.#known)) {
      const value = row[column as UniqueColumn];
      if (value !== null) users.set(value, row);
    }
  }

  #forget(row: UserRow): void {
    for (const [column, users] of Object.entries(this.#known)) {
      const value = row[column as UniqueColumn];
      if (value !== null && users.get(value)?.id === row.id) users.delete(value);
    }
  }
}

function keysOf({ id, username, email, externalId }: Prepared): Record<UniqueColumn, string> {
  return { id, username_key: identifierKey(username), email_key: identifierKey(email), external_id: externalId };
}

/** The fields of a user who exists after an import: what the row does not say stays. */
function wantedFields(present: UserFields, row: Prepared): UserFields {
  const isSameAddress = identifierKey(row.email) === identifierKey(present.email);
  return {
    username: row.username,
    email: row.email,
    name: row.name,
    role: row.role ?? present.role,
    state: row.state ?? present.state,
    externalId: row.externalId || present.externalId,
    publicMetadata: row.publicMetadata || present.publicMetadata,
    privateMetadata: row.privateMetadata || present.privateMetadata,
    locale: row.locale || present.locale,
    timeZone: row.timeZone || present.timeZone,
    avatarUrl: row.avatarUrl || present.avatarUrl,
    emailVerifiedMs: row.emailVerifiedMs ?? (isSameAddress ? present.emailVerifiedMs : undefined),
  };
}
