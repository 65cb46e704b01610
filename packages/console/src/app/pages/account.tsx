import { ApiKeyService } from '@kith/client/api-keys';
import { AuthService } from '@kith/client/auth';
import { SecondFactorService } from '@kith/client/second-factor';
import { UserService } from '@kith/client/users';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { type Permission, useConsole, useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { KeyTable, permissionName, SessionTable } from '../parts/credentials.tsx';
import { AsCode, CopyButton } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form } from '../parts/form.tsx';
import { useFreshSignIn } from '../parts/fresh-sign-in.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Time } from '../parts/time.tsx';
import { notify } from '../parts/toasts.tsx';
import { accountTexts } from '../account-texts.ts';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

const QrCode = lazy(() => import('../parts/qr-code.tsx'));

/** What people change of their own account. */
export default function Account() {
  useTitle(t.account);
  const { user } = useConsole();
  return (
    <>
      <div className="page-head">
        <h1>{t.account}</h1>
      </div>
      <div className="columns">
        <Profile />
        <Password />
      </div>
      <SecondFactor />
      <SessionTable userId={user.id} />
      <KeyTable userId={user.id} />
      <NewKey />
    </>
  );
}

function Profile() {
  const { user: first } = useConsole();
  const users = useService(UserService, 'User');
  const [user, setUser] = useState(first);
  const [name, setName] = useState(user.name);
  const save = async () => {
    const { user: saved } = await users.update({ userId: user.id, etag: user.etag, name });
    setUser(saved);
    notify(userTexts.userSaved(saved.name));
  };
  return (
    <section className="card pad" aria-labelledby="profile">
      <h2 id="profile">{userTexts.profile}</h2>
      <dl className="facts">
        <div>
          <dt>{t.username}</dt>
          <dd>{user.username}</dd>
        </div>
        <div>
          <dt>{t.email}</dt>
          <dd>{user.email}</dd>
        </div>
        <div>
          <dt>{t.role}</dt>
          <dd>{t.roles[user.role]}</dd>
        </div>
      </dl>
      <Form
        action={t.save}
        onSubmit={save}
        aside={
          <AsCode
            call={() => ({
              method: 'kith.user.v1.UserService/UpdateUser',
              body: { userId: user.id, etag: user.etag, name },
            })}
          />
        }
      >
        {(errors) => (
          <Field label={t.name} autoComplete="name" error={errors.get('name')} value={name} onChange={setName} />
        )}
      </Form>
    </section>
  );
}

function Password() {
  const auth = useService(AuthService, 'Auth');
  const queries = useQueryClient();
  const [currentPassword, setCurrent] = useState('');
  const [newPassword, setNew] = useState('');
  const fresh = useFreshSignIn();
  const save = async () => {
    try {
      await auth.changePassword({ currentPassword, newPassword });
    } catch (thrown) {
      if (fresh.handle(thrown)) return;
      throw thrown;
    }
    setCurrent('');
    setNew('');
    notify(accountTexts.passwordChanged);
    await queries.invalidateQueries({ queryKey: ['sessions'] });
  };
  return (
    <section className="card pad" aria-labelledby="password">
      <h2 id="password">{accountTexts.changePassword}</h2>
      <Form action={accountTexts.changePassword} onSubmit={save}>
        {(errors) => (
          <>
            <Field
              label={accountTexts.currentPassword}
              type="password"
              autoComplete="current-password"
              error={errors.get('currentPassword')}
              value={currentPassword}
              onChange={setCurrent}
            />
            <Field
              label={userTexts.newPassword}
              type="password"
              autoComplete="new-password"
              hint={userTexts.passwordHint}
              error={errors.get('newPassword')}
              value={newPassword}
              onChange={setNew}
            />
          </>
        )}
      </Form>
      {fresh.dialog}
    </section>
  );
}

type Enrolment = { readonly secret: string; readonly uri: string };

