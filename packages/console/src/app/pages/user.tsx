import { ActivityService } from '@kith/client/activity';
import { SecondFactorService } from '@kith/client/second-factor';
import { type User, UserService, UserState } from '@kith/client/users';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { Permission, useConsole, useMay, useService } from '../context.tsx';
import { ActivityList } from '../parts/activity-list.tsx';
import { Avatar } from '../parts/avatar.tsx';
import { KeyTable, SessionTable } from '../parts/credentials.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { useFreshSignIn } from '../parts/fresh-sign-in.tsx';
import { StateBadge } from '../parts/state-badge.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { describeFailure } from '../failures.ts';
import { Link } from '../router.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

const EditUser = lazy(() => import('./edit-user.tsx'));
const EditMetadata = lazy(() => import('./edit-metadata.tsx'));
const SetPassword = lazy(() => import('./set-password.tsx'));

export default function UserPage({ userId }: { readonly userId: string }) {
  const users = useService(UserService, 'User');
  const {
    data: user,
    error,
    refetch,
  } = useQuery({
    queryKey: ['user', userId],
    queryFn: async ({ signal }) => (await users.get({ userId }, { signal })).user,
  });
  useTitle(user?.name ?? t.users);
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (user === undefined) return <Skeleton />;
  return <Details user={user} />;
}

function Details({ user }: { readonly user: User }) {
  const mayReadCredentials = useMay(Permission.CREDENTIALS_READ);
  const { data: details } = useUserDetails(user.id);
  return (
    <>
      <p>
        <Link to="users">← {t.users}</Link>
      </p>
      <div className="page-head">
        <Avatar name={user.name} isLarge />
        <div className="page-title">
          <h1>{user.name}</h1>
          <p className="badges">
            <span className="badge">{t.roles[user.role]}</span>
            <StateBadge state={user.state} />
          </p>
        </div>
        <UserActions user={user} />
      </div>
      <div className="columns">
        <section className="card" aria-labelledby="profile">
          <div className="card-head">
            <h2 id="profile">{userTexts.profile}</h2>
            <AsCode call={() => ({ method: 'kith.user.v1.UserService/GetUser', body: { userId: user.id } })} />
          </div>
          <dl className="facts">
            <Fact label={t.username}>{user.username}</Fact>
            <Fact label={t.email}>{user.email}</Fact>
            <Fact label={userTexts.emailVerified}>
              <Time of={user.emailVerifiedTime} />
            </Fact>
            <Fact label={t.created}>
              <Time of={user.createTime} />
            </Fact>
            <Fact label={userTexts.lastSignIn}>
              <Time of={user.lastSignInTime} />
            </Fact>
            <Fact label={userTexts.contactCount}>{details?.contactCount ?? '…'}</Fact>
            {user.externalId !== '' && <Fact label={userTexts.externalId}>{user.externalId}</Fact>}
            <Fact label={userTexts.userId}>
              <code>{user.id}</code>
            </Fact>
            {user.publicMetadata !== '' && (
              <Fact label={userTexts.publicMetadata}>
                <code>{user.publicMetadata}</code>
              </Fact>
            )}
            {user.privateMetadata !== '' && (
              <Fact label={userTexts.privateMetadata}>
                <code>{user.privateMetadata}</code>
              </Fact>
            )}
          </dl>
        </section>
        <LatestActivity userId={user.id} />
      </div>
      {mayReadCredentials && (
        <>
          <SessionTable userId={user.id} />
          <KeyTable userId={user.id} />
        </>
      )}
    </>
  );
}

function useUserDetails(userId: string) {
  const users = useService(UserService, 'User');
  return useQuery({
    queryKey: ['user', userId, 'details'],
    queryFn: ({ signal }) => users.getDetails({ userId }, { signal }),
  });
}

