import type { ServiceImpl } from '@connectrpc/connect';
import type { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { UserSchema } from '../../../gen/kith/user/v1/user_pb.ts';
import type { ContactsApp } from '../../contacts/contacts.ts';
import type { MailApp } from '../../mail/outbox.ts';
import { type ExportApp, exportData } from '../../privacy/export.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { messageJson } from '../../rpc/message-json.ts';
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
import { eraseUser } from './erase.ts';
import { importUsers } from './import.ts';
import { lookupUsers } from './lookup.ts';
import {
  createUser,
  deleteUser,
  getOwnRecord,
  getUsage,
  getUser,
  getUserDetails,
  listUsers,
  recordExport,
  setUserPassword,
  undeleteUser,
  updateUser,
} from './users.ts';

export interface UsersApp extends ContactsApp, ExportApp, MailApp {}

/** `kept`: all that slices keep of users. */
export function userService(app: UsersApp, kept: readonly PersonalData[]): ServiceImpl<typeof UserService> {
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
    async *exportUserData({ userId }, context) {
      const caller = callerOf(context);
      const requireUser = () => getUser(app, userId);
      if (caller.userId !== userId) await recordExport(app, caller, userId);
      for await (const json of exportData(app, kept, { userId, caller, requireUser }, context.signal)) yield { json };
    },
    async eraseUser({ userId, etag }, context) {
      const { eraseMs, receiptId } = await eraseUser(app, kept, callerOf(context), userId, etag, context.signal);
      return { eraseTime: timestampFromMs(eraseMs), receiptId };
    },
  };
}

/** What is kept of users as such. It takes users.read to read private metadata, one's own too. */
export const userData: PersonalData = {
  tables: {
    users: { id: { exported: 'user' } },
    user_terms: { user_id: { exported: { not: 'search terms, which are made of the fields of the user' } } },
  },
  parts: {
    user: {
      permission: 'users.read',
      isSingle: true,
      omits: ({ permissions }) => (permissions.has('users.read') ? [] : ['privateMetadata']),
      async read(app, { permissions }, userId) {
        const { user, ...others } = await getOwnRecord(app, userId);
        const shown = permissions.has('users.read') ? user : { ...user, privateMetadata: '' };
        return { items: [{ ...messageJson(UserSchema, toUserMessage(shown)), ...others }], nextPageToken: '' };
      },
    },
  },
};
