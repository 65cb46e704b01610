import './overview.css';
import { ActivityService } from '@kith/client/activity';
import { AdminService, LogLevel } from '@kith/client/admin';
import { useQuery } from '@tanstack/react-query';
import { lazy, type ReactNode, Suspense } from 'react';
import { Permission, useConsole, useMay, useService } from '../context.tsx';
import { ActivityList } from '../parts/activity-list.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Time, toDate } from '../parts/time.tsx';
import { Link } from '../router.tsx';
import { activityTexts } from '../activity-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

/** Comes after the numbers, with what draws. */
const OverviewCharts = lazy(() => import('./overview-charts.tsx'));

/** How often what the server tells of itself is asked for, milliseconds. */
const REFRESH_MS = 3_000;

/** What there is to see at first: of the server for those who may, and what happened last. */
export default function Overview() {
  useTitle(t.overview);
  const { user } = useConsole();
  const mayReadServer = useMay(Permission.SERVER_READ);
  return (
    <>
      <div className="page-head">
        <h1>{activityTexts.welcome(user.name)}</h1>
        {mayReadServer && <AsCode call={() => ({ method: 'kith.admin.v1.AdminService/GetStatus', body: {} })} />}
      </div>
      {mayReadServer ? <Status /> : <Latest />}
    </>
  );
}

function Status() {
  const admin = useService(AdminService, 'Admin');
  const { data, error, refetch } = useQuery({
    queryKey: ['status'],
    refetchInterval: REFRESH_MS,
    queryFn: ({ signal }) => admin.getStatus({}, { signal }),
  });
  if (data === undefined)
    return error === null ? <Skeleton rows={6} /> : <Failed error={error} onRetry={() => void refetch()} />;
  const { process, database, activityLog, traffic, signingKeys, budgets, queues, logLevel } = data;
  const [logLevelName = t.unknown] = Object.entries(LogLevel).find(([, level]) => level === logLevel?.level) ?? [];
  return (
    <>
      <div className="tiles">
        <Tile label={activityTexts.database} tone={database?.available === true ? 'good' : 'bad'}>
          {database?.available === true ? activityTexts.available : activityTexts.unavailable}
          <small>
            {database?.kind} {database?.serverVersion}
          </small>
        </Tile>
        <Tile label={activityTexts.version}>
          {process?.version}
          <small>Node {process?.nodeVersion}</small>
        </Tile>
        <Tile label={activityTexts.running}>
          {process?.startTime === undefined || process.currentTime === undefined
            ? t.unknown
            : lengthOf(toDate(process.currentTime).getTime() - toDate(process.startTime).getTime())}
          <small>
            {process?.hostname} · {process?.pid}
          </small>
        </Tile>
        <Tile label={activityTexts.connections}>
          {traffic?.connections}
          <small>
            {activityTexts.refusals}: {String(traffic?.connectionsRefused ?? 0)}
          </small>
        </Tile>
        <Tile label={activityTexts.watches}>
          {traffic?.http2Streams}
          <small>
            {activityTexts.behind}: {traffic?.watchesBehind}
          </small>
        </Tile>
        <Tile label={activityTexts.eventLog}>{Number(activityLog?.head ?? 0n).toLocaleString()}</Tile>
        <Tile label={activityTexts.migration}>
          <small>{database?.latestMigration}</small>
        </Tile>
        <Tile label={activityTexts.logLevel}>{logLevelName.toLowerCase()}</Tile>
      </div>
      <Suspense fallback={<Skeleton rows={6} />}>
        <OverviewCharts status={data} />
      </Suspense>
      <div className="columns">
        <section className="card table-card" aria-labelledby="budgets">
          <div className="card-head">
            <h2 id="budgets">{activityTexts.budgets}</h2>
          </div>
          <table className="table">
            <thead>
              <tr>
                <th scope="col">{t.name}</th>
                <th scope="col">{activityTexts.used}</th>
                <th scope="col">{activityTexts.refusals}</th>
              </tr>
            </thead>
            <tbody>
              {budgets.map(({ name, used, limit, refusals }) => (
                <tr key={name}>
                  <td>{name.replaceAll('_', ' ')}</td>
                  <td>
                    <Share label={name} used={Number(used)} limit={Number(limit)} />
                  </td>
                  <td>{String(refusals)}</td>
                </tr>
              ))}
              {queues.map(({ name, running, runningLimit, refusals }) => (
                <tr key={name}>
                  <td>{name.replaceAll('_', ' ')}</td>
                  <td>
                    <Share label={name} used={running} limit={runningLimit} />
                  </td>
                  <td>{String(refusals)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
        <div className="column">
          <Latest />
          <section className="card table-card" aria-labelledby="signing-keys">
            <div className="card-head">
              <h2 id="signing-keys">{activityTexts.signingKeys}</h2>
            </div>
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">{t.name}</th>
                  <th scope="col">{t.state}</th>
                  <th scope="col">{t.created}</th>
                </tr>
              </thead>
              <tbody>
                {signingKeys.map(({ kid, state, createTime }) => (
                  <tr key={kid}>
                    <td>
                      <code>{kid.slice(0, 12)}</code>
                    </td>
                    <td>{activityTexts.keyStates[state]}</td>
                    <td>
                      <Time of={createTime} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        </div>
      </div>
    </>
  );
}

interface TileProps {
  readonly label: string;
  readonly tone?: 'good' | 'bad';
  readonly children: ReactNode;
}

function Tile({ label, tone, children }: TileProps) {
  return (
    <div className={`tile ${tone ?? ''}`}>
      <span className="muted">{label}</span>
      <span className="tile-value">{children}</span>
    </div>
  );
}

/** How much of a limit is used, as a number and a bar. */
function Share({ label, used, limit }: { readonly label: string; readonly used: number; readonly limit: number }) {
  return (
    <span className="share">
      <meter aria-label={label} min={0} max={Math.max(1, limit)} high={limit * 0.8} value={used} />
      <span className="muted">
        {shorten(used)} / {shorten(limit)}
      </span>
    </span>
  );
}

const SHORT = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });
const shorten = (value: number) => SHORT.format(value);

function lengthOf(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60)];
  if (days > 0) return `${days} d ${hours} h`;
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

function Latest() {
  const { user } = useConsole();
  const activity = useService(ActivityService, 'UserActivity');
  const mayReadAll = useMay(Permission.ACTIVITY_READ);
  const userId = mayReadAll ? '' : user.id;
  const { data, error } = useQuery({
    queryKey: ['activity', userId, 'latest'],
    queryFn: async ({ signal }) => (await activity.list({ userId, pageSize: 10 }, { signal }).page()).activities,
  });
  return (
    <section className="card" aria-labelledby="latest">
      <div className="card-head">
        <h2 id="latest">{activityTexts.latest}</h2>
        <Link to="activity">{t.show}</Link>
      </div>
      {error !== null ? (
        <Failed error={error} />
      ) : data === undefined ? (
        <Skeleton rows={4} />
      ) : (
        <ActivityList activities={data} />
      )}
    </section>
  );
}
