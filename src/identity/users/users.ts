import { type Caller, requireNotAbove, type Role } from '../../kernel/access.ts';
import { recordActivity } from '../../activity/log/log.ts';
import { type App, atOneTime } from '../../app.ts';
import { payerOf } from '../../budget/payer.ts';
import { type ContactsApp, contactUsage } from '../../contacts/contacts.ts';
import { versionBytesMax } from '../../contacts/keep-version.ts';
import type { Db } from '../../storage/database.ts';
import { UniqueViolation } from '../../storage/dialect.ts';
import { type ResponseFormat, runIdempotently } from '../../storage/idempotency.ts';
import { Failure } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import { mapInSlices, type Page, type PageRequest, mayTakeLong, pageSizeOf, pageTokens } from '../../storage/pages.ts';
import { applyUpdate, type PartialUpdate } from '../../resources/partial-update.ts';
import {
  type Change,
  type Changing,
  changeResource,
  changeWithin,
  readResource,
  readToChange,
  type Resource,
} from '../../resources/resource.ts';
import { importHash } from '../passwords/hash-formats.ts';
import type { HashRequest } from '../passwords/passwords.ts';
import { checkNewPassword } from '../passwords/rules.ts';
import { publishAccessChange } from '../revocations/revocations.ts';
import { endSessionsOf } from '../sessions/sessions.ts';
import { canonicalLocale, canonicalTimeZone } from '../../kernel/locale.ts';
import { identifierKey, searchTerm } from '../../kernel/text.ts';
import { writeNotice } from '../../mail/notices.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { replacePassword } from './accounts.ts';
import {
  countUsers,
  selectUserPage,
  type TimeRange,
  type UserFilter,
  type UserOrder,
  type UserPlace,
} from './list-store.ts';
import { type FoundValue, metadataTerm, patchMetadata } from './metadata.ts';
import {
  hasOtherActiveAdmin,
  hasUsers,
  insertUser,
  replaceTerms,
  selectShownUser,
  selectUser,
  selectUserByIdentifier,
  selectOutdated,
  type UserRow,
  updateUserRow,
} from './store.ts';
import { toUser, type User, type UserState } from './user.ts';
import { changedFields, termsOf, toColumns, toFields, type UserFields } from './user-fields.ts';

/** The fields of a user as callers give them: metadata is a patch, and the server says when an address was verified. */
interface AskedFields extends Omit<UserFields, 'emailVerifiedMs'> {
  readonly emailVerified: boolean;
}

export interface NewUser extends Omit<AskedFields, 'state'> {
  /** Either this or `passwordHash` is not empty. */
  readonly password: string;
  /** A hash from another system. */
  readonly passwordHash: string;
  readonly mustChangePassword: boolean;
  readonly requestId: string;
}

/**
 * Creates a user. `signal` aborts the call while the password waits to be hashed.
 *
 * Throws username_taken, email_taken, external_id_taken, metadata_invalid, metadata_too_large, locale_invalid,
 * time_zone_unknown, password_is_identifier, password_too_common, password_hash_unsupported, request_id_reused,
 * server_busy.
 */
export async function createUser<Response>(
  app: App,
  caller: Caller,
  input: NewUser,
  format: ResponseFormat<User, Response>,
  signal?: AbortSignal,
): Promise<Response> {
  const { requestId, ...asked } = input;
  const row = await newUserRow(app, input, { payer: payerOf(caller, ''), signal });
  const create = () =>
    app.database.transaction((tx) =>
      runIdempotently(tx, app, { callerId: caller.userId, requestId, input: asked }, format, async () => {
        await insertUser(tx, row, termsOf(toFields(row)));
        const at = atOneTime(app, row.create_ms);
        await recordActivity(tx, at, { userId: row.id, by: caller, action: 'kith.user.created' });
        return toUser(row);
      }),
    );
  return reportTakenIdentifiers(app, row, async () => {
    try {
      return await create();
    } catch (error) {
      // The same request may have taken the name on another instance: then its response is stored by now.
      if (error instanceof UniqueViolation && requestId !== '') return create();
      throw error;
    }
  });
}

