import type { Role } from '@kith/client/roles';
import { t } from '../texts.ts';
import { Select, type SelectProps } from './form.tsx';

export interface RoleSelectProps extends Pick<SelectProps, 'isLabelHidden'> {
  readonly value: Role;
  readonly onChange: (role: Role) => void;
}

export function RoleSelect({ value, onChange, ...select }: RoleSelectProps) {
  return (
    <Select
      label={t.role}
      value={String(value)}
      options={Object.entries(t.roles)}
      onChange={(chosen) => onChange(Number(chosen) as Role)}
      {...select}
    />
  );
}
