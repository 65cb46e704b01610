import type { ServiceImpl } from '@connectrpc/connect';
import type { OutboxService } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import type { App } from '../app.ts';
import { callerOf } from '../rpc/caller.ts';
import { fromList, toMailMessage } from './messages.ts';
import { getMail, listMails, resendMail } from './outbox.ts';

export function outboxService(app: App): ServiceImpl<typeof OutboxService> {
  return {
    async listMails(request, context) {
      const { items, nextPageToken } = await listMails(app, callerOf(context), fromList(request));
      return { mails: items.map(toMailMessage), nextPageToken };
    },
    async getMail({ mailId }, context) {
      const { mail, body } = await getMail(app, callerOf(context), mailId);
      return { mail: toMailMessage(mail), ...body };
    },
    async resendMail({ mailId }, context) {
      return { mail: toMailMessage(await resendMail(app, callerOf(context), mailId)) };
    },
  };
}
