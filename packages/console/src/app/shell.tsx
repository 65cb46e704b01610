import { lazy, type ReactNode, Suspense, useState, useSyncExternalStore } from 'react';
import { chooseLanguage, chooseScheme, language, readScheme, type Scheme } from '../preferences.ts';
import { Permission, useConsole, useMay } from './context.tsx';
import { Avatar } from './parts/avatar.tsx';
import { Boundary, Skeleton } from './parts/states.tsx';
import { Toasts } from './parts/toasts.tsx';
import { Link, usePath } from './router.tsx';
import { useShortcuts } from './shortcuts.ts';
import { t } from './texts.ts';
import { useTitle } from './use-title.ts';

const Overview = lazy(() => import('./pages/overview.tsx'));
const Users = lazy(() => import('./pages/users.tsx'));
const Invitations = lazy(() => import('./pages/invitations.tsx'));
const ImportUsers = lazy(() => import('./pages/import-users.tsx'));
const Outbox = lazy(() => import('./pages/outbox.tsx'));
const MailTemplates = lazy(() => import('./pages/mail-templates.tsx'));
const Settings = lazy(() => import('./pages/settings.tsx'));
const UserPage = lazy(() => import('./pages/user.tsx'));
const Activity = lazy(() => import('./pages/activity.tsx'));
const Contacts = lazy(() => import('./pages/contacts.tsx'));
const Duplicates = lazy(() => import('./pages/duplicates.tsx'));
const ImportContacts = lazy(() => import('./pages/import-contacts.tsx'));
const Account = lazy(() => import('./pages/account.tsx'));
const Palette = lazy(() => import('./palette.tsx'));
const ShortcutList = lazy(() => import('./shortcut-list.tsx'));

/** What is around every page. */
export function Shell() {
  const path = usePath();
  const [opened, setOpened] = useState<'palette' | 'shortcuts' | undefined>(undefined);
  useShortcuts({ onPalette: () => setOpened('palette'), onShortcuts: () => setOpened('shortcuts') });
  const isOnline = useSyncExternalStore(subscribeToOnline, () => navigator.onLine);
  return (
    <div className="shell">
      <a className="skip" href="#content" onClick={skipToContent}>
        {t.skip}
      </a>
      <SideBar onPalette={() => setOpened('palette')} onShortcuts={() => setOpened('shortcuts')} />
      <main id="content" tabIndex={-1}>
        {!isOnline && (
          <p className="notice" role="status">
            {t.offline}
          </p>
        )}
        <Boundary key={path[0] ?? ''}>
          <Suspense fallback={<Skeleton />}>
            <Page path={path} />
          </Suspense>
        </Boundary>
      </main>
      <Toasts />
      <Suspense>
        {opened === 'palette' && <Palette onClose={() => setOpened(undefined)} />}
        {opened === 'shortcuts' && <ShortcutList onClose={() => setOpened(undefined)} />}
      </Suspense>
    </div>
  );
}

function skipToContent(event: { preventDefault(): void }): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}

function subscribeToOnline(listener: () => void): () => void {
  addEventListener('online', listener);
  addEventListener('offline', listener);
  return () => {
    removeEventListener('online', listener);
    removeEventListener('offline', listener);
  };
}

function Page({ path: [section, id, ...rest] }: { readonly path: readonly string[] }): ReactNode {
  const mayReadUsers = useMay(Permission.USERS_READ);
  const mayWriteUsers = useMay(Permission.USERS_WRITE);
  const mayReadMails = useMay(Permission.CREDENTIALS_READ);
  const mayReadServer = useMay(Permission.SERVER_READ);
  if (rest.length > 0) return <NotFound />;
  if (section === undefined) return <Overview />;
  if (section === 'users' && mayWriteUsers && id === 'invitations') return <Invitations />;
  if (section === 'users' && mayWriteUsers && id === 'import') return <ImportUsers />;
  if (section === 'users' && mayReadUsers) return id === undefined ? <Users /> : <UserPage key={id} userId={id} />;
  if (section === 'activity' && id === undefined) return <Activity />;
  if (section === 'contacts' && id === 'import') return <ImportContacts />;
  if (section === 'contacts' && id === 'duplicates') return <Duplicates />;
  if (section === 'contacts') return <Contacts contactId={id} />;
  if (section === 'outbox' && id === undefined && mayReadMails) return <Outbox />;
  if (section === 'settings' && id === undefined && mayReadServer) return <Settings />;
  if (section === 'settings' && id === 'mail' && mayReadMails) return <MailTemplates />;
  if (section === 'account' && id === undefined) return <Account />;
  return <NotFound />;
}