/** What the first user has not. */
const NOTHING_MORE = {
  externalId: '',
  publicMetadata: '',
  privateMetadata: '',
  locale: '',
  timeZone: '',
  avatarUrl: '',
  emailVerified: false,
};

/** Creates the first user, an admin; undefined when there are users already. Throws as createUser does. */
export async function createFirstAdmin(
  app: App,
  input: Pick<NewUser, 'username' | 'email' | 'name' | 'password'>,
): Promise<User | undefined> {
  if (await hasUsers(app.database.db)) return undefined;
  const row = await newUserRow(
    app,
    { ...NOTHING_MORE, ...input, role: 'admin', passwordHash: '', mustChangePassword: false },
    { payer: 'server' },
  );
  return app.database.transaction(async (tx) => {
    if (await hasUsers(tx)) return undefined;
    await insertUser(tx, row, termsOf(toFields(row)));
    const at = atOneTime(app, row.create_ms);
    await recordActivity(tx, at, { userId: row.id, by: null, action: 'kith.user.created' });
    return toUser(row);
  });
}

/** Throws user_not_found. */
export async function getUser(app: App, id: string): Promise<User> {
  const { db } = app.database;
  return toUser(await readResource(app, db, { select: () => selectShownUser(db, id), notFound: userNotFound }));
}

export interface UserDetails {
  readonly user: User;
  readonly lastSignInMs: number | null;
  readonly contactCount: number;
}

/** Throws user_not_found. */
export async function getUserDetails(app: App, id: string): Promise<UserDetails> {
  const row = await requireUser(app, app.database.db, id);
  const { liveContacts } = await contactUsage(app, row.id);
  return { user: toUser(row), lastSignInMs: row.last_sign_in_ms, contactCount: liveContacts };
}

/** How much of a limit is used. */
export interface Quota {
  readonly used: number;
  readonly limit: number;
}

export interface Usage {
  readonly contacts: Quota;
  readonly contactBytes: Quota;
  readonly contactVersionBytes: Quota;
}

/** How much a user has stored, and the limits. Throws user_not_found. */
export async function getUsage(app: ContactsApp, id: string): Promise<Usage> {
  const row = await requireUser(app, app.database.db, id);
  const { contacts, bytes, versionBytes = 0 } = await contactUsage(app, row.id);
  return {
    contacts: { used: contacts, limit: app.contacts.perUserMax },
    contactBytes: { used: bytes, limit: app.contacts.bytesPerUserMax },
    contactVersionBytes: { used: versionBytes, limit: versionBytesMax(app.contacts.bytesPerUserMax) },
  };
}

export interface UserListRequest extends PageRequest {
  readonly includeTotalSize: boolean;
  /** None for every role. */
  readonly roles: readonly Role[];
  /** None for active and suspended users. */
  readonly states: readonly UserState[];
  readonly query: string;
  /** '' for every user, as for the external id. */
  readonly email: string;
  readonly externalId: string;
  /** Members that the metadata has; undefined for every user. */
  readonly publicMetadata: MetadataMember | undefined;
  readonly privateMetadata: MetadataMember | undefined;
  readonly created: TimeRange | undefined;
  readonly signedIn: TimeRange | undefined;
  readonly order: UserOrder;
}

export interface MetadataMember {
  readonly name: string;
  readonly value: FoundValue;
}

/** A page of users. Throws page_token_invalid. */
export async function listUsers(app: App, caller: Caller, request: UserListRequest): Promise<Page<User>> {
  const filter = filterOf(request);
  const isSearch = filter.query !== '' || Object.keys(filter).length > 3;
  const db = mayTakeLong(request) || isSearch ? app.database.longReads : app.database.db;
  const tokens = pageTokens<[value: string, id: string] | [id: string]>(app.keyring, 'users', caller.userId, filter);
  const key = tokens.read(request.pageToken);
  const after = key === undefined ? undefined : await placeOf(app, key, request.order);
  const page = await selectUserPage(db, filter, after, pageSizeOf(request));
  const { resumeAfter } = page;
  return {
    items: await mapInSlices(page.rows.filter(isKept(app.now())), toUser),
    nextPageToken: tokens.write(resumeAfter && [String(resumeAfter.value), resumeAfter.id]),
    total: request.includeTotalSize ? await countUsers(db, filter) : undefined,
  };
}

