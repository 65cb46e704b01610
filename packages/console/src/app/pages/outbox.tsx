import { type Mail, MailState, OutboxService } from '@kith/client/outbox';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Permission, useMay, useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Select } from '../parts/form.tsx';
import { useFreshSignIn } from '../parts/fresh-sign-in.tsx';
import { usePages } from '../parts/pager.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { RowAction } from '../parts/row-action.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

const PAGE_SIZE = 50;
/** How often the list is asked for again, milliseconds: mails are sent within seconds. */
const REFRESH_MS = 5_000;

const TONES: Readonly<Record<number, string>> = {
  [MailState.WAITING]: 'warn',
  [MailState.SENT]: 'good',
  [MailState.FAILED]: 'bad',
};

/** The mails that are sent to users: what waits, what failed and why, and sending it again. */
export default function Outbox() {
  useTitle(t.outbox);
  const mayReadServer = useMay(Permission.SERVER_READ);
  const [parameters, setParameters] = useQueryParameters();
  const state = parameters.get('state') ?? '';
  const states = state in userTexts.mailStates ? [Number(state) as MailState] : [];
  return (
    <>
      {mayReadServer && (
        <p className="narrow-only">
          <Link to="settings">← {t.settings}</Link>
        </p>
      )}
      <div className="page-head">
        <h1>{t.outbox}</h1>
        <AsCode
          call={() => ({ method: 'kith.mail.v1.OutboxService/ListMails', body: { states, pageSize: PAGE_SIZE } })}
        />
        <div className="actions">
          <Link to="settings/mail" className="button">
            {t.mailTemplates}
          </Link>
        </div>
      </div>
      <div className="filters">
        <Select
          label={t.state}
          isLabelHidden
          value={state}
          options={[['', userTexts.allStates], ...Object.entries(userTexts.mailStates)]}
          onChange={(chosen) => setParameters({ state: chosen })}
        />
      </div>
      <MailTable key={state} states={states} />
    </>
  );
}

function MailTable({ states }: { readonly states: MailState[] }) {
  const outbox = useService(OutboxService, 'Mail');
  const queries = useQueryClient();
  const mayResend = useMay(Permission.CREDENTIALS_WRITE);
  const mayReadUsers = useMay(Permission.USERS_READ);
  const pages = usePages();
  const [shown, setShown] = useState<{ mail: Mail; text: string } | undefined>(undefined);
  const fresh = useFreshSignIn();
  const { pageToken } = pages;
  const { data, error, refetch } = useQuery({
    queryKey: ['mails', states, pageToken],
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_MS,
    queryFn: ({ signal }) => outbox.list({ states, pageSize: PAGE_SIZE, pageToken }, { signal }).page(),
  });
  if (data === undefined)
    return error === null ? <Skeleton rows={8} /> : <Failed error={error} onRetry={() => void refetch()} />;
  if (data.mails.length === 0 && pages.isFirst) return <Empty title={userTexts.noMails} lead={userTexts.noMailsLead} />;
  const attempt = async (action: () => Promise<unknown>) => {
    try {
      await action();
    } catch (thrown) {
      if (!fresh.handle(thrown)) notify(describeFailure(thrown), { isError: true });
    }
    await queries.invalidateQueries({ queryKey: ['mails'] });
  };
  const resend = ({ id, recipient }: Mail) =>
    attempt(async () => {
      await outbox.resend({ mailId: id });
      notify(userTexts.resent(recipient));
    });
  const show = (mail: Mail) =>
    attempt(async () => setShown({ mail, text: (await outbox.get({ mailId: mail.id })).text }));
  return (
    <>
      <div className="card table-card">
        <table className="table">
          <caption className="visually-hidden">{t.outbox}</caption>
          <thead>
            <tr>
              <th scope="col">{userTexts.recipient}</th>
              <th scope="col">{t.state}</th>
              <th scope="col" className="wide-only">
                {t.created}
              </th>
              <td />
            </tr>
          </thead>
          <tbody>
            {data.mails.map((mail) => (
              <tr key={mail.id}>
                <td>
                  {mayReadUsers && mail.userId !== '' ? (
                    <Link to={`users/${mail.userId}`}>{mail.recipient}</Link>
                  ) : (
                    mail.recipient
                  )}
                  <div className="muted">{mail.subject}</div>
                </td>
                <td>
                  <span className={`badge ${TONES[mail.state] ?? ''}`}>
                    {userTexts.mailStates[mail.state] ?? t.unknown}
                  </span>
                  {mail.state === MailState.WAITING && mail.nextAttemptTime !== undefined && mail.attempts > 0 && (
                    <div className="muted">
                      {userTexts.nextAttempt} <Time of={mail.nextAttemptTime} />
                    </div>
                  )}
                  {mail.lastError !== '' && mail.state !== MailState.SENT && (
                    <div className="bad-text">{mail.lastError}</div>
                  )}
                  {mail.attempts > 0 && mail.state !== MailState.SENT && (
                    <div className="muted">{userTexts.attempts(mail.attempts)}</div>
                  )}
                </td>
                <td className="wide-only">
                  <Time of={mail.createTime} />
                </td>
                <td className="row-actions">
                  {mayResend && mail.state !== MailState.SENT && (
                    <>
                      <RowAction label={t.show} about={nameOf(mail)} onAct={() => void show(mail)} />
                      <RowAction label={userTexts.resend} about={nameOf(mail)} onAct={() => void resend(mail)} />
                    </>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages.pager(data.nextPageToken)}
      {shown !== undefined && (
        <Dialog title={shown.mail.subject} onClose={() => setShown(undefined)} isWide>
          <p className="muted">{shown.mail.recipient}</p>
          <pre className="code">{shown.text}</pre>
        </Dialog>
      )}
      {fresh.dialog}
    </>
  );
}

const nameOf = ({ subject, recipient }: Mail): string => `${subject}, ${recipient}`;
