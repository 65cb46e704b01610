import { type Invitation, InvitationService } from '@kith/client/invitations';
import { Role } from '@kith/client/roles';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { settings } from '../../settings.ts';
import { Permission, useMay, useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { type Bulk, useBulk } from '../parts/bulk.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Form, TextArea } from '../parts/form.tsx';
import { usePages } from '../parts/pager.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Time, toDate } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { RoleSelect } from '../parts/role-select.tsx';
import { RowAction } from '../parts/row-action.tsx';
import { Link } from '../router.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

const PAGE_SIZE = 50;

/** As many as one dialog invites. */
const ADDRESSES_MAX = 200;

/** Who is invited to sign up, and has not yet. */
export default function Invitations() {
  useTitle(t.invitations);
  const [isInviting, setInviting] = useState(false);
  const queries = useQueryClient();
  const bulk = useBulk(() => void queries.invalidateQueries({ queryKey: ['invitations'] }));
  return (
    <>
      <p>
        <Link to="users">← {t.users}</Link>
      </p>
      <div className="page-head">
        <h1>{t.invitations}</h1>
        <AsCode
          call={() => ({
            method: 'kith.auth.v1.InvitationService/ListInvitations',
            body: { pageSize: PAGE_SIZE },
          })}
        />
        {settings.signUp !== 'closed' && (
          <button type="button" className="button primary" data-shortcut="create" onClick={() => setInviting(true)}>
            {userTexts.invite}
          </button>
        )}
      </div>
      <p className="notice">{userTexts.signUpPolicies[settings.signUp]}</p>
      <InvitationTable />
      {isInviting && <Invite bulk={bulk} onClose={() => setInviting(false)} />}
      {bulk.dialog}
    </>
  );
}

function InvitationTable() {
  const invitations = useService(InvitationService, 'Invitation');
  const queries = useQueryClient();
  const pages = usePages();
  const { pageToken } = pages;
  const { data, error, refetch, isPlaceholderData } = useQuery({
    queryKey: ['invitations', pageToken],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => invitations.list({ pageSize: PAGE_SIZE, pageToken }, { signal }).page(),
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <Skeleton rows={6} />;
  if (data.invitations.length === 0 && pages.isFirst)
    return <Empty title={userTexts.noInvitations} lead={userTexts.noInvitationsLead} />;
  const attempt = async (action: () => Promise<unknown>, done: string) => {
    try {
      await action();
      notify(done);
    } catch (thrown) {
      notify(describeFailure(thrown), { isError: true });
    }
    await queries.invalidateQueries({ queryKey: ['invitations'] });
  };
  const resend = ({ id, email }: Invitation) =>
    attempt(() => invitations.resend({ invitationId: id }), userTexts.resent(email));
  const revoke = ({ id, email }: Invitation) =>
    attempt(() => invitations.revoke({ invitationId: id }), userTexts.invitationRevoked(email));
  return (
    <>
      <div className="card table-card" aria-busy={isPlaceholderData}>
        <table className="table">
          <caption className="visually-hidden">{t.invitations}</caption>
          <thead>
            <tr>
              <th scope="col">{t.email}</th>
              <th scope="col" className="wide-only">
                {t.role}
              </th>
              <th scope="col" className="wide-only">
                {userTexts.invited}
              </th>
              <th scope="col">{userTexts.expires}</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {data.invitations.map((invitation) => (
              <tr key={invitation.id}>
                <td>{invitation.email}</td>
                <td className="wide-only">
                  <span className="badge">{t.roles[invitation.role]}</span>
                </td>
                <td className="wide-only">
                  <Time of={invitation.createTime} />
                </td>
                <td>
                  {isOver(invitation) ? (
                    <span className="badge bad">{userTexts.expired}</span>
                  ) : (
                    <Time of={invitation.expireTime} />
                  )}
                </td>
                <td className="row-actions">
                  <RowAction label={userTexts.resend} about={invitation.email} onAct={() => void resend(invitation)} />
                  <RowAction label={userTexts.revoke} about={invitation.email} onAct={() => void revoke(invitation)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages.pager(data.nextPageToken)}
    </>
  );
}

const isOver = ({ expireTime }: Invitation): boolean => expireTime !== undefined && toDate(expireTime) < new Date();

/** Invites one address or many: of many, each has a result of its own. */
function Invite({ bulk, onClose }: { readonly bulk: Bulk; readonly onClose: () => void }) {
  const invitations = useService(InvitationService, 'Invitation');
  const queries = useQueryClient();
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  const [text, setText] = useState('');
  const [role, setRole] = useState<Role>(Role.VIEWER);
  const addresses = [...new Set(text.split(/[\s,;]+/).filter((part) => part !== ''))];
  const request = (email: string) => ({ email, ...(mayGiveRoles && { role }) });
  const invite = async () => {
    const [first = ''] = addresses;
    if (addresses.length > 1) {
      onClose();
      bulk.start({
        title: userTexts.invite,
        items: addresses.slice(0, ADDRESSES_MAX),
        nameOf: (email) => email,
        run: { each: async (email) => (await invitations.create(request(email))).invitation },
        undo: { each: ({ result: { id } }) => invitations.revoke({ invitationId: id }) },
        done: userTexts.invitedMany,
      });
      return;
    }
    const { invitation } = await invitations.create(request(first));
    await queries.invalidateQueries({ queryKey: ['invitations'] });
    onClose();
    notify(userTexts.invitedOne(invitation.email));
  };
  return (
    <Dialog title={userTexts.invite} onClose={onClose}>
      <Form
        action={userTexts.invite}
        onSubmit={invite}
        onCancel={onClose}
        aside={
          <AsCode
            call={() => ({
              method: 'kith.auth.v1.InvitationService/CreateInvitation',
              body: request(addresses[0] ?? ''),
            })}
          />
        }
      >
        {(errors) => (
          <>
            <TextArea
              label={userTexts.emails}
              hint={userTexts.inviteHint(ADDRESSES_MAX)}
              rows={4}
              error={
                errors.get('email') ?? (addresses.length > ADDRESSES_MAX ? userTexts.tooMany(ADDRESSES_MAX) : undefined)
              }
              value={text}
              onChange={setText}
            />
            {mayGiveRoles && <RoleSelect value={role} onChange={setRole} />}
          </>
        )}
      </Form>
    </Dialog>
  );
}
