import { ApiKeyService } from '@kith/client/api-keys';
import { Permission as PermissionValue } from '@kith/client/roles';
import { SessionService } from '@kith/client/sessions';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Permission, useConsole, useMay, useService } from '../context.tsx';
import { describeFailure } from '../failures.ts';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import { AsCode } from './as-code.tsx';
import { Failed, Skeleton } from './states.tsx';
import { Time } from './time.tsx';
import { notify } from './toasts.tsx';

interface OfUser {
  readonly userId: string;
}

/** The sessions of a user, which can be ended. */
export function SessionTable({ userId }: OfUser) {
  const { user: me } = useConsole();
  const sessions = useService(SessionService, 'Session');
  const queries = useQueryClient();
  const mayEnd = useMay(Permission.CREDENTIALS_WRITE) || userId === me.id;
  const { data, error, refetch } = useQuery({
    queryKey: ['sessions', userId],
    queryFn: async ({ signal }) => (await sessions.list({ userId }, { signal })).sessions,
  });
  const attempt = async (action: () => Promise<void>) => {
    await action().catch((thrown: unknown) => notify(describeFailure(thrown), { isError: true }));
    await queries.invalidateQueries({ queryKey: ['sessions', userId] });
  };
  const end = (sessionId: string) =>
    attempt(async () => {
      await sessions.revoke({ userId, sessionId });
      notify(userTexts.sessionsEnded(1));
    });
  const endAll = () =>
    attempt(async () => {
      const { revokedCount } = await sessions.revokeAll({ userId, keepCurrent: userId === me.id });
      notify(userTexts.sessionsEnded(revokedCount));
    });
  return (
    <section className="card table-card" aria-labelledby="sessions">
      <div className="card-head">
        <h2 id="sessions">{userTexts.sessions}</h2>
        <AsCode call={() => ({ method: 'kith.auth.v1.SessionService/ListSessions', body: { userId } })} />
        {mayEnd && (data?.length ?? 0) > 1 && (
          <button type="button" className="button" onClick={() => void endAll()}>
            {userId === me.id ? userTexts.endOthers : userTexts.endAll}
          </button>
        )}
      </div>
      {error !== null ? (
        <Failed error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Skeleton rows={2} />
      ) : data.length === 0 ? (
        <p className="muted pad">{userTexts.noSessions}</p>
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{userTexts.device}</th>
              <th scope="col" className="wide-only">
                {userTexts.address}
              </th>
              <th scope="col">{userTexts.lastUsed}</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {data.map((session) => (
              <tr key={session.id}>
                <td>
                  {deviceOf(session.userAgent)}{' '}
                  {session.current && <span className="badge good">{userTexts.thisSession}</span>}
                </td>
                <td className="wide-only">{session.address}</td>
                <td>
                  <Time of={session.lastUsedTime} />
                </td>
                <td className="row-actions">
                  {mayEnd && !session.current && (
                    <button type="button" className="link" onClick={() => void end(session.id)}>
                      {userTexts.end}
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** A browser and a system in short, of a User-Agent; other clients say what they are. */
function deviceOf(userAgent: string): string {
  const browser = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'].find((name) => userAgent.includes(`${name}/`));
  if (browser === undefined) return userAgent === '' ? t.unknown : userAgent;
  const system = ['Windows', 'Android', 'iPhone', 'iPad', 'Mac OS X', 'Linux'].find((name) => userAgent.includes(name));
  const named = { Edg: 'Edge', OPR: 'Opera' }[browser] ?? browser;
  return system === undefined ? named : `${named}, ${system.replace('Mac OS X', 'macOS')}`;
}

/** A permission as it is written in the contract, in lower case. */
export function permissionName(permission: PermissionValue): string {
  const [name] = Object.entries(PermissionValue).find(([, value]) => value === permission) ?? [];
  return (name ?? t.unknown).toLowerCase().replaceAll('_', ' ');
}

/** The API keys of a user, which can be revoked. */
export function KeyTable({ userId }: OfUser) {
  const { user: me } = useConsole();
  const apiKeys = useService(ApiKeyService, 'ApiKey');
  const queries = useQueryClient();
  const mayRevoke = useMay(Permission.CREDENTIALS_WRITE) || userId === me.id;
  const { data, error, refetch } = useQuery({
    queryKey: ['keys', userId],
    queryFn: async ({ signal }) => (await apiKeys.list({ userId }, { signal })).apiKeys,
  });
  const revoke = async (apiKeyId: string, name: string) => {
    try {
      await apiKeys.revoke({ userId, apiKeyId });
      notify(userTexts.keyRevoked(name));
    } catch (thrown) {
      notify(describeFailure(thrown), { isError: true });
    }
    await queries.invalidateQueries({ queryKey: ['keys', userId] });
  };
  return (
    <section className="card table-card" aria-labelledby="keys">
      <div className="card-head">
        <h2 id="keys">{userTexts.apiKeys}</h2>
        <AsCode call={() => ({ method: 'kith.auth.v1.ApiKeyService/ListApiKeys', body: { userId } })} />
      </div>
      {error !== null ? (
        <Failed error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Skeleton rows={2} />
      ) : data.length === 0 ? (
        <p className="muted pad">{userTexts.noKeys}</p>
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{t.name}</th>
              <th scope="col" className="wide-only">
                {userTexts.permissions}
              </th>
              <th scope="col">{userTexts.lastUsed}</th>
              <th scope="col" className="wide-only">
                {userTexts.expires}
              </th>
              <td />
            </tr>
          </thead>
          <tbody>
            {data.map((key) => (
              <tr key={key.id}>
                <td>
                  {key.name} <code className="muted">…{key.secretHint}</code>
                </td>
                <td className="wide-only">{key.permissions.map(permissionName).join(', ')}</td>
                <td>
                  <Time of={key.lastUsedTime} />
                </td>
                <td className="wide-only">
                  <Time of={key.expireTime} />
                </td>
                <td className="row-actions">
                  {mayRevoke && (
                    <button type="button" className="link" onClick={() => void revoke(key.id, key.name)}>
                      {userTexts.revoke}
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
