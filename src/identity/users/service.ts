import type { ServiceImpl } from '@connectrpc/connect';
import type { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import type { ContactsApp } from '../../contacts/contacts.ts';
import { callerOf } from '../../rpc/caller.ts';
import {
  createResponse,
  fromCreate,
  fromConflict,
  fromImport,
  fromList,
  fromLookup,
  fromPasswordSetting,
  fromUpdate,
  toDetails,
  toImportResults,
  toLookups,
  toUsage,
  toUserMessage,
  toUserPage,
} from './messages.ts';
import { importUsers } from './import.ts';
import { lookupUsers } from './lookup.ts';
import {
  createUser,
  deleteUser,
  getUsage,
  getUser,
  getUserDetails,
  listUsers,
  setUserPassword,
  undeleteUser,
  updateUser,
} from './users.ts';

export function userService(app: ContactsApp): ServiceImpl<typeof UserService> {
  return {
    createUser(request, context) {
      return createUser(app, callerOf(context), fromCreate(request), createResponse, context.signal);
    },
    async getUser({ userId }) {
      return { user: toUserMessage(await getUser(app, userId)) };
    },
    async getUserDetails({ userId }) {
      return toDetails(await getUserDetails(app, userId));
    },
    async getUsage({ userId }) {
      return toUsage(await getUsage(app, userId));
    },
    async lookupUsers(request, context) {
      return toLookups(await lookupUsers(app, callerOf(context), fromLookup(request)));
    },
    async listUsers(request, context) {
      return toUserPage(await listUsers(app, callerOf(context), fromList(request)));
    },
    async importUsers(request, context) {
      const rows = await fromImport(request);
      const policy = fromConflict(request.onConflict);
      return toImportResults(await importUsers(app, callerOf(context), rows, policy, context.signal));
    },
    async updateUser(request, context) {
      const user = await updateUser(app, callerOf(context), request.userId, request.etag, fromUpdate(request));
      return { user: toUserMessage(user) };
    },
    async deleteUser({ userId, etag }, context) {
      return { user: toUserMessage(await deleteUser(app, callerOf(context), userId, etag)) };
    },
    async setUserPassword(request, context) {
      const user = await setUserPassword(app, callerOf(context), fromPasswordSetting(request), context.signal);
      return { user: toUserMessage(user) };
    },
    async undeleteUser({ userId, etag }, context) {
      return { user: toUserMessage(await undeleteUser(app, callerOf(context), userId, etag)) };
    },
  };
}