function NotFound() {
  useTitle(t.notFound);
  return (
    <div className="empty">
      <h1>{t.notFound}</h1>
      <p>{t.notFoundLead}</p>
      <Link to="" className="button">
        {t.home}
      </Link>
    </div>
  );
}

interface SideBarProps {
  readonly onPalette: () => void;
  readonly onShortcuts: () => void;
}

function SideBar({ onPalette, onShortcuts }: SideBarProps) {
  const { user, signOut } = useConsole();
  const [current = ''] = usePath();
  const mayReadUsers = useMay(Permission.USERS_READ);
  const mayReadMails = useMay(Permission.CREDENTIALS_READ);
  const mayReadServer = useMay(Permission.SERVER_READ);
  const sections = [
    ['', t.overview, 'M3 11 12 4l9 7v9h-6v-6H9v6H3z'],
    ...(mayReadUsers
      ? [
          [
            'users',
            t.users,
            'M8 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM1 21a7 7 0 0 1 14 0M16 4a4 4 0 0 1 0 7M18 14a7 7 0 0 1 5 7',
          ],
        ]
      : []),
    ['activity', t.activity, 'M2 12h4l3-8 6 16 3-8h4'],
    [
      'contacts',
      t.contacts,
      'M5 3h14v18H5zM3 8h4M3 16h4M12 12a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM8 17a4 4 0 0 1 8 0',
    ],
    // A bar at the bottom of a narrow screen has room for six: there the settings lead to the mails.
    ...(mayReadMails ? [['outbox', t.outbox, 'M3 5h18v14H3zM3 6l9 7 9-7', mayReadServer ? 'wide-only' : '']] : []),
    ...(mayReadServer
      ? [
          [
            'settings',
            t.settings,
            'M4 7h8M18 7h2M15 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17h2M12 17h8M9 20a3 3 0 1 0 0-6 3 3 0 0 0 0 6z',
          ],
        ]
      : []),
    ['account', t.account, 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21a8 8 0 0 1 16 0'],
  ] as const;
  return (
    <header className="side">
      <div className="brand">
        <img src="icon.svg" alt="" width="26" height="26" />
        <span>{t.appName}</span>
      </div>
      <button type="button" className="button palette-button" onClick={onPalette}>
        <span>{t.commands}</span>
        <kbd>Ctrl K</kbd>
      </button>
      <nav aria-label={t.navigation}>
        {sections.map(([to = '', label, icon, className]) => (
          <Link key={to} to={to} className={className} aria-current={current === to ? 'page' : undefined}>
            <Icon path={icon ?? ''} />
            <span>{label}</span>
          </Link>
        ))}
      </nav>
      <div className="side-end">
        <Preferences />
        <button type="button" className="link quiet" onClick={onShortcuts}>
          {t.shortcuts}
        </button>
        <div className="me">
          <Avatar name={user.name} />
          <span className="me-name">
            <span className="visually-hidden">{t.signedInAs} </span>
            <span data-testid="signed-in-as">{user.name}</span>
          </span>
          <button type="button" className="link quiet" onClick={signOut}>
            {t.signOut}
          </button>
        </div>
      </div>
    </header>
  );
}

function Icon({ path }: { readonly path: string }) {
  return (
    <svg viewBox="0 0 24 24" width="19" height="19" aria-hidden="true" className="icon">
      <path d={path} />
    </svg>
  );
}

function Preferences() {
  const [scheme, setScheme] = useState(readScheme);
  return (
    <div className="preferences">
      <select
        aria-label={t.scheme}
        value={scheme}
        onChange={({ target }) => {
          chooseScheme(target.value as Scheme);
          setScheme(readScheme());
        }}
      >
        {Object.entries(t.schemes).map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <select
        aria-label={t.language}
        value={language}
        onChange={({ target }) => chooseLanguage(target.value === 'de' ? 'de' : 'en')}
      >
        <option value="en">English</option>
        <option value="de">Deutsch</option>
      </select>
    </div>
  );
}