/** Whether a user is not past the purge time: one who is counts as purged, as everywhere. */
function isKept(nowMs: number): (row: Pick<UserRow, 'purge_ms'>) => boolean {
  return ({ purge_ms }) => purge_ms === null || purge_ms > nowMs;
}

/** What is not asked for is absent, so that the page tokens of a version that knew less are good. */
function filterOf(request: UserListRequest): UserFilter {
  const { roles, states, query, email, externalId, publicMetadata, privateMetadata, created, signedIn, order } =
    request;
  const terms = [
    ...(publicMetadata === undefined
      ? []
      : [metadataTerm('public_metadata', publicMetadata.name, publicMetadata.value)]),
    ...(privateMetadata === undefined
      ? []
      : [metadataTerm('private_metadata', privateMetadata.name, privateMetadata.value)]),
  ];
  return {
    roles,
    states: states.length === 0 ? (['active', 'suspended'] as const) : states,
    query: searchTerm(query),
    ...(email === '' ? {} : { email: identifierKey(email) }),
    ...(externalId === '' ? {} : { externalId }),
    ...(terms.length === 0 ? {} : { terms }),
    ...(created && { created }),
    ...(signedIn && { signedIn }),
    ...(order === 'newest' ? {} : { order }),
  };
}

/** The place in a page token. A token of an older version has the id alone, of a list of the newest users. */
async function placeOf(app: App, key: [string, string] | [string], order: UserOrder): Promise<UserPlace> {
  if (key.length === 2) return { value: order === 'name' ? key[0] : Number(key[0]), id: key[1] };
  const [id] = key;
  const row = await selectUser(app.database.db, id);
  return { value: row?.create_ms ?? timeOfId(id), id };
}

/** When a UUIDv7 was made, milliseconds since 1970 (RFC 9562, 5.7). */
function timeOfId(id: string): number {
  return Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
}

/** Brings search terms and sort keys of up to `limit` users up to date whom an older version wrote. Returns how many. */
export function upgradeUsers(app: Pick<App, 'database'>, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const rows = await selectOutdated(tx, limit);
    for (const row of rows) {
      const fields = toFields(row);
      const { name_key, search_version } = toColumns(fields);
      await updateUserRow(tx, row.id, { name_key, search_version });
      await replaceTerms(tx, row.id, termsOf(fields));
    }
    return rows.length;
  });
}

/** A user becomes deleted by deleteUser alone. */
export type UserUpdate = PartialUpdate<Omit<AskedFields, 'state'> & { readonly state: Exclude<UserState, 'deleted'> }>;

/**
 * Changes the fields that are not undefined. Suspending ends the user's sessions.
 *
 * Throws user_not_found, permission_missing, resource_deleted, etag_mismatch, username_taken, email_taken,
 * external_id_taken, metadata_invalid, metadata_too_large, locale_invalid, time_zone_unknown, last_admin.
 */
export async function updateUser(
  app: MailApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
  update: UserUpdate,
): Promise<User> {
  const { username, email } = update;
  const next = await reportTakenIdentifiers(app, { id, username, email }, () =>
    changeResource(app, 'update', userResource(caller, id), etag, async ({ tx, at, row }) => {
      const present = toFields(row);
      const wanted = updatedFields(present, update, at.now());
      return changeAndTell({ tx, at, row }, caller, wanted);
    }),
  );
  return toUser(next);
}

/**
 * Gives a user an email address that was proved to be theirs, in a transaction of the caller's, which has to be within
 * reportTakenIdentifiers. `by` is null where nobody is signed in. Throws user_not_found, resource_deleted.
 */
export async function setProvedEmail(tx: Db, at: App, id: string, email: string, by: Caller | null): Promise<void> {
  const resource: Resource<UserRow> = {
    ...resourceOfUser(id),
    authorize: () => {}, // the proof did
    activity: (row) => ({ userId: row.id, by }),
  };
  await changeWithin(tx, at, 'update', resource, undefined, (changing) => {
    const wanted = { ...toFields(changing.row), email, emailVerifiedMs: at.now() };
    return changeFields(changing, by, wanted);
  });
}