function Fact({ label, children }: { readonly label: string; readonly children: React.ReactNode }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function LatestActivity({ userId }: { readonly userId: string }) {
  const activity = useService(ActivityService, 'UserActivity');
  const { data } = useQuery({
    queryKey: ['activity', userId],
    queryFn: async ({ signal }) => (await activity.list({ userId, pageSize: 8 }, { signal }).page()).activities,
  });
  return (
    <section className="card" aria-labelledby="latest">
      <div className="card-head">
        <h2 id="latest">{userTexts.recentActivity}</h2>
        <Link to={`activity?user=${userId}`}>{t.show}</Link>
      </div>
      {data === undefined ? <Skeleton rows={4} /> : <ActivityList activities={data} hasUser={false} />}
    </section>
  );
}

function UserActions({ user }: { readonly user: User }) {
  const { user: me } = useConsole();
  const users = useService(UserService, 'User');
  const secondFactor = useService(SecondFactorService, 'SecondFactor');
  const queries = useQueryClient();
  const mayWrite = useMay(Permission.USERS_WRITE);
  const maySetPasswords = useMay(Permission.CREDENTIALS_WRITE);
  const [opened, setOpened] = useState<'edit' | 'metadata' | 'password' | undefined>(undefined);
  const fresh = useFreshSignIn();
  const show = (changed: User) => {
    queries.setQueryData(['user', user.id], changed);
    void queries.invalidateQueries({ queryKey: ['users'] });
    void queries.invalidateQueries({ queryKey: ['activity', user.id] });
  };
  const attempt = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (thrown) {
      if (!fresh.handle(thrown)) notify(describeFailure(thrown), { isError: true });
      await queries.invalidateQueries({ queryKey: ['user', user.id] });
    }
  };
  const setState = (state: UserState) =>
    attempt(async () => {
      const { user: changed } = await users.update({ userId: user.id, etag: user.etag, state });
      show(changed);
      const isSuspended = state === UserState.SUSPENDED;
      notify(isSuspended ? userTexts.userSuspended(user.name) : userTexts.userActivated(user.name));
    });
  const restore = () =>
    attempt(async () => {
      show((await users.undelete({ userId: user.id })).user);
      notify(userTexts.userRestored(user.name));
    });
  const remove = () =>
    attempt(async () => {
      show((await users.delete({ userId: user.id, etag: user.etag })).user);
      notify(userTexts.userDeleted(user.name), { undo: () => void restore() });
    });
  const resetSecondFactor = () =>
    attempt(async () => {
      await secondFactor.reset({ userId: user.id });
      notify(userTexts.secondFactorReset);
    });
  if (!mayWrite) return null;
  if (user.state === UserState.DELETED)
    return (
      <div className="actions">
        <button type="button" className="button primary" onClick={() => void restore()}>
          {t.restore}
        </button>
      </div>
    );
  const isMe = user.id === me.id;
  return (
    <div className="actions">
      <button type="button" className="button primary" onClick={() => setOpened('edit')}>
        {t.edit}
      </button>
      <button type="button" className="button" onClick={() => setOpened('metadata')}>
        {userTexts.metadata}
      </button>
      {!isMe && user.state === UserState.ACTIVE && (
        <button type="button" className="button" onClick={() => void setState(UserState.SUSPENDED)}>
          {userTexts.suspend}
        </button>
      )}
      {user.state === UserState.SUSPENDED && (
        <button type="button" className="button" onClick={() => void setState(UserState.ACTIVE)}>
          {userTexts.activate}
        </button>
      )}
      {maySetPasswords && !isMe && (
        <>
          <button type="button" className="button" onClick={() => setOpened('password')}>
            {userTexts.setPassword}
          </button>
          <button type="button" className="button" onClick={() => void resetSecondFactor()}>
            {userTexts.resetSecondFactor}
          </button>
        </>
      )}
      {!isMe && (
        <button type="button" className="button danger" onClick={() => void remove()}>
          {t.delete}
        </button>
      )}
      <Suspense>
        {opened === 'edit' && <EditUser user={user} onSaved={show} onClose={() => setOpened(undefined)} />}
        {opened === 'metadata' && <EditMetadata user={user} onSaved={show} onClose={() => setOpened(undefined)} />}
        {opened === 'password' && <SetPassword user={user} onSaved={show} onClose={() => setOpened(undefined)} />}
      </Suspense>
      {fresh.dialog}
    </div>
  );
}
