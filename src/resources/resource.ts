import { type KithActivity, recordActivity } from '../activity/log/log.ts';
import { type App, atOneTime } from '../app.ts';
import { Failure } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import { checkEtag } from '../storage/etag.ts';

/** The columns of every resource that has an etag and can be undeleted. Times in milliseconds since 1970. */
export interface ResourceRow {
  readonly id: string;
  readonly update_ms: number;
  /** Null unless the resource is deleted. */
  readonly delete_ms: number | null;
  /** When a deleted resource is removed for good; null unless it is deleted. */
  readonly purge_ms: number | null;
  readonly revision: number;
}

/** One resource and a caller who reads or changes it. */
export interface Resource<Row extends ResourceRow> {
  /** In messages, and in the actions of activities: `kith.NOUN.updated`. */
  readonly noun: string;
  /** Changes with the same key run one after the other in this process. */
  readonly lockKey: string;
  readonly select: (db: Db) => Promise<Row | undefined>;
  /** The refusal if there is no such resource. */
  readonly notFound: () => Failure;
  /** Throws if the caller may not change the resource. */
  readonly authorize: (row: Row) => void;
  /** Writes the row in its next revision, and all that is derived from it. */
  readonly write: (tx: Db, at: App, next: Row, row: Row) => Promise<void>;
  /** The activity of a change, without its action. */
  readonly activity: (row: Row) => Omit<KithActivity, 'action'>;
}

export type ChangeKind = 'update' | 'delete' | 'undelete';

/** A change of a resource that is decided on in its transaction. */
export interface Change<Row extends ResourceRow> {
  /** The columns to change. Revision, update time and deletion are set for every change alike. */
  readonly columns: Partial<Omit<Row, keyof ResourceRow>>;
  /** Attributes of the activity, beside those of every change. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Runs in the transaction, after the row is written and the activity is recorded. */
  readonly afterwards?: (next: Row) => Promise<unknown>;
}

/** What a change is decided on by. `at` is the app at the one time of the change. */
export interface Changing<SomeApp extends App, Row extends ResourceRow> {
  readonly tx: Db;
  readonly at: SomeApp;
  readonly row: Row;
}

/** Reads a resource, deleted or not. One past its purge time counts as purged. Throws `resource.notFound()`. */
export async function readResource<Row extends ResourceRow>(
  app: Pick<App, 'now'>,
  db: Db,
  resource: Pick<Resource<Row>, 'select' | 'notFound'>,
): Promise<Row> {
  const row = await resource.select(db);
  if (row === undefined || (row.purge_ms !== null && row.purge_ms <= app.now())) throw resource.notFound();
  return row;
}

/**
 * Reads a resource that the caller may change. Authorizes first: that refusal reveals nothing about the resource.
 *
 * Throws `resource.notFound()`, what `resource.authorize` throws, etag_mismatch, and resource_deleted or, to
 * undelete, resource_not_deleted.
 */
export async function readToChange<Row extends ResourceRow>(
  app: Pick<App, 'now'>,
  db: Db,
  resource: Resource<Row>,
  etag: string | undefined,
  kind: ChangeKind = 'update',
): Promise<Row> {
  const row = await readResource(app, db, resource);
  resource.authorize(row);
  checkEtag(row, etag);
  const { noun } = resource;
  if (kind === 'undelete') {
    if (row.delete_ms === null) throw new Failure('resource_not_deleted', `the ${noun} is not deleted`);
  } else if (row.delete_ms !== null) {
    throw new Failure('resource_deleted', `the ${noun} is deleted: undelete it first`);
  }
  return row;
}

/**
 * Changes a resource in a transaction, with one reading of the clock, and records the activity. Changes
 * nothing if `decide` returns undefined. Returns the row as it is then. Throws what readToChange and `decide` throw.
 */
export function changeResource<SomeApp extends App, Row extends ResourceRow>(
  app: SomeApp,
  kind: ChangeKind,
  resource: Resource<Row>,
  etag: string | undefined,
  decide: (changing: Changing<SomeApp, Row>) => Change<Row> | undefined | Promise<Change<Row> | undefined>,
): Promise<Row> {
  return app.database.transaction(
    (tx) => changeWithin(tx, atOneTime(app), kind, resource, etag, decide),
    resource.lockKey,
  );
}

/** As changeResource, in a transaction of the caller's. `at` is the app at the one time of the change. */
export async function changeWithin<SomeApp extends App, Row extends ResourceRow>(
  tx: Db,
  at: SomeApp,
  kind: ChangeKind,
  resource: Resource<Row>,
  etag: string | undefined,
  decide: (changing: Changing<SomeApp, Row>) => Change<Row> | undefined | Promise<Change<Row> | undefined>,
): Promise<Row> {
  const row = await readToChange(at, tx, resource, etag, kind);
  const change = await decide({ tx, at, row });
  if (change === undefined) return row;
  const revision = { update_ms: at.now(), revision: row.revision + 1 };
  const next: Row = { ...row, ...change.columns, ...deletionOf(kind, at), ...revision };
  await resource.write(tx, at, next, row);
  const activity = resource.activity(next);
  const attributes = { ...activity.attributes, ...change.attributes };
  await recordActivity(tx, at, { ...activity, action: `kith.${resource.noun}.${kind}d`, attributes });
  await change.afterwards?.(next);
  return next;
}

function deletionOf(kind: ChangeKind, { now, purgeAfterMs }: App): Partial<ResourceRow> {
  if (kind === 'update') return {};
  return kind === 'delete' ? { delete_ms: now(), purge_ms: now() + purgeAfterMs } : { delete_ms: null, purge_ms: null };
}
