import type { UserActivity } from '@kith/client/activity';
import { Permission, useMay } from '../context.tsx';
import { Link } from '../router.tsx';
import { activityTexts } from '../activity-texts.ts';
import { Empty } from './states.tsx';
import { clockOf, dayOf, toDate } from './time.tsx';

export interface ActivityListProps {
  /** Newest first. */
  readonly activities: readonly UserActivity[];
  /** Whether it is said whose each is. */
  readonly hasUser?: boolean;
  /** Of the days; one below the heading that the list stands under. */
  readonly heading?: 'h2' | 'h3';
}

/** Activities by day, the newest first. */
export function ActivityList({ activities, hasUser = true, heading: Heading = 'h3' }: ActivityListProps) {
  const mayReadUsers = useMay(Permission.USERS_READ);
  if (activities.length === 0) return <Empty title={activityTexts.noActivity} lead={activityTexts.noActivityLead} />;
  const days = Map.groupBy(activities, ({ eventTime }) => (eventTime === undefined ? '' : dayOf(toDate(eventTime))));
  return (
    <div className="activities">
      {[...days].map(([day, entries]) => (
        <section key={day} aria-label={day}>
          <Heading className="day">{day}</Heading>
          <ol>
            {entries.map(({ id, action, details, attributes, eventTime, userId, actorId }) => (
              <li key={id}>
                <span className="muted clock">{eventTime === undefined ? '' : clockOf(toDate(eventTime))}</span>
                <span className="what">
                  <code>{action}</code>
                  {details !== '' && <span>{details}</span>}
                  <span className="muted">
                    {Object.entries(attributes)
                      .map(([name, value]) => `${name}: ${value}`)
                      .join(', ')}
                  </span>
                  {hasUser && userId !== '' && mayReadUsers && (
                    <Link to={`users/${userId}`} className="muted">
                      {userId.slice(0, 13)}…
                    </Link>
                  )}
                  {actorId !== '' && actorId !== userId && (
                    <span className="muted">
                      {activityTexts.by} {actorId.slice(0, 13)}…
                    </span>
                  )}
                </span>
              </li>
            ))}
          </ol>
        </section>
      ))}
    </div>
  );
}
