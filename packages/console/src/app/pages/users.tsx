import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { Role, type User, UserOrder, type UserState } from '@kith/client/contract';
import { useState } from 'react';
import { Permission, useConsole, useMay } from '../context.tsx';
import { Avatar } from '../parts/avatar.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form, Select } from '../parts/form.tsx';
import { StateBadge } from '../parts/state-badge.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { Link, navigate, useQueryParameters } from '../router.tsx';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { useTitle } from '../use-title.ts';

const PAGE_SIZE = 50;

/** The users, page by page: what a page costs does not depend on how many there are. */
export default function Users() {
  useTitle(t.users);
  const [parameters, setParameters] = useQueryParameters();
  const [isCreating, setCreating] = useState(false);
  const mayWrite = useMay(Permission.USERS_WRITE);
  const read = (name: string) => parameters.get(name) ?? '';
  const filter = {
    query: useDelayed(read('q')),
    roles: numbersOf(read('role'), t.roles) as Role[],
    states: numbersOf(read('state'), t.states) as UserState[],
    order: (numbersOf(read('order'), t.orders)[0] ?? UserOrder.UNSPECIFIED) as UserOrder,
  };
  return (
    <>
      <div className="page-head">
        <h1>{t.users}</h1>
        <AsCurl
          call={() => ({
            method: 'kith.user.v1.UserService/ListUsers',
            body: { ...filter, pageSize: PAGE_SIZE, includeTotalSize: true },
          })}
        />
        {mayWrite && (
          <button type="button" className="button primary" data-shortcut="create" onClick={() => setCreating(true)}>
            {t.newUser}
          </button>
        )}
      </div>
      <div className="filters">
        <input
          type="search"
          aria-label={t.usersSearch}
          placeholder={t.usersSearch}
          data-shortcut="search"
          maxLength={100}
          value={read('q')}
          onChange={({ target }) => setParameters({ q: target.value })}
        />
        <Select
          label={t.role}
          isLabelHidden
          value={read('role')}
          options={[['', t.allRoles], ...Object.entries(t.roles)]}
          onChange={(role) => setParameters({ role })}
        />
        <Select
          label={t.state}
          isLabelHidden
          value={read('state')}
          options={[['', t.allStates], ...Object.entries(t.states)]}
          onChange={(state) => setParameters({ state })}
        />
        <Select
          label={t.order}
          isLabelHidden
          value={read('order') || '1'}
          options={Object.entries(t.orders)}
          onChange={(order) => setParameters({ order: order === '1' ? '' : order })}
        />
      </div>
      <UserTable key={JSON.stringify(filter)} filter={filter} />
      {isCreating && <NewUser onClose={() => setCreating(false)} />}
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

function UserTable({ filter }: { readonly filter: Filter }) {
  const { kith } = useConsole();
  // The tokens of the pages that led here.
  const [tokens, setTokens] = useState<readonly string[]>(['']);
  const pageToken = tokens.at(-1) ?? '';
  const { data, error, refetch, isPlaceholderData } = useQuery({
    queryKey: ['users', filter, pageToken],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      kith.users.list({ ...filter, pageSize: PAGE_SIZE, includeTotalSize: true, pageToken }, { signal }).page(),
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <Skeleton rows={10} />;
  if (data.users.length === 0) return <Empty title={t.noUsers} lead={t.noUsersLead} />;
  return (
    <>
      <div className="card table-card" aria-busy={isPlaceholderData}>
        <table className="table">
          <caption className="visually-hidden">{t.users}</caption>
          <thead>
            <tr>
              <th scope="col">{t.name}</th>
              <th scope="col" className="wide-only">
                {t.email}
              </th>
              <th scope="col">{t.role}</th>
              <th scope="col">{t.state}</th>
              <th scope="col" className="wide-only">
                {t.lastSignIn}
              </th>
            </tr>
          </thead>
          <tbody>
            {data.users.map((user) => (
              <UserRow key={user.id} user={user} />
            ))}
          </tbody>
        </table>
      </div>
      <Pager
        number={tokens.length}
        total={data.totalSize === undefined ? '' : t.total(data.totalSize, data.totalSizeAtLeast)}
        onPrevious={tokens.length > 1 ? () => setTokens(tokens.slice(0, -1)) : undefined}
        onNext={data.nextPageToken === '' ? undefined : () => setTokens([...tokens, data.nextPageToken])}
      />
    </>
  );
}

function UserRow({ user }: { readonly user: User }) {
  return (
    <tr>
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
    </tr>
  );
}

interface PagerProps {
  readonly number: number;
  readonly total: string;
  readonly onPrevious: (() => void) | undefined;
  readonly onNext: (() => void) | undefined;
}

function Pager({ number, total, onPrevious, onNext }: PagerProps) {
  return (
    <div className="pager">
      <button type="button" className="button" disabled={onPrevious === undefined} onClick={onPrevious}>
        {t.previous}
      </button>
      <span className="muted">
        {t.page(number)}
        {total !== '' && ` · ${total}`}
      </span>
      <button type="button" className="button" disabled={onNext === undefined} onClick={onNext}>
        {t.next}
      </button>
    </div>
  );
}

function NewUser({ onClose }: { readonly onClose: () => void }) {
  const { kith } = useConsole();
  const queries = useQueryClient();
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  const [entered, setEntered] = useState({ name: '', username: '', email: '', password: '' });
  const [role, setRole] = useState<Role>(Role.VIEWER);
  const [mustChangePassword, setMustChange] = useState(true);
  const request = () => ({ ...entered, mustChangePassword, ...(mayGiveRoles && { role }) });
  const create = async () => {
    const { user } = await kith.users.create(request());
    await queries.invalidateQueries({ queryKey: ['users'] });
    onClose();
    notify(t.userCreated(user.name));
    navigate(`users/${user.id}`);
  };
  const field = (name: keyof typeof entered) => ({
    name,
    value: entered[name],
    onChange: (value: string) => setEntered((before) => ({ ...before, [name]: value })),
  });
  return (
    <Dialog title={t.newUser} onClose={onClose}>
      <Form
        action={t.create}
        onSubmit={create}
        onCancel={onClose}
        aside={<AsCurl call={() => ({ method: 'kith.user.v1.UserService/CreateUser', body: request() })} />}
      >
        {(errors) => (
          <>
            <Field label={t.name} autoComplete="off" error={errors.get('name')} {...field('name')} />
            <Field label={t.username} autoComplete="off" error={errors.get('username')} {...field('username')} />
            <Field label={t.email} type="email" autoComplete="off" error={errors.get('email')} {...field('email')} />
            <Field
              label={t.password}
              type="password"
              autoComplete="new-password"
              hint={t.passwordHint}
              error={errors.get('password') ?? errors.get('')}
              {...field('password')}
            />
            <Checkbox label={t.mustChange} checked={mustChangePassword} onChange={setMustChange} />
            {mayGiveRoles && (
              <Select
                label={t.role}
                value={String(role)}
                options={Object.entries(t.roles)}
                onChange={(value) => setRole(Number(value) as Role)}
              />
            )}
          </>
        )}
      </Form>
    </Dialog>
  );
}
