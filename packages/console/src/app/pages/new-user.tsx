import { Role } from '@kith/client/roles';
import { UserService } from '@kith/client/users';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Permission, useMay, useService } from '../context.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { RoleSelect } from '../parts/role-select.tsx';
import { navigate } from '../router.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';

export default function NewUser({ onClose }: { readonly onClose: () => void }) {
  const users = useService(UserService, 'User');
  const queries = useQueryClient();
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  const [entered, setEntered] = useState({ name: '', username: '', email: '', password: '' });
  const [role, setRole] = useState<Role>(Role.VIEWER);
  const [mustChangePassword, setMustChange] = useState(true);
  const request = () => ({ ...entered, mustChangePassword, ...(mayGiveRoles && { role }) });
  const create = async () => {
    const { user } = await users.create(request());
    await queries.invalidateQueries({ queryKey: ['users'] });
    onClose();
    notify(userTexts.userCreated(user.name));
    navigate(`users/${user.id}`);
  };
  const field = (name: keyof typeof entered) => ({
    name,
    value: entered[name],
    onChange: (value: string) => setEntered((before) => ({ ...before, [name]: value })),
  });
  return (
    <Dialog title={userTexts.newUser} onClose={onClose}>
      <Form
        action={t.create}
        onSubmit={create}
        onCancel={onClose}
        aside={<AsCode call={() => ({ method: 'kith.user.v1.UserService/CreateUser', body: request() })} />}
      >
        {(errors) => (
          <>
            <Field label={t.name} autoComplete="off" error={errors.get('name')} {...field('name')} />
            <Field label={t.username} autoComplete="off" error={errors.get('username')} {...field('username')} />
            <Field label={t.email} type="email" autoComplete="off" error={errors.get('email')} {...field('email')} />
            <Field
              label={userTexts.password}
              type="password"
              autoComplete="new-password"
              hint={userTexts.passwordHint}
              error={errors.get('password') ?? errors.get('')}
              {...field('password')}
            />
            <Checkbox label={userTexts.mustChange} checked={mustChangePassword} onChange={setMustChange} />
            {mayGiveRoles && <RoleSelect value={role} onChange={setRole} />}
          </>
        )}
      </Form>
    </Dialog>
  );
}
