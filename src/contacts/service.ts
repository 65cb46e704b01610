import type { ServiceImpl } from '@connectrpc/connect';
import type { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { callerOf } from '../rpc/caller.ts';
import {
  type ContactsApp,
  createContact,
  deleteContact,
  getContact,
  listContacts,
  undeleteContact,
  updateContact,
} from './contacts.ts';
import { createResponse, fromCreate, fromList, fromUpdate, toContactMessage, toContactPage } from './messages.ts';

export function contactService(app: ContactsApp): ServiceImpl<typeof ContactService> {
  return {
    createContact(request, context) {
      return createContact(app, callerOf(context), fromCreate(request), request.requestId, createResponse);
    },
    async getContact({ contactId }, context) {
      return { contact: toContactMessage(await getContact(app, callerOf(context), contactId)) };
    },
    async listContacts(request, context) {
      return toContactPage(await listContacts(app, callerOf(context), fromList(request)));
    },
    async updateContact(request, context) {
      const contact = await updateContact(app, callerOf(context), request.contactId, request.etag, fromUpdate(request));
      return { contact: toContactMessage(contact) };
    },
    async deleteContact({ contactId, etag }, context) {
      return { contact: toContactMessage(await deleteContact(app, callerOf(context), contactId, etag)) };
    },
    async undeleteContact({ contactId, etag }, context) {
      return { contact: toContactMessage(await undeleteContact(app, callerOf(context), contactId, etag)) };
    },
  };
}
