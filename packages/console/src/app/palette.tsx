import './palette.css';
import { UserService } from '@kith/client/users';
import { useQuery } from '@tanstack/react-query';
import { type KeyboardEvent, useState } from 'react';
import { Permission, useMay, useService } from './context.tsx';
import { Dialog } from './parts/dialog.tsx';
import { navigate } from './router.tsx';
import { t } from './texts.ts';
import { useDelayed } from './use-delayed.ts';

/** Goes to a page, a user or a contact by what is typed. */
export default function Palette({ onClose }: { readonly onClose: () => void }) {
  const users = useService(UserService, 'User');
  const mayReadUsers = useMay(Permission.USERS_READ);
  const mayWriteUsers = useMay(Permission.USERS_WRITE);
  const mayReadMails = useMay(Permission.CREDENTIALS_READ);
  const mayReadServer = useMay(Permission.SERVER_READ);
  const [typed, setTyped] = useState('');
  const [chosen, setChosen] = useState(0);
  const query = useDelayed(typed.trim());
  const { data: people = [] } = useQuery({
    queryKey: ['palette', 'users', query],
    enabled: query !== '' && mayReadUsers,
    queryFn: async ({ signal }) => (await users.list({ query, pageSize: 5 }, { signal }).page()).users,
  });
  const pages = [
    ['', t.overview],
    ...(mayReadUsers ? ([['users', t.users]] as const) : []),
    ['activity', t.activity],
    ['contacts', t.contacts],
    ...(mayWriteUsers
      ? ([
          ['users/invitations', t.invitations],
          ['users/import', t.importUsers],
        ] as const)
      : []),
    ['contacts/duplicates', t.duplicates],
    ['contacts/import', t.importContacts],
    ...(mayReadMails
      ? ([
          ['outbox', t.outbox],
          ['settings/mail', t.mailTemplates],
        ] as const)
      : []),
    ...(mayReadServer ? ([['settings', t.settings]] as const) : []),
    ['account', t.account],
  ] as const;
  const found = [
    ...pages
      .filter(([, label]) => label.toLowerCase().includes(typed.trim().toLowerCase()))
      .map(([to, label]) => ({ to, label, kind: '' })),
    ...people.map(({ id, name, username }) => ({ to: `users/${id}`, label: `${name} (${username})`, kind: t.users })),
  ];
  const at = Math.min(chosen, found.length - 1);
  const go = (to: string | undefined) => {
    if (to === undefined) return;
    onClose();
    navigate(to);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) setChosen((at + step + found.length) % Math.max(1, found.length));
    else if (event.key === 'Enter') go(found[at]?.to);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title={t.commands} onClose={onClose}>
      <input
        type="text"
        role="combobox"
        aria-label={t.commandsHint}
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length === 0 ? undefined : `palette-${at}`}
        placeholder={t.commandsHint}
        value={typed}
        onChange={({ target }) => {
          setTyped(target.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul className="palette" role="listbox" id="palette-list" aria-label={t.commands}>
        {found.map(({ to, label, kind }, i) => (
          <li key={to} id={`palette-${i}`} role="option" aria-selected={i === at} onClick={() => go(to)}>
            <span>{label}</span>
            <span className="muted">{kind}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
