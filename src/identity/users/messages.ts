import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type User as UserMessage, UserSchema, UserState as State } from '../../../gen/kith/user/v1/user_pb.ts';
import {
  type CreateUserRequest,
  type GetUsageResponseSchema,
  type GetUserDetailsResponseSchema,
  ImportConflict as ImportConflictMessage,
  ImportedUserSchema,
  ImportStatus,
  type ImportUsersRequest,
  type ImportUsersResponseSchema,
  type ListUsersRequest,
  type ListUsersResponseSchema,
  type MetadataMember as MetadataMemberMessage,
  type LookupUsersRequest,
  type LookupUsersResponseSchema,
  type SetUserPasswordRequest,
  type UpdateUserRequest,
  UserLookupStatus,
  UserOrder as OrderMessage,
  UserService,
} from '../../../gen/kith/user/v1/user_service_pb.ts';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { mapInSlices, type Page, totalOf } from '../../storage/pages.ts';
import { pick } from '../../kernel/pick.ts';
import { fromRole, toRole } from '../../rpc/enums.ts';
import { toRefusal } from '../../rpc/errors.ts';
import { responseFormat } from '../../rpc/response-format.ts';
import { createMessageCheck } from '../../rpc/validate.ts';
import type { ImportConflict, ImportedUser, ImportResult, Refused } from './import.ts';
import type { UserKey, UserLookup } from './lookup.ts';
import type { User, UserState } from './user.ts';
import type { UserFields } from './user-fields.ts';
import type {
  MetadataMember,
  NewUser,
  PasswordSetting,
  Quota,
  Usage,
  UserDetails,
  UserListRequest,
  UserUpdate,
} from './users.ts';

const STATES = {
  active: State.ACTIVE,
  suspended: State.SUSPENDED,
  deleted: State.DELETED,
} satisfies Record<UserState, State>;

/** The fields beside the name that requests hold as they are stored. One that a request lacks does not compile. */
const PLAIN_FIELDS = [
  'externalId',
  'publicMetadata',
  'privateMetadata',
  'locale',
  'timeZone',
  'avatarUrl',
] as const satisfies readonly (keyof UserFields)[];

export function toUserMessage(user: User): UserMessage {
  // Half as long as passing the fields to `create`.
  return Object.assign(create(UserSchema), {
    id: user.id,
    username: user.username,
    email: user.email,
    name: user.name,
    role: toRole(user.role),
    state: STATES[user.state],
    createTime: timestampFromMs(user.createMs),
    updateTime: timestampFromMs(user.updateMs),
    ...(user.deleteMs === null ? {} : { deleteTime: timestampFromMs(user.deleteMs) }),
    ...(user.purgeMs === null ? {} : { purgeTime: timestampFromMs(user.purgeMs) }),
    etag: user.etag,
    externalId: user.externalId,
    publicMetadata: user.publicMetadata,
    privateMetadata: user.privateMetadata,
    locale: user.locale,
    timeZone: user.timeZone,
    avatarUrl: user.avatarUrl,
    ...(user.emailVerifiedMs === undefined ? {} : { emailVerifiedTime: timestampFromMs(user.emailVerifiedMs) }),
    ...(user.lastSignInMs === null ? {} : { lastSignInTime: timestampFromMs(user.lastSignInMs) }),
  } satisfies Record<Exclude<keyof UserFields, 'emailVerifiedMs'>, unknown> & Record<string, unknown>);
}

export function toDetails(details: UserDetails): MessageInitShape<typeof GetUserDetailsResponseSchema> {
  const { user, lastSignInMs, contactCount } = details;
  return {
    user: toUserMessage(user),
    ...(lastSignInMs === null ? {} : { lastSignInTime: timestampFromMs(lastSignInMs) }),
    contactCount,
  };
}

const LOOKUP_STATUSES = {
  found: UserLookupStatus.FOUND,
  not_found: UserLookupStatus.NOT_FOUND,
  left_out: UserLookupStatus.LEFT_OUT,
} satisfies Record<UserLookup['status'], UserLookupStatus>;

export async function toLookups(
  lookups: readonly UserLookup[],
): Promise<MessageInitShape<typeof LookupUsersResponseSchema>> {
  return {
    lookups: await mapInSlices(lookups, (lookup) => ({
      status: LOOKUP_STATUSES[lookup.status],
      ...(lookup.status === 'found' ? { user: toUserMessage(lookup.user) } : {}),
    })),
  };
}

export function fromLookup({ keys }: LookupUsersRequest): UserKey[] {
  return keys.map(({ key }) => {
    switch (key.case) {
      case 'userId':
        return { kind: 'id', value: key.value };
      case 'username':
      case 'email':
        return { kind: key.case, value: key.value };
      case 'externalId':
        return { kind: 'external_id', value: key.value };
      default:
        throw new Error('the rules of the contract let an empty key through');
    }
  });
}

const IMPORT_STATUSES = {
  created: ImportStatus.CREATED,
  updated: ImportStatus.UPDATED,
  same: ImportStatus.SAME,
  refused: ImportStatus.REFUSED,
} satisfies Record<ImportResult['status'], ImportStatus>;

