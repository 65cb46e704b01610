import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type ListMailsRequest, type MailSchema, MailState } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import type { Mail, MailListRequest } from './outbox.ts';

const STATE_MESSAGES = {
  waiting: MailState.WAITING,
  sent: MailState.SENT,
  failed: MailState.FAILED,
} satisfies Record<Mail['state'], MailState>;

export function toMailMessage(mail: Mail): MessageInitShape<typeof MailSchema> {
  return {
    id: mail.id,
    userId: mail.user_id ?? '',
    recipient: mail.recipient,
    kind: mail.kind,
    subject: mail.subject,
    state: STATE_MESSAGES[mail.state],
    attempts: mail.attempts,
    lastError: mail.last_error,
    createTime: timestampFromMs(mail.create_ms),
    expireTime: timestampFromMs(mail.expire_ms),
    ...(mail.state === 'waiting' ? { nextAttemptTime: timestampFromMs(mail.next_ms) } : {}),
    ...(mail.send_ms === null ? {} : { sendTime: timestampFromMs(mail.send_ms) }),
  };
}

export function fromList({ pageSize, pageToken, states }: ListMailsRequest): MailListRequest {
  const named = Object.keys(STATE_MESSAGES) as Mail['state'][];
  return { pageSize, pageToken, states: named.filter((name) => states.includes(STATE_MESSAGES[name])) };
}
