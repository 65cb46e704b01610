import { KithError } from '@kith/client';
import type { Role, User } from '@kith/client/contract';
import { useState } from 'react';
import { Permission, useConsole, useMay } from '../context.tsx';
import { AsCurl } from '../parts/curl.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Field, Form, Select } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { t } from '../texts.ts';

/** The fields that the form has, as they are in the contract. */
const FIELDS = ['name', 'username', 'email', 'role'] as const;
type FieldName = (typeof FIELDS)[number];
type Values = Readonly<Record<FieldName, string>>;

const valuesOf = ({ name, username, email, role }: User): Values => ({ name, username, email, role: String(role) });
const shown = (field: FieldName, value: string) => (field === 'role' ? (t.roles[Number(value)] ?? value) : value);

export interface EditProps {
  readonly user: User;
  readonly onSaved: (user: User) => void;
  readonly onClose: () => void;
}

export default function EditUser({ user, onSaved, onClose }: EditProps) {
  const { kith } = useConsole();
  const mayGiveRoles = useMay(Permission.ROLES_WRITE);
  // The version that the form began with; after a conflict, the one that the next save replaces.
  const [base, setBase] = useState(user);
  const [entered, setEntered] = useState(valuesOf(user));
  const [conflict, setConflict] = useState<{ before: Values; theirs: Values; mine: Values } | undefined>(undefined);
  const request = () => {
    const before = valuesOf(base);
    const changed = FIELDS.filter((field) => entered[field] !== before[field]);
    const changes = changed.map((field) => [field, field === 'role' ? (Number(entered.role) as Role) : entered[field]]);
    return {
      userId: user.id,
      etag: base.etag,
      ...(Object.fromEntries(changes) as Partial<Omit<Values, 'role'>> & { role?: Role }),
    };
  };
  const save = async () => {
    try {
      const { user: saved } = await kith.users.update(request());
      onSaved(saved);
      onClose();
      notify(t.userSaved(saved.name));
    } catch (thrown) {
      if (KithError.from(thrown).reason !== 'ETAG_MISMATCH') throw thrown;
      const { user: theirs } = await kith.users.get({ userId: user.id });
      const [before, now] = [valuesOf(base), valuesOf(theirs)];
      setConflict({ before, theirs: now, mine: entered });
      // What only they have changed stays as they have it.
      setEntered(
        Object.fromEntries(
          FIELDS.map((field) => [field, entered[field] === before[field] ? now[field] : entered[field]]),
        ) as Values,
      );
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
        aside={<AsCurl call={() => ({ method: 'kith.user.v1.UserService/UpdateUser', body: request() })} />}
      >
        {(errors) => (
          <>
            {conflict !== undefined && (
              <Conflict conflict={conflict} entered={entered} onChoose={(name, value) => field(name).onChange(value)} />
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

interface ConflictProps {
  readonly conflict: { readonly before: Values; readonly theirs: Values; readonly mine: Values };
  readonly entered: Values;
  readonly onChoose: (field: FieldName, value: string) => void;
}

/** The three versions of what differs, to choose from field by field. */
function Conflict({ conflict: { before, theirs, mine }, entered, onChoose }: ConflictProps) {
  const differing = FIELDS.filter((field) => theirs[field] !== before[field] || mine[field] !== before[field]);
  return (
    <div className="conflict" role="alert">
      <p>
        <strong>{t.conflict}.</strong> {t.conflictLead}
      </p>
      <table className="table">
        <thead>
          <tr>
            <td />
            <th scope="col">{t.conflictBefore}</th>
            <th scope="col">{t.conflictTheirs}</th>
            <th scope="col">{t.conflictMine}</th>
          </tr>
        </thead>
        <tbody>
          {differing.map((field) => (
            <tr key={field}>
              <th scope="row">{t[field]}</th>
              <td>{shown(field, before[field])}</td>
              {[theirs[field], mine[field]].map((value, i) => (
                <td key={i}>
                  <label className="checkbox">
                    <input
                      type="radio"
                      name={`conflict-${field}`}
                      checked={entered[field] === value}
                      onChange={() => onChoose(field, value)}
                    />
                    {shown(field, value)}
                  </label>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
