import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { MailState, OutboxService } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import { type Cast, examplesOf, TIME } from '../../test/support/example.ts';
import { mailsTo, resetCode } from '../../test/support/outbox.ts';

export const outbox = examplesOf(OutboxService, {
  async listMails(cast) {
    const { mail, admin } = await withMail(cast);
    const request = { pageSize: 1, states: [MailState.WAITING] };
    return { accessToken: admin.accessToken, request, answer: { mails: [{ kind: mail.kind, createTime: TIME }] } };
  },
  async getMail(cast) {
    const { mail, admin } = await withMail(cast);
    return { accessToken: admin.accessToken, request: { mailId: mail.id }, answer: { mail: { id: mail.id } } };
  },
  async previewMail({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const request = { kind: 'new_sign_in', locale: 'de-AT', timeZone: 'Europe/Vienna' };
    return { accessToken, request, answer: { language: 'de', languages: ['de', 'en'] } };
  },
  async resendMail(cast) {
    const { mail, admin } = await withMail(cast);
    const answer = { mail: { id: mail.id, state: MailState.WAITING, nextAttemptTime: TIME } };
    return { accessToken: admin.accessToken, request: { mailId: mail.id }, answer, absent: ['mail.sendTime'] };
  },
});

/** A mail that waits, since no mail server is set. */
async function withMail({ kith, subject, caller }: Cast) {
  const { user } = await subject();
  await resetCode(kith, user);
  const [mail] = await mailsTo(kith, user.id);
  return { mail: mail!, admin: await caller(Role.ADMIN) };
}
