import type { Role } from '@kith/client/roles';
import { type User, UserOrder, UserService, type UserState } from '@kith/client/users';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { Permission, useMay, useService } from '../context.tsx';
import { Avatar } from '../parts/avatar.tsx';
import { useBulk } from '../parts/bulk.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Select } from '../parts/form.tsx';
import { usePages } from '../parts/pager.tsx';
import { SelectAllBox, SelectBox, type Selection, SelectionBar, useSelection, useShown } from '../parts/selection.tsx';
import { StateBadge } from '../parts/state-badge.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { useTitle } from '../use-title.ts';

const NewUser = lazy(() => import('./new-user.tsx'));
const UserBulk = lazy(() => import('./user-bulk.tsx'));

const PAGE_SIZE = 50;

/** The users, page by page: what a page costs does not depend on how many there are. */
export default function Users() {
  useTitle(t.users);
  const [parameters, setParameters] = useQueryParameters();
  const [isCreating, setCreating] = useState(false);
  const mayWrite = useMay(Permission.USERS_WRITE);
  const selection = useSelection<User>();
  const queries = useQueryClient();
  const bulk = useBulk(() => {
    selection.clear();
    for (const key of ['users', 'user']) void queries.invalidateQueries({ queryKey: [key] });
  });
  const read = (name: string) => parameters.get(name) ?? '';
  const filter = {
    query: useDelayed(read('q')),
    roles: numbersOf(read('role'), t.roles) as Role[],
    states: numbersOf(read('state'), t.states) as UserState[],
    order: (numbersOf(read('order'), userTexts.orders)[0] ?? UserOrder.UNSPECIFIED) as UserOrder,
  };
  return (
    <>
      <div className="page-head">
        <h1>{t.users}</h1>
        <AsCode
          call={() => ({
            method: 'kith.user.v1.UserService/ListUsers',
            body: { ...filter, pageSize: PAGE_SIZE, includeTotalSize: true },
          })}
        />
        {mayWrite && (
          <div className="actions">
            <Link to="users/invitations" className="button">
              {t.invitations}
            </Link>
            <Link to="users/import" className="button">
              {t.importFile}
            </Link>
            <button type="button" className="button primary" data-shortcut="create" onClick={() => setCreating(true)}>
              {userTexts.newUser}
            </button>
          </div>
        )}
      </div>
      <div className="filters">
        <input
          type="search"
          aria-label={userTexts.usersSearch}
          placeholder={userTexts.usersSearch}
          data-shortcut="search"
          maxLength={100}
          value={read('q')}
          onChange={({ target }) => setParameters({ q: target.value })}
        />
        <Select
          label={t.role}
          isLabelHidden
          value={read('role')}
          options={[['', userTexts.allRoles], ...Object.entries(t.roles)]}
          onChange={(role) => setParameters({ role })}
        />
        <Select
          label={t.state}
          isLabelHidden
          value={read('state')}
          options={[['', userTexts.allStates], ...Object.entries(t.states)]}
          onChange={(state) => setParameters({ state })}
        />
        <Select
          label={userTexts.order}
          isLabelHidden
          value={read('order') || '1'}
          options={Object.entries(userTexts.orders)}
          onChange={(order) => setParameters({ order: order === '1' ? '' : order })}
        />
      </div>
      <UserTable key={JSON.stringify(filter)} filter={filter} selection={mayWrite ? selection : undefined} />
      <Suspense>
        {selection.items.length > 0 && (
          <SelectionBar selection={selection}>
            <UserBulk selection={selection} bulk={bulk} />
          </SelectionBar>
        )}
        {bulk.dialog}
        {isCreating && <NewUser onClose={() => setCreating(false)} />}
      </Suspense>
    </>
  );
}

interface Filter {
  readonly query: string;
  readonly roles: Role[];
  readonly states: UserState[];
  readonly order: UserOrder;
}

/** What an address says, where it is a value that there is. */
function numbersOf(text: string, names: Readonly<Record<string, string>>): number[] {
  return text in names ? [Number(text)] : [];
}

interface TableProps {
  readonly filter: Filter;
  /** Absent for those who may not change users. */
  readonly selection: Selection<User> | undefined;
}

function UserTable({ filter, selection }: TableProps) {
  const users = useService(UserService, 'User');
  const pages = usePages();
  const { pageToken } = pages;
  const { data, error, refetch, isPlaceholderData } = useQuery({
    queryKey: ['users', filter, pageToken],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      users.list({ ...filter, pageSize: PAGE_SIZE, includeTotalSize: true, pageToken }, { signal }).page(),
  });
  useShown(selection, data?.users);
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <Skeleton rows={10} />;
  if (data.users.length === 0) return <Empty title={userTexts.noUsers} lead={userTexts.noUsersLead} />;
  return (
    <>
      <div className="card table-card" aria-busy={isPlaceholderData}>
        <table className="table">
          <caption className="visually-hidden">{t.users}</caption>
          <thead>
            <tr>
              {selection !== undefined && (
                <td className="select-cell">
                  <SelectAllBox selection={selection} shown={data.users} />
                </td>
              )}
              <th scope="col">{t.name}</th>
              <th scope="col" className="wide-only">
                {t.email}
              </th>
              <th scope="col">{t.role}</th>
              <th scope="col">{t.state}</th>
              <th scope="col" className="wide-only">
                {userTexts.lastSignIn}
              </th>
            </tr>
          </thead>
          <tbody>
            {data.users.map((user, i) => (
              <tr key={user.id} data-selected={selection?.has(user.id)}>
                {selection !== undefined && (
                  <td className="select-cell">
                    <SelectBox selection={selection} shown={data.users} index={i} name={user.name} />
                  </td>
                )}
                <UserCells user={user} />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages.pager(
        data.nextPageToken,
        data.totalSize === undefined ? '' : userTexts.total(data.totalSize, data.totalSizeAtLeast),
      )}
    </>
  );
}

function UserCells({ user }: { readonly user: User }) {
  return (
    <>
      <td>
        <Link to={`users/${user.id}`} className="person">
          <Avatar name={user.name} />
          <span>
            <span className="person-name">{user.name}</span>
            <span className="muted">{user.username}</span>
          </span>
        </Link>
      </td>
      <td className="wide-only">{user.email}</td>
      <td>
        <span className="badge">{t.roles[user.role]}</span>
      </td>
      <td>
        <StateBadge state={user.state} />
      </td>
      <td className="wide-only">
        <Time of={user.lastSignInTime} />
      </td>
    </>
  );
}