/** As changeFields, by a caller who proved no address: another one is told to the address before. */
export async function changeAndTell(
  { tx, at, row }: Changing<MailApp, UserRow>,
  by: Caller,
  wanted: UserFields,
): Promise<Change<UserRow> | undefined> {
  const change = await changeFields({ tx, at, row }, by, wanted);
  if (change !== undefined && identifierKey(wanted.email) !== row.email_key) {
    await writeNotice(tx, at, toUser(row), 'email_changed', { timeMs: at.now() });
  }
  return change;
}

/** The change of a user to one with these fields; undefined if they are the same. Throws last_admin. */
async function changeFields(
  { tx, at, row }: Changing<App, UserRow>,
  by: Caller | null,
  wanted: UserFields,
): Promise<Change<UserRow> | undefined> {
  const changed = changedFields(wanted, toFields(row));
  if (changed.length === 0) return undefined;
  if (wanted.role !== 'admin' || wanted.state !== 'active') await requireOtherAdmin(tx, row);
  const suspends = wanted.state === 'suspended' && row.state === 'active';
  return {
    columns: { ...toColumns(wanted), session_epoch: row.session_epoch + (suspends ? 1 : 0) },
    attributes: {
      fields: changed.join(),
      ...(wanted.role === row.role ? {} : { role: wanted.role }),
      ...(wanted.state === row.state ? {} : { state: wanted.state }),
    },
    afterwards: async () => suspends && (await endSessionsOf(tx, at, row.id, { by })),
  };
}

/** Deletes a user until undeleted or purged, and ends the sessions. Throws user_not_found, permission_missing, resource_deleted, etag_mismatch, last_admin. */
export async function deleteUser(app: App, caller: Caller, id: string, etag: string | undefined): Promise<User> {
  const next = await changeResource(
    app,
    'delete',
    userResource(caller, id),
    etag,
    async ({ tx, at, row }): Promise<Change<UserRow>> => {
      await requireOtherAdmin(tx, row);
      return {
        columns: {
          state: 'deleted',
          undelete_state: row.state === 'suspended' ? 'suspended' : 'active',
          session_epoch: row.session_epoch + 1,
        },
        afterwards: () => endSessionsOf(tx, at, id, { by: caller }),
      };
    },
  );
  return toUser(next);
}

export interface PasswordSetting {
  readonly id: string;
  readonly etag: string | undefined;
  readonly password: string;
  readonly mustChange: boolean;
}

/**
 * Sets a user's password without knowing the present one, tells the user by mail, and ends all sessions of the user,
 * also the caller's own. Sign-ins that began with the old password fail, e.g. one that waits for a
 * second factor.
 *
 * Throws user_not_found, permission_missing, resource_deleted, etag_mismatch, password_is_identifier,
 * password_too_common, server_busy.
 */
export async function setUserPassword(
  app: MailApp,
  caller: Caller,
  { id, etag, password, mustChange }: PasswordSetting,
  signal?: AbortSignal,
): Promise<User> {
  const resource = userResource(caller, id);
  checkNewPassword(password, await readToChange(app, app.database.db, resource, etag));
  const hash = await app.passwords.hash(password, { payer: payerOf(caller, ''), signal });
  return app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    const row = await readToChange(at, tx, resource, etag);
    const user = toUser(row);
    await replacePassword(tx, at, { user, sessionEpoch: row.session_epoch }, hash, { mustChange });
    await recordActivity(tx, at, { userId: row.id, by: caller, action: 'kith.password.set' });
    await endSessionsOf(tx, at, row.id, { by: caller });
    return user;
  }, resource.lockKey);
}

/** Undeletes a user. Throws user_not_found, permission_missing, resource_not_deleted, etag_mismatch. */
export async function undeleteUser(app: App, caller: Caller, id: string, etag: string | undefined): Promise<User> {
  const next = await changeResource(app, 'undelete', userResource(caller, id), etag, ({ row }) => ({
    columns: { state: row.undelete_state ?? 'active', undelete_state: null },
  }));
  return toUser(next);
}