function SecondFactor() {
  const secondFactor = useService(SecondFactorService, 'SecondFactor');
  const queries = useQueryClient();
  const fresh = useFreshSignIn();
  const [enrolment, setEnrolment] = useState<Enrolment | undefined>(undefined);
  const [code, setCode] = useState('');
  const [codes, setCodes] = useState<readonly string[] | undefined>(undefined);
  const { data, error, refetch } = useQuery({
    queryKey: ['second-factor'],
    queryFn: ({ signal }) => secondFactor.get({}, { signal }),
  });
  const attempt = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (thrown) {
      if (!fresh.handle(thrown)) notify(describeFailure(thrown), { isError: true });
    }
    await queries.invalidateQueries({ queryKey: ['second-factor'] });
  };
  const enroll = () => attempt(async () => setEnrolment(await secondFactor.enrollTotp({})));
  const turnOff = () =>
    attempt(async () => {
      await secondFactor.disableTotp({});
      notify(accountTexts.turnedOff);
    });
  const replaceCodes = () => attempt(async () => setCodes((await secondFactor.replaceRecoveryCodes({})).recoveryCodes));
  const confirm = async () => {
    const { recoveryCodes } = await secondFactor.confirmTotp({ code });
    setEnrolment(undefined);
    setCode('');
    setCodes(recoveryCodes);
    await queries.invalidateQueries({ queryKey: ['second-factor'] });
  };
  return (
    <section className="card pad" aria-labelledby="second-factor">
      <h2 id="second-factor">{userTexts.secondFactor}</h2>
      {error !== null ? (
        <Failed error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Skeleton rows={1} />
      ) : data.totpEnabled ? (
        <>
          <p>
            {accountTexts.totpOn} <span className="muted">{accountTexts.codesLeft(data.recoveryCodesLeft)}</span>
          </p>
          <div className="actions">
            <button type="button" className="button" onClick={() => void replaceCodes()}>
              {accountTexts.newCodes}
            </button>
            <button type="button" className="button danger" onClick={() => void turnOff()}>
              {accountTexts.turnOff}
            </button>
            <span className="muted">
              <Time of={data.totpConfirmTime} />
            </span>
          </div>
        </>
      ) : (
        <>
          <p>{accountTexts.totpOff}</p>
          <div className="actions">
            <button type="button" className="button primary" onClick={() => void enroll()}>
              {accountTexts.setUp}
            </button>
          </div>
        </>
      )}
      {enrolment !== undefined && (
        <Dialog title={userTexts.secondFactor} onClose={() => setEnrolment(undefined)}>
          <p>{accountTexts.scan}</p>
          <Suspense>
            <QrCode text={enrolment.uri} />
          </Suspense>
          <p className="muted">
            {accountTexts.orType} <code>{enrolment.secret}</code>
          </p>
          <Form action={accountTexts.confirm} onSubmit={confirm} onCancel={() => setEnrolment(undefined)}>
            {(errors) => (
              <Field
                label={accountTexts.code}
                inputMode="numeric"
                autoComplete="one-time-code"
                error={errors.get('code')}
                value={code}
                onChange={setCode}
              />
            )}
          </Form>
        </Dialog>
      )}
      {codes !== undefined && (
        <ShownOnce
          title={accountTexts.codes}
          lead={accountTexts.codesLead}
          text={codes.join('\n')}
          onClose={() => setCodes(undefined)}
        />
      )}
      {fresh.dialog}
    </section>
  );
}

interface ShownOnceProps {
  readonly title: string;
  readonly lead: string;
  readonly text: string;
  readonly onClose: () => void;
}

/** A secret that is not shown again. */
function ShownOnce({ title, lead, text, onClose }: ShownOnceProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{lead}</p>
      <pre className="code">{text}</pre>
      <div className="actions">
        <button type="button" className="button primary" onClick={onClose}>
          {accountTexts.done}
        </button>
        <CopyButton text={text} />
      </div>
    </Dialog>
  );
}

function NewKey(): ReactNode {
  const { user, permissions } = useConsole();
  const apiKeys = useService(ApiKeyService, 'ApiKey');
  const queries = useQueryClient();
  const fresh = useFreshSignIn();
  const [isOpen, setOpen] = useState(false);
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<ReadonlySet<Permission>>(new Set());
  const [secret, setSecret] = useState<string | undefined>(undefined);
  const create = async () => {
    try {
      const { secret: created } = await apiKeys.create({ name, permissions: [...chosen] });
      setOpen(false);
      setName('');
      setChosen(new Set());
      setSecret(created);
    } catch (thrown) {
      if (!fresh.handle(thrown)) throw thrown;
    }
    await queries.invalidateQueries({ queryKey: ['keys', user.id] });
  };
  return (
    <div className="actions">
      <button type="button" className="button" onClick={() => setOpen(true)}>
        {accountTexts.newKey}
      </button>
      {isOpen && (
        <Dialog title={accountTexts.newKey} onClose={() => setOpen(false)}>
          <Form action={t.create} onSubmit={create} onCancel={() => setOpen(false)}>
            {(errors) => (
              <>
                <Field label={accountTexts.keyName} error={errors.get('name')} value={name} onChange={setName} />
                <fieldset className="choices">
                  <legend>{userTexts.permissions}</legend>
                  {[...permissions].map((permission) => (
                    <Checkbox
                      key={permission}
                      label={permissionName(permission)}
                      checked={chosen.has(permission)}
                      onChange={(checked) =>
                        setChosen((before) =>
                          checked ? new Set([...before, permission]) : before.difference(new Set([permission])),
                        )
                      }
                    />
                  ))}
                  {errors.has('permissions') && <span className="error">{errors.get('permissions')}</span>}
                </fieldset>
              </>
            )}
          </Form>
        </Dialog>
      )}
      {secret !== undefined && (
        <ShownOnce
          title={accountTexts.newKey}
          lead={accountTexts.keySecret}
          text={secret}
          onClose={() => setSecret(undefined)}
        />
      )}
      {fresh.dialog}
    </div>
  );
}
