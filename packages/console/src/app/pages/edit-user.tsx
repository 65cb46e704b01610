import { KithError } from '@kith/client/calls';
import type { Role } from '@kith/client/roles';
import { type User, UserService } from '@kith/client/users';
import { useState } from 'react';
import { Permission, useMay, useService } from '../context.tsx';
import { Conflict, mergeVersions, type Values, type Versions } from '../parts/conflict.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Field, Form, Select } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';

/** The fields that the form has, as they are in the contract. */
const FIELDS = ['name', 'username', 'email', 'role'] as const;
type FieldName = (typeof FIELDS)[number];

const valuesOf = ({ name, username, email, role }: User): Values<FieldName> => ({
  name,
  username,
  email,
  role: String(role),
});
const shown = (field: FieldName, value: string) => (field === 'role' ? (t.roles[Number(value)] ?? value) : value);

export interface EditProps {
  readonly user: User;
  readonly onSaved: (user: User) => void;
  readonly onClose: () => void;
}

export default function EditUser({ user, onSaved, onClose }: EditProps) {
  const users = useService(UserService, 'User');
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  // The version that the form began with; after a conflict, the one that the next save replaces.
  const [base, setBase] = useState(user);
  const [entered, setEntered] = useState(valuesOf(user));
  const [conflict, setConflict] = useState<Versions<FieldName> | undefined>(undefined);
  const request = () => {
    const before = valuesOf(base);
    const changed = FIELDS.filter((field) => entered[field] !== before[field]);
    const changes = changed.map((field) => [field, field === 'role' ? (Number(entered.role) as Role) : entered[field]]);
    return {
      userId: user.id,
      etag: base.etag,
      ...(Object.fromEntries(changes) as Partial<Omit<Values<FieldName>, 'role'>> & { role?: Role }),
    };
  };
  const save = async () => {
    try {
      const { user: saved } = await users.update(request());
      onSaved(saved);
      onClose();
      notify(userTexts.userSaved(saved.name));
    } catch (thrown) {
      if (KithError.from(thrown).reason !== 'ETAG_MISMATCH') throw thrown;
      const { user: theirs } = await users.get({ userId: user.id });
      const versions = { before: valuesOf(base), theirs: valuesOf(theirs), mine: entered };
      setConflict(versions);
      setEntered(mergeVersions(versions));
      setBase(theirs);
      onSaved(theirs);
    }
  };
  const field = (name: FieldName) => ({
    name,
    value: entered[name],
    onChange: (value: string) => setEntered((before) => ({ ...before, [name]: value })),
  });
  return (
    <Dialog title={t.edit} onClose={onClose} isWide={conflict !== undefined}>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={<AsCode call={() => ({ method: 'kith.user.v1.UserService/UpdateUser', body: request() })} />}
      >
        {(errors) => (
          <>
            {conflict !== undefined && (
              <Conflict
                versions={conflict}
                entered={entered}
                labelOf={(name) => t[name]}
                shown={shown}
                onChoose={(name, value) => field(name).onChange(value)}
              />
            )}
            <Field label={t.name} error={errors.get('name')} {...field('name')} />
            <Field label={t.username} error={errors.get('username')} {...field('username')} />
            <Field label={t.email} type="email" error={errors.get('email')} {...field('email')} />
            {mayGiveRoles && <Select label={t.role} options={Object.entries(t.roles)} {...field('role')} />}
          </>
        )}
      </Form>
    </Dialog>
  );
}
