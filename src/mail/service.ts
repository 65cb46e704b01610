import type { ServiceImpl } from '@connectrpc/connect';
import { MailSchema, type OutboxService } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import { EXPORT_PAGE_ROWS, type PersonalData } from '../privacy/personal-data.ts';
import { callerOf } from '../rpc/caller.ts';
import { messageJson } from '../rpc/message-json.ts';
import { fromList, toMailMessage } from './messages.ts';
import { getMail, listMails, type MailApp, mailsTo, previewMail, removeMailsTo, resendMail } from './outbox.ts';
import type { MailKind } from './templates/kinds.ts';

export function outboxService(app: MailApp): ServiceImpl<typeof OutboxService> {
  return {
    async listMails(request, context) {
      const { items, nextPageToken } = await listMails(app, callerOf(context), fromList(request));
      return { mails: items.map(toMailMessage), nextPageToken };
    },
    async getMail({ mailId }, context) {
      const { mail, body } = await getMail(app, callerOf(context), mailId);
      return { mail: toMailMessage(mail), ...body };
    },
    previewMail({ kind, ...recipient }) {
      return previewMail(app, kind as MailKind, recipient); // the contract lets no other kinds through
    },
    async resendMail({ mailId }, context) {
      return { mail: toMailMessage(await resendMail(app, callerOf(context), mailId)) };
    },
  };
}

/** Mails to users, without their texts: those that wait may have codes in them, and others are not kept. */
export const mailData: PersonalData = {
  tables: { mails: { user_id: { exported: 'mails' } } },
  parts: {
    mails: {
      permission: 'credentials.read',
      async read(app, _, userId, pageToken) {
        const mails = await mailsTo(app, userId, pageToken || undefined, EXPORT_PAGE_ROWS);
        return {
          items: mails.map((mail) => messageJson(MailSchema, toMailMessage(mail))),
          nextPageToken: mails.length < EXPORT_PAGE_ROWS ? '' : mails.at(-1)!.id,
        };
      },
    },
  },
  remove: removeMailsTo,
};
