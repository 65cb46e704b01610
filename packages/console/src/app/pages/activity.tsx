import { ActivityService, type UserActivity } from '@kith/client/activity';
import { KithError, watchOver, type WatchState } from '@kith/client/calls';
import { useEffect, useRef, useState } from 'react';
import { Permission, useConsole, useMay, useService } from '../context.tsx';
import { ActivityList } from '../parts/activity-list.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { useQueryParameters } from '../router.tsx';
import { activityTexts } from '../activity-texts.ts';
import { t } from '../texts.ts';
import { useDelayed } from '../use-delayed.ts';
import { useTitle } from '../use-title.ts';

/** How many activities the page holds: the oldest go, so that a tab that is open for days stays small. */
const SHOWN_MAX = 300;
const PAGE_SIZE = 50;

/** What happens, as it happens, of one user or of all. */
export default function Activity() {
  useTitle(t.activity);
  const { user: me } = useConsole();
  const mayReadAll = useMay(Permission.ACTIVITY_READ);
  const [parameters, setParameters] = useQueryParameters();
  const userId = useDelayed(mayReadAll ? (parameters.get('user') ?? '') : me.id);
  const prefix = useDelayed(parameters.get('action') ?? '');
  const filter = { userId, actionPrefixes: prefix === '' ? [] : [prefix] };
  return (
    <>
      <div className="page-head">
        <h1>{t.activity}</h1>
        <AsCode call={() => ({ method: 'kith.activity.v1.ActivityService/ListUserActivity', body: { ...filter } })} />
      </div>
      <div className="filters">
        <input
          type="search"
          aria-label={activityTexts.actionFilter}
          placeholder={activityTexts.actionFilter}
          data-shortcut="search"
          maxLength={100}
          value={parameters.get('action') ?? ''}
          onChange={({ target }) => setParameters({ action: target.value.trim() })}
        />
        {mayReadAll && (
          <input
            type="search"
            aria-label={activityTexts.ofUser}
            placeholder={activityTexts.ofUser}
            maxLength={36}
            value={parameters.get('user') ?? ''}
            onChange={({ target }) => setParameters({ user: target.value.trim() })}
          />
        )}
      </div>
      <Feed key={`${userId} ${prefix}`} filter={filter} />
    </>
  );
}

interface Filter {
  readonly userId: string;
  readonly actionPrefixes: string[];
}

function Feed({ filter }: { readonly filter: Filter }) {
  const { activities, state, hasGap, failure, older, isPaused, waiting, setPaused } = useFeed(filter);
  if (failure !== undefined) return <Failed error={failure} onRetry={() => location.reload()} />;
  if (activities === undefined) return <Skeleton rows={8} />;
  return (
    <>
      <div className="feed-head">
        <span className={`badge ${isPaused ? 'warn' : state === 'live' ? 'good' : 'warn'}`} role="status">
          {isPaused ? activityTexts.paused : stateText(state)}
        </span>
        <button type="button" className="button" onClick={() => setPaused(!isPaused)}>
          {isPaused ? activityTexts.resume : activityTexts.pause}
        </button>
        {waiting > 0 && (
          <button type="button" className="button primary" onClick={() => setPaused(false)}>
            {activityTexts.newEvents(waiting)}
          </button>
        )}
      </div>
      {hasGap && <p className="notice">{activityTexts.gap}</p>}
      <div className="card pad">
        <ActivityList activities={activities} heading="h2" />
        {older !== undefined && (
          <button type="button" className="button" onClick={older}>
            {activityTexts.older}
          </button>
        )}
      </div>
    </>
  );
}

function stateText(state: WatchState | 'lost'): string {
  if (state === 'live') return activityTexts.live;
  return state === 'lost' ? activityTexts.reconnecting : activityTexts.connecting;
}

/** Lists what there is, then watches from where the list ends: nothing is missed in between. */
function useFeed(filter: Filter) {
  const { calls } = useConsole();
  const activity = useService(ActivityService, 'UserActivity');
  const [activities, setActivities] = useState<readonly UserActivity[] | undefined>(undefined);
  const [state, setState] = useState<WatchState | 'lost'>('connecting');
  const [failure, setFailure] = useState<KithError | undefined>(undefined);
  const [hasGap, setGap] = useState(false);
  const [isPaused, setPausedState] = useState(false);
  const [waiting, setWaiting] = useState(0);
  const [olderToken, setOlderToken] = useState('');
  // What has come and is not shown yet, oldest first.
  const arrived = useRef<UserActivity[]>([]);
  const paused = useRef(false);
  const [first] = useState(filter);

  const flush = () => {
    const batch = arrived.current.splice(0).toReversed();
    if (batch.length > 0) setActivities((before = []) => [...batch, ...before].slice(0, SHOWN_MAX));
    setWaiting(0);
  };

  useEffect(() => {
    const ended = new AbortController();
    const { signal } = ended;
    // Once a frame at the most, however many come.
    let frame = 0;
    const show = () => {
      frame = 0;
      if (paused.current) setWaiting(arrived.current.length);
      else flush();
    };
    const run = async () => {
      const page = await activity.list({ ...first, pageSize: PAGE_SIZE }, { signal }).page();
      setActivities(page.activities);
      setOlderToken(page.nextPageToken);
      const { userId, actionPrefixes } = first;
      let wasLive = false;
      for await (const event of watchOver(calls, {
        userId,
        actionPrefixes,
        from: page.watchCursor,
        signal,
      })) {
        if (event.kind === 'gap') setGap(true);
        else if (event.kind === 'state') {
          wasLive ||= event.state === 'live';
          setState(event.state === 'connecting' && wasLive ? 'lost' : event.state);
        } else {
          arrived.current.push(event.activity);
          if (arrived.current.length > SHOWN_MAX) arrived.current.shift();
          frame ||= requestAnimationFrame(show);
        }
      }
    };
    run().catch((thrown: unknown) => {
      if (!signal.aborted) setFailure(KithError.from(thrown));
    });
    return () => {
      ended.abort();
      cancelAnimationFrame(frame);
    };
  }, [calls, activity, first]);

  const loadOlder = async () => {
    const page = await activity.list({ ...first, pageSize: PAGE_SIZE, pageToken: olderToken }).page();
    setActivities((before = []) => [...before, ...page.activities]);
    setOlderToken(page.nextPageToken);
  };
  return {
    activities,
    state,
    hasGap,
    failure,
    isPaused,
    waiting,
    older:
      olderToken === ''
        ? undefined
        : () => void loadOlder().catch((thrown: unknown) => setFailure(KithError.from(thrown))),
    setPaused(next: boolean) {
      paused.current = next;
      setPausedState(next);
      if (!next) flush();
    },
  };
}
