import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type User as UserMessage, UserSchema, UserState as State } from '../../../gen/kith/user/v1/user_pb.ts';
import {
  type CreateUserRequest,
  type GetUsageResponseSchema,
  type GetUserDetailsResponseSchema,
  type ListUsersRequest,
  type ListUsersResponseSchema,
  type SetUserPasswordRequest,
  type UpdateUserRequest,
  UserService,
} from '../../../gen/kith/user/v1/user_service_pb.ts';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Page, totalOf } from '../../storage/pages.ts';
import { fromRole, toRole } from '../../rpc/enums.ts';
import { responseFormat } from '../../rpc/response-format.ts';
import type { User, UserState } from './user.ts';
import type { UserFields } from './user-fields.ts';
import type { NewUser, PasswordSetting, Quota, Usage, UserDetails, UserListRequest, UserUpdate } from './users.ts';

const STATES = {
  active: State.ACTIVE,
  suspended: State.SUSPENDED,
  deleted: State.DELETED,
} satisfies Record<UserState, State>;

export function toUserMessage(user: User): UserMessage {
  return create(UserSchema, {
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
  } satisfies Record<keyof UserFields, unknown> & Record<string, unknown>);
}

export function toDetails(details: UserDetails): MessageInitShape<typeof GetUserDetailsResponseSchema> {
  const { user, lastSignInMs, contactCount } = details;
  return {
    user: toUserMessage(user),
    ...(lastSignInMs === null ? {} : { lastSignInTime: timestampFromMs(lastSignInMs) }),
    contactCount,
  };
}

export function toUsage({ contacts, contactBytes }: Usage): MessageInitShape<typeof GetUsageResponseSchema> {
  return { contacts: toQuota(contacts), contactBytes: toQuota(contactBytes) };
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
  const { username, email, name, password, passwordHash, mustChangePassword, requestId } = request;
  const role = fromRole(request.role) ?? 'viewer';
  return { username, email, name, role, password, passwordHash, mustChangePassword, requestId };
}

export function fromList(request: ListUsersRequest): UserListRequest {
  const { pageSize, pageToken, includeTotalSize, query } = request;
  return {
    pageSize,
    pageToken,
    includeTotalSize,
    query,
    roles: distinct(request.roles.map(fromRole)),
    states: distinct(request.states.map(fromState)),
  };
}

/** Sorted and without repeats, so that a page token is valid for the same filter in any order. */
function distinct<T extends string>(values: readonly (T | undefined)[]): T[] {
  return [...new Set(values)].filter((value) => value !== undefined).toSorted();
}

export function fromUpdate(request: UpdateUserRequest): UserUpdate {
  const { name, username, email } = request;
  const state = fromState(request.state);
  return { name, username, email, role: fromRole(request.role), state: state === 'deleted' ? undefined : state };
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
