import { UserState } from '@kith/client/users';
import { t } from '../texts.ts';

export function StateBadge({ state }: { readonly state: UserState }) {
  const tone = { [UserState.ACTIVE]: 'good', [UserState.SUSPENDED]: 'warn', [UserState.DELETED]: 'bad' }[
    state as number
  ];
  return <span className={`badge ${tone ?? ''}`}>{t.states[state] ?? t.unknown}</span>;
}