export function toImportResults(results: readonly ImportResult[]): MessageInitShape<typeof ImportUsersResponseSchema> {
  return {
    results: results.map((result) => ({
      status: IMPORT_STATUSES[result.status],
      userId: result.id,
      ...(result.status === 'refused' && { refusal: toRefusal(result.refusal) }),
    })),
  };
}

/** The rows of an import. What breaks the rules of the contract in a row is the refusal of that row. */
export async function fromImport({ users }: ImportUsersRequest): Promise<(ImportedUser | Refused)[]> {
  return mapInSlices(users, (row) => {
    const refusal = checkImported(row);
    if (refusal !== undefined) return { status: 'refused', id: '', refusal };
    const { userId, username, email, name, passwordHash, mustChangePassword, createTime, emailVerifiedTime } = row;
    const state = fromState(row.state);
    return {
      id: userId,
      username,
      email,
      name,
      ...pick(row, PLAIN_FIELDS),
      passwordHash,
      mustChangePassword,
      role: fromRole(row.role),
      state: state === 'deleted' ? undefined : state,
      createMs: createTime && timestampMs(createTime),
      emailVerifiedMs: emailVerifiedTime && timestampMs(emailVerifiedTime),
    };
  });
}

const checkImported = createMessageCheck(ImportedUserSchema);

export function fromConflict(conflict: ImportConflictMessage): ImportConflict {
  return conflict === ImportConflictMessage.UPDATE ? 'update' : 'refuse';
}

export function toUsage(usage: Usage): MessageInitShape<typeof GetUsageResponseSchema> {
  return {
    contacts: toQuota(usage.contacts),
    contactBytes: toQuota(usage.contactBytes),
    contactVersionBytes: toQuota(usage.contactVersionBytes),
  };
}

function toQuota({ used, limit }: Quota) {
  return { used: BigInt(used), limit: BigInt(limit) };
}

export function toUserPage(page: Page<User>): MessageInitShape<typeof ListUsersResponseSchema> {
  return {
    users: page.items.map(toUserMessage),
    nextPageToken: page.nextPageToken,
    ...totalOf(page),
  };
}

export function fromCreate(request: CreateUserRequest): NewUser {
  const { username, email, name, emailVerified, password, passwordHash, mustChangePassword, requestId } = request;
  const role = fromRole(request.role) ?? 'viewer';
  return {
    username,
    email,
    name,
    role,
    password,
    passwordHash,
    mustChangePassword,
    requestId,
    ...pick(request, PLAIN_FIELDS),
    emailVerified,
  };
}

export function fromList(request: ListUsersRequest): UserListRequest {
  const { pageSize, pageToken, includeTotalSize, query, email, externalId } = request;
  return {
    pageSize,
    pageToken,
    includeTotalSize,
    query,
    roles: distinct(request.roles.map(fromRole)),
    states: distinct(request.states.map(fromState)),
    email,
    externalId,
    publicMetadata: fromMember(request.publicMetadata),
    privateMetadata: fromMember(request.privateMetadata),
    created: fromTimes(request.createStartTime, request.createEndTime),
    signedIn: fromTimes(request.signInStartTime, request.signInEndTime),
    order:
      (Object.keys(ORDERS) as UserListRequest['order'][]).find((name) => ORDERS[name] === request.order) ?? 'newest',
  };
}

const ORDERS = {
  newest: OrderMessage.NEWEST,
  oldest: OrderMessage.OLDEST,
  name: OrderMessage.NAME,
  last_sign_in: OrderMessage.LAST_SIGN_IN,
} satisfies Record<UserListRequest['order'], OrderMessage>;

function fromMember(member: MetadataMemberMessage | undefined): MetadataMember | undefined {
  if (member?.value.case === undefined) return undefined;
  return { name: member.name, value: member.value.value };
}

function fromTimes(start: Timestamp | undefined, end: Timestamp | undefined): UserListRequest['created'] {
  if (start === undefined && end === undefined) return undefined;
  return { startMs: start && ceilingMs(start), endMs: end && ceilingMs(end) };
}

/** The first whole millisecond at this time or later: users have times in whole ones. */
function ceilingMs(time: Timestamp): number {
  return Number(time.seconds) * 1000 + Math.ceil(time.nanos / 1_000_000);
}

/** Sorted and without repeats, so that a page token is valid for the same filter in any order. */
function distinct<T extends string>(values: readonly (T | undefined)[]): T[] {
  return [...new Set(values)].filter((value) => value !== undefined).toSorted();
}

export function fromUpdate(request: UpdateUserRequest): UserUpdate {
  const { name, username, email, emailVerified } = request;
  const state = fromState(request.state);
  return {
    name,
    username,
    email,
    ...pick(request, PLAIN_FIELDS),
    role: fromRole(request.role),
    state: state === 'deleted' ? undefined : state,
    emailVerified,
  };
}

export function fromPasswordSetting(request: SetUserPasswordRequest): PasswordSetting {
  const { userId, etag, password, mustChangePassword } = request;
  return { id: userId, etag, password, mustChange: mustChangePassword };
}

function fromState(state: State | undefined): UserState | undefined {
  return (Object.keys(STATES) as UserState[]).find((name) => STATES[name] === state);
}

/** Responses to CreateUser, which are stored for a caller that sends the request again. */
export const createResponse = responseFormat(UserService.method.createUser, (user: User) => ({
  user: toUserMessage(user),
}));