/** The fields after an update. Another email address is not verified, unless the update says so. */
function updatedFields(present: UserFields, update: UserUpdate, nowMs: number): UserFields {
  const { emailVerified, ...others } = update;
  const isSameAddress = identifierKey(others.email ?? present.email) === identifierKey(present.email);
  const verifiedMs = isSameAddress ? present.emailVerifiedMs : undefined;
  return applyUpdate<UserFields>(present, {
    ...others,
    publicMetadata: patchMetadata('public_metadata', present.publicMetadata, others.publicMetadata ?? ''),
    privateMetadata: patchMetadata('private_metadata', present.privateMetadata, others.privateMetadata ?? ''),
    locale: others.locale === undefined ? undefined : requireLocale(others.locale),
    timeZone: others.timeZone === undefined ? undefined : requireTimeZone(others.timeZone),
    emailVerifiedMs:
      (emailVerified === false ? undefined : (verifiedMs ?? (emailVerified ? nowMs : undefined))) ?? null,
  });
}

/** The fields of a new user. */
function newFields(input: Omit<NewUser, 'requestId'>, nowMs: number): UserFields {
  return {
    ...input,
    state: 'active',
    publicMetadata: patchMetadata('public_metadata', '', input.publicMetadata),
    privateMetadata: patchMetadata('private_metadata', '', input.privateMetadata),
    locale: requireLocale(input.locale),
    timeZone: requireTimeZone(input.timeZone),
    emailVerifiedMs: input.emailVerified ? nowMs : undefined,
  };
}

/** A language tag as it is stored; '' stays. Throws locale_invalid. */
export function requireLocale(tag: string): string {
  const locale = tag === '' ? '' : canonicalLocale(tag);
  if (locale !== undefined) return locale;
  throw new Failure('locale_invalid', 'locale is not a language tag (BCP 47), such as de or pt-BR', {
    field: 'locale',
  });
}

/** A time zone as it is stored; '' stays. Throws time_zone_unknown. */
export function requireTimeZone(name: string): string {
  const timeZone = name === '' ? '' : canonicalTimeZone(name);
  if (timeZone !== undefined) return timeZone;
  const message = 'time_zone is not the name of a time zone of the IANA database, such as Europe/Berlin';
  throw new Failure('time_zone_unknown', message, { field: 'time_zone' });
}

/** What people say of themselves who become users by themselves. */
export type NewSelf = Pick<NewUser, 'username' | 'email' | 'name' | 'password'>;

/** Such a user as they are stored. */
export type SelfRow = UserRow;

/**
 * A user of who proves to have the email address, a viewer, before anything is stored.
 *
 * Throws password_is_identifier, password_too_common, server_busy.
 */
export function newSelfRow(app: App, input: NewSelf, by: HashRequest): Promise<SelfRow> {
  const fixed = { role: 'viewer', passwordHash: '', mustChangePassword: false, emailVerified: true } as const;
  return newUserRow(app, { ...NOTHING_MORE, ...input, ...fixed }, by);
}

/** Inserts such a user in the transaction that took the proof. */
export async function insertSelf(tx: Db, row: SelfRow): Promise<void> {
  await insertUser(tx, row, termsOf(toFields(row)));
}

async function newUserRow(app: App, input: Omit<NewUser, 'requestId'>, by: HashRequest): Promise<UserRow> {
  const fields = newFields(input, app.now());
  const password_hash = await newPasswordHash(app, input, by);
  const now = app.now();
  return {
    id: newId(),
    ...toColumns({ ...fields, emailVerifiedMs: input.emailVerified ? now : undefined }),
    undelete_state: null,
    password_hash,
    must_change_password: input.mustChangePassword ? 1 : 0,
    session_epoch: 0,
    last_sign_in_ms: null,
    create_ms: now,
    update_ms: now,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
  };
}

async function newPasswordHash(app: App, input: Omit<NewUser, 'requestId'>, by: HashRequest): Promise<string> {
  if (input.passwordHash !== '') return importHash(input.passwordHash);
  checkNewPassword(input.password, input);
  return app.passwords.hash(input.password, by);
}

