import { Role } from '@kith/client/roles';
import { type User, UserService, UserState } from '@kith/client/users';
import { useState } from 'react';
import { Permission, useConsole, useMay, useService } from '../context.tsx';
import type { Bulk } from '../parts/bulk.tsx';
import type { Selection } from '../parts/selection.tsx';
import { RoleSelect } from '../parts/role-select.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';

export interface UserBulkProps {
  readonly selection: Selection<User>;
  readonly bulk: Bulk;
}

/** What can be done with several users at once. Each of it can be taken back. */
export default function UserBulk({ selection, bulk }: UserBulkProps) {
  const { user: me } = useConsole();
  const users = useService(UserService, 'User');
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  const [role, setRole] = useState<Role>(Role.EDITOR);
  const { items } = selection;
  const nameOf = ({ name, username }: User) => `${name} (${username})`;
  // Nobody locks themselves out by a selection of all.
  const others = items.filter(({ id }) => id !== me.id);
  const inState = (...states: UserState[]) => others.filter(({ state }) => states.includes(state));
  const [active, suspended] = [inState(UserState.ACTIVE), inState(UserState.SUSPENDED)];

  const change = (title: string, changed: readonly User[], wanted: { state: UserState } | { role: Role }) =>
    bulk.start({
      title,
      items: changed,
      nameOf,
      run: { each: async ({ id, etag }) => (await users.update({ userId: id, etag, ...wanted })).user },
      undo: {
        each: ({ item: { state, role }, result: { id, etag } }) =>
          users.update({ userId: id, etag, ...('state' in wanted ? { state } : { role }) }),
      },
      done: userTexts.usersChanged,
    });
  const giveRole = () =>
    change(
      userTexts.giveRole,
      [...active, ...suspended].filter((user) => user.role !== role),
      { role },
    );
  const remove = () =>
    bulk.start({
      title: t.delete,
      items: [...active, ...suspended],
      nameOf,
      run: { each: async ({ id, etag }) => (await users.delete({ userId: id, etag })).user },
      undo: { each: ({ result: { id, etag } }) => users.undelete({ userId: id, etag }) },
      done: userTexts.usersDeleted,
    });
  return (
    <>
      {active.length > 0 && (
        <button
          type="button"
          className="button"
          onClick={() => change(userTexts.suspend, active, { state: UserState.SUSPENDED })}
        >
          {userTexts.suspend}
        </button>
      )}
      {suspended.length > 0 && (
        <button
          type="button"
          className="button"
          onClick={() => change(userTexts.activate, suspended, { state: UserState.ACTIVE })}
        >
          {userTexts.activate}
        </button>
      )}
      {mayGiveRoles && active.length + suspended.length > 0 && (
        <span className="actions">
          <RoleSelect isLabelHidden value={role} onChange={setRole} />
          <button type="button" className="button" onClick={giveRole}>
            {userTexts.giveRole}
          </button>
        </span>
      )}
      {active.length + suspended.length > 0 && (
        <button type="button" className="button danger" onClick={remove}>
          {t.delete}
        </button>
      )}
    </>
  );
}