/** The user with an id, to a caller who may change users that are not above them. */
export function userResource(caller: Caller, id: string): Resource<UserRow> {
  return {
    ...resourceOfUser(id),
    authorize: (row) => requireNotAbove(caller, row),
    activity: (row) => ({ userId: row.id, by: caller }),
  };
}

function resourceOfUser(id: string): Omit<Resource<UserRow>, 'authorize' | 'activity'> {
  return {
    noun: 'user',
    lockKey: id,
    select: (db) => selectUser(db, id),
    notFound: userNotFound,
    write: writeUser,
  };
}

async function writeUser(tx: Db, at: App, next: UserRow, row: UserRow): Promise<void> {
  await updateUserRow(tx, row.id, next);
  const terms = termsOf(toFields(next));
  const isUpToDate = row.search_version === next.search_version;
  if (!isUpToDate || JSON.stringify(terms) !== JSON.stringify(termsOf(toFields(row)))) {
    await replaceTerms(tx, row.id, terms);
  }
  if (next.role !== row.role || next.state !== row.state) await publishAccessChange(tx, at, accessOf(next));
}

/** The access that tokens of the user give from this revision on. */
function accessOf({ id, role, state, revision }: UserRow) {
  return { userId: id, role: state === 'active' ? role : null, revision };
}

function requireUser(app: App, db: Db, id: string): Promise<UserRow> {
  return readResource(app, db, { select: () => selectUser(db, id), notFound: userNotFound });
}

function userNotFound(): Failure {
  return new Failure('user_not_found', 'no user has this id');
}

/** Throws last_admin if the user is the only active admin. */
export async function requireOtherAdmin(tx: Db, row: UserRow): Promise<void> {
  if (row.role !== 'admin' || row.state !== 'active' || (await hasOtherActiveAdmin(tx, row.id))) return;
  throw new Failure('last_admin', 'this is the last active admin: make another one first');
}

/**
 * Runs a write of a user. Throws username_taken, email_taken or external_id_taken if it violates the unique index of
 * one of them; of several that are taken, the first in this order, of which databases name any.
 */
export async function reportTakenIdentifiers<T>(
  { database }: App,
  asked: { readonly id: string; readonly username?: string | undefined; readonly email?: string | undefined },
  write: () => Promise<T>,
): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof UniqueViolation)) throw error;
    const named = TAKEN.findIndex(({ column }) => error.column === `users.${column}`);
    if (named === -1) throw error;
    for (const { field, taken } of TAKEN.slice(0, named)) {
      const identifier = field === 'external_id' ? undefined : asked[field];
      const other =
        identifier === undefined ? undefined : await selectUserByIdentifier(database.db, identifierKey(identifier));
      if (other !== undefined && other.id !== asked.id) throw taken();
    }
    throw TAKEN[named]!.taken();
  }
}

function takenFailure(reason: 'username_taken' | 'email_taken' | 'external_id_taken', field: string, what: string) {
  return () => new Failure(reason, `another user has this ${what}`, { field });
}

/** The unique columns, in the order in which they are reported. */
const TAKEN = [
  { field: 'username', column: 'username_key', taken: takenFailure('username_taken', 'username', 'username') },
  { field: 'email', column: 'email_key', taken: takenFailure('email_taken', 'email', 'email address') },
  {
    field: 'external_id',
    column: 'external_id',
    taken: takenFailure('external_id_taken', 'external_id', 'external id'),
  },
] as const;

/** A user as an export shows them, deleted or not. */
export interface OwnRecord {
  readonly user: User;
  readonly hasPassword: boolean;
  readonly mustChangePassword: boolean;
}

/** Throws user_not_found. */
export async function getOwnRecord(app: App, id: string): Promise<OwnRecord> {
  const row = await requireUser(app, app.database.db, id);
  return {
    user: toUser(row),
    hasPassword: row.password_hash !== '',
    mustChangePassword: row.must_change_password === 1,
  };
}

/** Records that somebody exports the data of another user, before the first of it is read. Throws user_not_found. */
export async function recordExport(app: App, caller: Caller, id: string): Promise<void> {
  await app.database.transaction(async (tx) => {
    await requireUser(app, tx, id);
    await recordActivity(tx, app, { userId: id, by: caller, action: 'kith.user.exported' });
  });
}
