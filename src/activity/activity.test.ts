import { randomBytes, randomUUID, randomUUIDv7 } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { WireType } from '@bufbuild/protobuf/wire';
import { type Client, createClient } from '@connectrpc/connect';
import { decodeJwt } from 'jose';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../kernel/clock.ts';
import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import type { UserActivity } from '../../gen/kith/activity/v1/activity_pb.ts';
import {
  ActivityService,
  type ListUserActivityRequestSchema,
  ListUserActivityResponseSchema,
  type NewActivitySchema,
  WatchUserActivityRequestSchema,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { dumpButCounts } from '../../test/support/dump.ts';
import {
  ADMIN_PASSWORD,
  grpc,
  type Kith,
  refusalOf,
  type SignedIn,
  startKith,
  type StartOptions,
  protocols,
} from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { cursorAfter, cursorBefore, startWatch, Watch, type WatchRequest } from '../../test/support/watch.ts';
import { type Caller, PERMISSIONS_OF_ROLE } from '../kernel/access.ts';
import { purge } from '../purge.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { startRevocations } from '../identity/revocations/revocations.ts';
import { renew } from '../identity/sessions/sessions.ts';
import { createWatchLimits, watchActivities, type WatchApp } from './activity.ts';
import { readCursor } from './log/cursor.ts';
import { appendActivities } from './log/log.ts';
import { purgeActivities, purgeActivitiesOf } from './log/purge.ts';
import { comparePositions } from './log/store.ts';
import { Tail } from './log/tail.ts';
import { refreshed, signedIn } from '../../test/support/sign-in.ts';
import {
  FIELDS_INVALID,
  PAGE_TOKEN_INVALID,
  PERMISSION_MISSING,
  REQUEST_ID_REUSED,
  SESSION_ENDED,
  USER_NOT_FOUND,
} from '../../test/support/refusals.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** No progress is told in the time a test takes: what ends or wakes a watch is what happened. */
const NEVER_MS = 60 * MINUTE_MS;

const CURSOR_INVALID = { code: 'InvalidArgument', reason: 'CURSOR_INVALID' };
const CURSOR_EXPIRED = { code: 'OutOfRange', reason: 'CURSOR_EXPIRED' };

type NewActivity = MessageInitShape<typeof NewActivitySchema>;
type ListRequest = MessageInitShape<typeof ListUserActivityRequestSchema>;

/** About 11 kB that do not compress well, so that few of them fill what lies between a server and its reader. */
const BULK = {
  details: randomBytes(750).toString('base64url'),
  attributes: Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`key${i}`, randomBytes(375).toString('base64url')]),
  ),
};

/** `count` activities alike. */
const repeated = (count: number, activity: NewActivity): NewActivity[] => Array.from({ length: count }, () => activity);

const actionsOf = (activities: readonly UserActivity[]) => activities.map(({ action }) => action);
/** As they are shown to those who neither did it nor may read everybody's. */
const asSeenByOthers = (activities: readonly UserActivity[]): UserActivity[] =>
  activities.map((activity) => ({ ...activity, actorSessionId: '' }));
const idsOf = (activities: readonly UserActivity[]) => activities.map(({ id }) => id);

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let admin: SignedIn;
  let editor: SignedIn;

  /** A server on a fresh database, which goes with it. */
  const startFresh = (options: Omit<StartOptions, 'database'> = {}): Promise<Kith> =>
    startOn(kind, { server: { progressMs: NEVER_MS }, ...options });

  beforeAll(async () => {
    kith = await startFresh();
    [admin, editor] = await Promise.all([kith.admin(), kith.user(Role.EDITOR)]);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const activity = (who?: SignedIn, on = kith): Client<typeof ActivityService> =>
    on.client(ActivityService, who?.accessToken);
  const auth = (who?: SignedIn, on = kith) => on.client(AuthService, who?.accessToken);
  const contacts = (who: SignedIn, on = kith) => on.client(ContactService, who.accessToken);
  const users = (on = kith) => on.client(UserService, admin.accessToken);
  const record = async (...activities: NewActivity[]): Promise<UserActivity[]> =>
    (await activity(editor).recordUserActivity({ activities })).activities;
  /** Records actions of one user, in one call. */
  const recordOf = ({ user }: SignedIn, ...actions: string[]) =>
    record(...actions.map((action) => ({ userId: user.id, action })));

  /** All pages. */
  async function listAll(who: SignedIn, request: ListRequest = {}, on = kith): Promise<UserActivity[]> {
    const activities: UserActivity[] = [];
    for (let pageToken = ''; ; ) {
      const page = await activity(who, on).listUserActivity({ pageSize: 1000, ...request, pageToken });
      activities.push(...page.activities);
      if (page.nextPageToken === '') return activities;
      pageToken = page.nextPageToken;
    }
  }

  describe('RecordUserActivity', () => {
    test('keeps all that it was told, and says who told it and when', async () => {
      const { user } = await kith.user();
      const asked = {
        userId: user.id,
        action: 'shop.order_2.paid',
        details: 'Paid 12 €\nwith\ta card 🦉',
        attributes: { order: '42', 'Ω key': '', 'a.b': 'x'.repeat(500) },
        eventTime: timestampFromMs(1_000_000_000_123),
      };
      const before = Date.now();
      const [recorded] = await record(asked);
      expect(recorded).toMatchObject({ ...asked, actorId: editor.user.id });
      expect(recorded!.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(timestampMs(recorded!.recordTime!)).toBeGreaterThanOrEqual(before);
      expect(timestampMs(recorded!.recordTime!)).toBeLessThanOrEqual(Date.now());
      expect((await listAll(admin, { userId: user.id }))[0]).toEqual(recorded);
    });

    test('takes the time of recording when it is told none', async () => {
      const [recorded] = await recordOf(editor, 'page.viewed');
      expect(recorded).toMatchObject({ eventTime: recorded!.recordTime, details: '', attributes: {} });
    });

    test('takes a user id in upper case', async () => {
      const [recorded] = await record({ userId: editor.user.id.toUpperCase(), action: 'page.viewed' });
      expect(recorded!.userId).toBe(editor.user.id);
    });

    test('records a batch of 100 of several users in its order, and answers in it', async () => {
      const people = [await kith.user(), await kith.user(), editor];
      const asked = Array.from({ length: 100 }, (_, i) => ({
        userId: people[i % 3]!.user.id,
        action: `batch.n${i}`,
        eventTime: timestampFromMs(1_000_000 - i), // the order is that of the request
      }));
      const recorded = await record(...asked);
      expect(recorded).toMatchObject(asked);
      expect(new Set(idsOf(recorded))).toHaveLength(100);
      expect((await listAll(admin, { actionPrefixes: ['batch'] })).toReversed()).toEqual(recorded);
    });

    test.each([
      ['an action of 100 bytes', { action: 'a'.repeat(100) }],
      ['an action of one letter', { action: 'a' }],
      ['digits and underscores', { action: '0._._9' }],
      ['an action that only looks like one of Kith', { action: 'kithx.user' }],
      ['an action with kith further down', { action: 'app.kith.user' }],
      ['details of 1000 code points', { details: '🦉'.repeat(1000) }],
      ['20 attributes', { attributes: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, ''])) }],
      ['a key of 64 and a value of 500 code points', { attributes: { ['🦉'.repeat(64)]: '🦉'.repeat(500) } }],
      ['the first moment of 1970', { eventTime: timestampFromMs(0) }],
      ['the last moment of 9999', { eventTime: timestampFromMs(253_402_300_799_999) }],
    ] satisfies [string, Partial<NewActivity>][])('takes %s', async (_, given) => {
      const [recorded] = await record({ userId: editor.user.id, action: 'limit', ...given });
      expect(recorded).toMatchObject(given);
      const [listed] = (await activity(editor).listUserActivity({ userId: editor.user.id, pageSize: 1 })).activities;
      expect(listed).toEqual(recorded);
    });

    test.each([
      ['no action', { action: '' }],
      ['an action of 101 bytes', { action: 'a'.repeat(101) }],
      ['upper case in an action', { action: 'page.Viewed' }],
      ['a dot in front', { action: '.page' }],
      ['a dot at the end', { action: 'page.' }],
      ['two dots', { action: 'page..viewed' }],
      ['a dash', { action: 'page-viewed' }],
      ['a blank', { action: 'page viewed' }],
      ['a line feed after an action', { action: 'page\n' }],
      ['letters outside a-z', { action: 'pagé' }],
      ['details of 1001 code points', { details: 'x'.repeat(1001) }],
      ['a NUL in the details', { details: 'a\0b' }],
      ['a direction override in the details', { details: 'a\u202Eb' }],
      ['21 attributes', { attributes: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, ''])) }],
      ['an empty key', { attributes: { '': 'x' } }],
      ['a key of 65 code points', { attributes: { ['k'.repeat(65)]: 'x' } }],
      ['a line feed in a key', { attributes: { 'a\nb': 'x' } }],
      ['a value of 501 code points', { attributes: { k: 'x'.repeat(501) } }],
      ['a NUL in a value', { attributes: { k: '\0' } }],
      ['a time before 1970', { eventTime: timestampFromMs(-1) }],
      ['a time after 9999', { eventTime: timestampFromMs(253_402_300_800_000) }],
      ['a user id that is none', { userId: 'me' }],
    ] satisfies [string, Partial<NewActivity>][])('refuses %s, and all beside it', async (_, given) => {
      const before = await kith.database.dump();
      const good = { userId: editor.user.id, action: 'page.viewed' };
      expect(await refusalOf(record(good, { ...good, ...given }))).toMatchObject(FIELDS_INVALID);
      expect(await kith.database.dump()).toBe(before);
    });

    test.each([0, 101])('refuses %i activities', async (count) => {
      const activities = Array.from({ length: count }, () => ({ userId: editor.user.id, action: 'page.viewed' }));
      expect(await refusalOf(record(...activities))).toMatchObject(FIELDS_INVALID);
    });

    test.each(['kith', 'kith.x', 'kith.user.created'])('refuses the action %s, which is reserved', async (action) => {
      const before = await kith.database.dump();
      expect(await refusalOf(recordOf(editor, 'page.viewed', action))).toMatchObject({
        code: 'InvalidArgument',
        reason: 'ACTION_RESERVED',
        metadata: { action },
      });
      expect(await kith.database.dump()).toBe(before);
    });

    test('records none when one is of a user who does not exist or is deleted', async () => {
      const deleted = await kith.user();
      await users().deleteUser({ userId: deleted.user.id });
      const before = await kith.database.dump();
      const good = { userId: editor.user.id, action: 'page.viewed' };
      for (const userId of [randomUUIDv7(), randomUUID(), deleted.user.id]) {
        expect(await refusalOf(record(good, good, { ...good, userId }))).toMatchObject({
          ...USER_NOT_FOUND,
          metadata: { user_id: userId },
        });
      }
      expect(await kith.database.dump()).toBe(before);
    });

    test('records of a user who is suspended, or was deleted and is back', async () => {
      const [suspended, back] = await Promise.all([kith.user(), kith.user()]);
      await users().updateUser({ userId: suspended.user.id, state: UserState.SUSPENDED });
      await users().deleteUser({ userId: back.user.id });
      await users().undeleteUser({ userId: back.user.id });
      expect(await recordOf(suspended, 'page.viewed')).toHaveLength(1);
      expect(await recordOf(back, 'page.viewed')).toHaveLength(1);
    });

    test('records what concerns no user, for those who may read everybody’s', async () => {
      const [recorded] = await record({ action: 'nobody.service_started' });
      expect(recorded!.userId).toBe('');
      expect(await listAll(editor, { actionPrefixes: ['nobody'] })).toEqual([recorded]);
      expect(await listAll(editor, { userId: editor.user.id, actionPrefixes: ['nobody'] })).toEqual([]);
      await using watch = await startWatch(activity(editor), { actionPrefixes: ['nobody'] });
      const [next] = await record({ action: 'nobody.service_stopped' });
      expect(await watch.activity()).toEqual(next);
      expect(await refusalOf(activity(await kith.user()).listUserActivity({ userId: '' }))).toMatchObject({
        code: 'PermissionDenied',
      });
    });

    test('keeps with which session or API key it was done', async () => {
      const apiKeys = kith.client(ApiKeyService, editor.accessToken);
      const { apiKey, secret } = await apiKeys.createApiKey({
        name: 'recorder',
        permissions: [Permission.ACTIVITY_RECORD, Permission.ACTIVITY_READ],
      });
      const viewer = await kith.user();
      const asked = { activities: [{ userId: viewer.user.id, action: 'acted' }] };
      const bySession = (await activity(editor).recordUserActivity(asked)).activities[0]!;
      const byKey = (await kith.client(ActivityService, secret).recordUserActivity(asked)).activities[0]!;
      const sessionId = String(decodeJwt(editor.accessToken)['sid']);
      expect([bySession, byKey]).toMatchObject([
        { actorId: editor.user.id, actorSessionId: sessionId },
        { actorId: editor.user.id, actorSessionId: apiKey!.id },
      ]);
      const request = { userId: viewer.user.id, actionPrefixes: ['acted'] };
      expect((await listAll(admin, request)).map(({ actorSessionId }) => actorSessionId)).toEqual([
        apiKey!.id,
        sessionId,
      ]);
      // Whose activity it is learns who did it, and not with which session.
      const ownOf = asSeenByOthers([bySession, byKey]);
      expect((await listAll(viewer, request)).toReversed()).toEqual(ownOf);
      const first = await cursorBefore(kith, bySession);
      await using watch = await startWatch(activity(viewer), { ...request, afterCursor: first });
      expect(await watch.activities(2)).toEqual(ownOf);
      await kith.client(UserService, viewer.accessToken).updateUser({ userId: viewer.user.id, name: 'Renamed' });
      const [renamed] = await listAll(viewer, { userId: viewer.user.id, actionPrefixes: ['kith.user.updated'] });
      expect(renamed!.actorSessionId).toBe(decodeJwt(viewer.accessToken)['sid']);
    });

    describe('with ids of the caller’s', () => {
      const newEvent = () => ({
        id: randomUUID() as string,
        userId: editor.user.id,
        action: 'own.id',
        details: 'Seen',
        attributes: { b: '2', a: '1' },
        eventTime: timestampFromMs(1_000_000_000_123),
      });

      test('records each once, whatever it comes with again and whoever sends it', async () => {
        const [one, two, three] = [newEvent(), newEvent(), newEvent()];
        const first = await record(one, two);
        expect(first.map(({ id }) => id)).toEqual([one.id, two.id]);
        expect(await record(two, three, one)).toMatchObject([{ id: two.id }, { id: three.id }, { id: one.id }]);
        const { eventTime: _, ...untimed } = { ...one, id: one.id.toUpperCase(), attributes: { a: '1', b: '2' } };
        const again = await activity(admin).recordUserActivity({ activities: [untimed, untimed] });
        expect(again.activities).toEqual([first[0], first[0]]);
        const ids = [one.id, two.id, three.id];
        const kept = await listAll(admin, { userId: editor.user.id, actionPrefixes: ['own.id'] });
        expect(kept.map(({ id }) => id).filter((id) => ids.includes(id))).toEqual(ids.toReversed());
      });

      test('records each once when ten calls come at once', async () => {
        const asked = [newEvent(), newEvent()];
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, i) => record(...(i % 2 ? asked : asked.toReversed()))),
        );
        for (const answer of answers) expect(new Set(idsOf(answer))).toEqual(new Set(asked.map(({ id }) => id)));
        const kept = await listAll(admin, { userId: editor.user.id, actionPrefixes: ['own.id'] });
        expect(kept.filter(({ id }) => asked.some((activity) => activity.id === id))).toHaveLength(2);
      });

      test.each<[string, NewActivity]>([
        ['user', { userId: '' }],
        ['action', { action: 'own.other' }],
        ['details', { details: 'Not seen' }],
        ['attribute', { attributes: { a: '1' } }],
        ['time', { eventTime: timestampFromMs(1) }],
      ])('refuses another %s under an id, and records nothing of the call', async (_, change) => {
        const asked = newEvent();
        const taken = { code: 'AlreadyExists', reason: 'ACTIVITY_ID_TAKEN', metadata: { id: asked.id } };
        const other = newEvent();
        expect(await refusalOf(record(other, asked, { ...asked, ...change }))).toMatchObject(taken);
        await record(asked);
        expect(await refusalOf(record(other, { ...asked, ...change }))).toMatchObject(taken);
        const kept = await listAll(admin, { userId: editor.user.id, actionPrefixes: ['own'] });
        expect(idsOf(kept)).not.toContain(other.id);
      });

      test('answers one of a user who is deleted since', async () => {
        const { user } = await kith.user();
        const asked = { ...newEvent(), userId: user.id };
        const first = await record(asked);
        await users().deleteUser({ userId: user.id });
        expect(await record(asked)).toEqual(first);
        expect(await refusalOf(record({ ...asked, id: randomUUID() }))).toMatchObject({ reason: 'USER_NOT_FOUND' });
      });

      test('refuses one that is no UUID', async () => {
        expect(await refusalOf(record({ ...newEvent(), id: 'event 1' }))).toMatchObject(FIELDS_INVALID);
      });
    });

    describe('with a request id', () => {
      const request = (userId: string) => ({
        requestId: randomUUID() as string,
        activities: [
          { userId, action: 'once', attributes: { b: '2', a: '1' } as Record<string, string> },
          { userId, action: 'once.more', attributes: {} },
        ],
      });

      test('answers a second call as the first, and records once', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        const first = await activity(editor).recordUserActivity(asked);
        await recordOf(editor, 'in.between');
        expect(await activity(editor).recordUserActivity(asked)).toEqual(first);
        const upper = { ...asked, requestId: asked.requestId.toUpperCase() };
        expect(await activity(editor).recordUserActivity(upper)).toEqual(first);
        expect((await listAll(admin, { userId: user.id, actionPrefixes: ['once'] })).toReversed()).toEqual(
          first.activities,
        );
      });

      test('takes attributes in another order for the same, since maps have none', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        const first = await activity(editor).recordUserActivity(asked);
        const reordered = asked.activities.with(0, { ...asked.activities[0]!, attributes: { a: '1', b: '2' } });
        expect(await activity(editor).recordUserActivity({ ...asked, activities: reordered })).toEqual(first);
      });

      test('refuses other activities under it', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        const { activities } = await activity(editor).recordUserActivity(asked);
        const others: NewActivity[][] = [
          [{ userId: user.id, action: 'other' }],
          asked.activities.slice(0, 1),
          asked.activities.toReversed(),
          asked.activities.with(0, { ...asked.activities[0]!, attributes: { a: '1' } }),
        ];
        for (const other of others) {
          const refusal = await refusalOf(activity(editor).recordUserActivity({ ...asked, activities: other }));
          expect(refusal).toMatchObject(REQUEST_ID_REUSED);
        }
        expect((await listAll(admin, { userId: user.id, actionPrefixes: ['once'] })).toReversed()).toEqual(activities);
      });

      test('records once when ten calls come at once', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        const answers = await Promise.all(Array.from({ length: 10 }, () => activity(editor).recordUserActivity(asked)));
        for (const answer of answers) expect(answer).toEqual(answers[0]);
        expect(await listAll(admin, { userId: user.id, actionPrefixes: ['once'] })).toHaveLength(2);
      });

      test('keeps the ids of two callers apart', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        const first = await activity(editor).recordUserActivity(asked);
        const second = await activity(admin).recordUserActivity(asked);
        expect(second.activities[0]).toMatchObject({ actorId: admin.user.id });
        expect(new Set(idsOf([...first.activities, ...second.activities]))).toHaveLength(4);
      });

      test('forgets a call that was refused', async () => {
        const { user } = await kith.user();
        const asked = request(user.id);
        await users().deleteUser({ userId: user.id });
        expect(await refusalOf(activity(editor).recordUserActivity(asked))).toMatchObject(USER_NOT_FOUND);
        await users().undeleteUser({ userId: user.id });
        expect((await activity(editor).recordUserActivity(asked)).activities).toHaveLength(2);
      });

      test('refuses one that is no UUID', async () => {
        const refusal = await refusalOf(
          activity(editor).recordUserActivity({ ...request(editor.user.id), requestId: '1' }),
        );
        expect(refusal).toMatchObject(FIELDS_INVALID);
      });
    });

    test('is allowed to editors and admins', async () => {
      const { user } = await kith.user();
      for (const who of [editor, admin]) {
        const { activities } = await activity(who).recordUserActivity({
          activities: [{ userId: user.id, action: 'page.viewed' }],
        });
        expect(activities).toMatchObject([{ actorId: who.user.id, userId: user.id }]);
      }
    });

    test('is refused to viewers, for themselves too, and to strangers', async () => {
      const viewer = await kith.user();
      const asked = { activities: [{ userId: viewer.user.id, action: 'page.viewed' }] };
      expect(await refusalOf(activity(viewer).recordUserActivity(asked))).toMatchObject(PERMISSION_MISSING);
      expect(await refusalOf(activity().recordUserActivity(asked))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'ACCESS_TOKEN_MISSING',
      });
    });
  });

  describe('ListUserActivity', () => {
    test('lists one user, newest first, in pages of any size', async () => {
      const viewer = await kith.user();
      const recorded = await recordOf(viewer, ...Array.from({ length: 25 }, (_, i) => `paged.n${i}`));
      await recordOf(editor, 'paged.by.another');
      const expected = asSeenByOthers(recorded).toReversed();
      for (const pageSize of [1, 7, 25, 26]) {
        const request = { userId: viewer.user.id, actionPrefixes: ['paged'], pageSize };
        expect(await listAll(viewer, request)).toEqual(expected);
      }
    });

    test('shows 50 unless told otherwise, and 1000 at the most', async () => {
      const viewer = await kith.user();
      for (let i = 0; i < 11; i++) await recordOf(viewer, ...Array(100).fill('many'));
      const counts = [];
      for (const pageSize of [0, 2_000_000]) {
        const page = await activity(editor).listUserActivity({ userId: viewer.user.id, pageSize });
        expect(page.nextPageToken).not.toBe('');
        counts.push(page.activities.length);
      }
      expect(counts).toEqual([50, 1000]);
    });

    test('neither skips nor repeats while more is recorded', async () => {
      const viewer = await kith.user();
      const before = await recordOf(viewer, ...Array.from({ length: 20 }, (_, i) => `grows.n${i}`));
      const request = { userId: viewer.user.id, actionPrefixes: ['grows'], pageSize: 3 };
      const seen: UserActivity[] = [];
      for (let pageToken = ''; ; ) {
        const page = await activity(editor).listUserActivity({ ...request, pageToken });
        seen.push(...page.activities);
        if (page.nextPageToken === '') break;
        pageToken = page.nextPageToken;
        await recordOf(viewer, 'grows.meanwhile', 'grows.meanwhile');
      }
      expect(seen).toEqual(before.toReversed());
    });

    test('finds actions at the borders of words', async () => {
      const viewer = await kith.user();
      const actions = ['shop', 'shop.cart', 'shop.cart.added', 'shop_x', 'shopping', 'sho', 'my.shop', 'shop.cartoon'];
      await recordOf(viewer, ...actions);
      const found = async (...actionPrefixes: string[]) =>
        actionsOf(await listAll(viewer, { userId: viewer.user.id, actionPrefixes })).toReversed();
      expect(await found('shop')).toEqual(['shop', 'shop.cart', 'shop.cart.added', 'shop.cartoon']);
      expect(await found('shop.cart')).toEqual(['shop.cart', 'shop.cart.added']);
      expect(await found('shop.cart.added')).toEqual(['shop.cart.added']);
      expect(await found('shop.cart.added.twice')).toEqual([]);
      expect(await found('my')).toEqual(['my.shop']);
      expect(await found()).toHaveLength(actions.length + 2); // and the user and the session
    });

    test('finds actions of several beginnings', async () => {
      const viewer = await kith.user();
      await recordOf(viewer, 'several.a', 'several.b.c', 'several.bc', 'other.x');
      const found = await listAll(viewer, {
        userId: viewer.user.id,
        actionPrefixes: ['several.b', 'other', 'several.b', 'several.a'],
      });
      expect(actionsOf(found)).toEqual(['other.x', 'several.b.c', 'several.a']);
    });

    test('finds what happened from one time until before another, whenever it was recorded', async () => {
      const viewer = await kith.user();
      const times = [5000, 1000, 4000, 2000, 3000];
      await record(...times.map((ms) => ({ userId: viewer.user.id, action: 'timed', eventTime: timestampFromMs(ms) })));
      const found = async (request: ListRequest) =>
        (await listAll(viewer, { userId: viewer.user.id, actionPrefixes: ['timed'], ...request }))
          .map(({ eventTime }) => timestampMs(eventTime!))
          .toReversed();
      const at = timestampFromMs;
      expect(await found({})).toEqual(times);
      expect(await found({ startTime: at(2000), endTime: at(4000) })).toEqual([2000, 3000]);
      expect(await found({ startTime: at(4000) })).toEqual([5000, 4000]);
      expect(await found({ endTime: at(2000) })).toEqual([1000]);
      expect(await found({ startTime: at(0), endTime: at(0) })).toEqual([]);
      expect(await found({ startTime: at(5000), endTime: at(1000) })).toEqual([]);
    });

    test('finds what lies deep below others by following the pages, of which some are short', async () => {
      const viewer = await kith.user();
      const [deep] = await recordOf(viewer, 'needle');
      for (let i = 0; i < 21; i++) await recordOf(viewer, ...Array(100).fill('hay'));
      const pages: UserActivity[][] = [];
      for (let pageToken = ''; ; ) {
        const request = { userId: viewer.user.id, actionPrefixes: ['needle'], pageToken };
        const page = await activity(viewer).listUserActivity(request);
        pages.push(page.activities);
        if (page.nextPageToken === '') break;
        pageToken = page.nextPageToken;
      }
      expect(pages.flat()).toEqual(asSeenByOthers([deep!]));
      expect(pages.length).toBeGreaterThan(1);
    });

    test('fills a page with less when activities are large, and leaves none out', async () => {
      const viewer = await kith.user();
      const recorded: string[] = [];
      for (let i = 0; i < 3; i++) {
        recorded.push(...idsOf(await record(...repeated(60, { userId: viewer.user.id, action: 'bulk', ...BULK }))));
      }
      const seen: string[] = [];
      const sizes: number[] = [];
      for (let pageToken = ''; ; ) {
        const request = { userId: viewer.user.id, actionPrefixes: ['bulk'], pageSize: 1000, pageToken };
        const page = await activity(viewer).listUserActivity(request);
        seen.push(...idsOf(page.activities));
        sizes.push(toBinary(ListUserActivityResponseSchema, page).length);
        if (page.nextPageToken === '') break;
        pageToken = page.nextPageToken;
      }
      expect(seen).toEqual(recorded.toReversed());
      expect(sizes.length).toBeGreaterThan(1);
      expect(Math.max(...sizes)).toBeLessThan(2_000_000);
    });

    test('shows a viewer the own activity and nobody else’s', async () => {
      const [viewer, other] = await Promise.all([kith.user(), kith.user()]);
      const own = await recordOf(viewer, 'page.viewed');
      for (const userId of [viewer.user.id, viewer.user.id.toUpperCase()]) {
        const { activities } = await activity(viewer).listUserActivity({ userId });
        expect(activities.slice(0, 1)).toEqual(asSeenByOthers(own));
      }
      for (const userId of [other.user.id, randomUUIDv7(), '']) {
        expect(await refusalOf(activity(viewer).listUserActivity({ userId }))).toMatchObject({
          ...PERMISSION_MISSING,
          metadata: { permission: 'PERMISSION_ACTIVITY_READ' },
        });
      }
    });

    test('shows editors and admins anybody’s and everybody’s', async () => {
      const [one, other] = await Promise.all([kith.user(), kith.user()]);
      const [first] = await recordOf(one, 'seen.by.all');
      const [second] = await recordOf(other, 'seen.by.all');
      for (const who of [editor, admin]) {
        expect(await listAll(who, { actionPrefixes: ['seen.by.all'] })).toEqual([second, first]);
        expect(await listAll(who, { actionPrefixes: ['seen.by.all'], userId: one.user.id })).toEqual([first]);
        expect(await listAll(who, { userId: randomUUIDv7() })).toEqual([]);
      }
    });

    test('shows contact events to their owner alone', async () => {
      const viewer = await kith.user();
      await contacts(viewer).createContact({ givenName: 'Hidden' });
      await contacts(admin).createContact({ givenName: 'Hidden' });
      const shown = async (who: SignedIn, userId: string) =>
        (await listAll(who, { userId })).filter(({ action }) => action === 'kith.contact.created').length;
      expect(await shown(viewer, viewer.user.id)).toBe(1);
      expect(await shown(admin, viewer.user.id)).toBe(0);
      expect(await shown(editor, viewer.user.id)).toBe(0);
      expect(await shown(editor, '')).toBe(0);
      expect(await shown(admin, '')).toBe(0); // everybody's is nobody's own
      expect(await shown(admin, admin.user.id)).toBe(1);
      expect(await listAll(admin, { userId: viewer.user.id, actionPrefixes: ['kith.contact'] })).toEqual([]);
    });

    test('refuses page tokens of other callers, other filters, other lists, and forged ones', async () => {
      const viewer = await kith.user();
      const userId = viewer.user.id;
      await recordOf(viewer, 'a.b', 'a.b', 'a.b');
      const request = { userId, actionPrefixes: ['a'], pageSize: 1, endTime: timestampFromMs(Date.now() + DAY_MS) };
      const { nextPageToken: pageToken } = await activity(editor).listUserActivity(request);
      const list = (who: SignedIn, change: ListRequest) =>
        refusalOf(activity(who).listUserActivity({ ...request, pageToken, ...change }));
      const { nextPageToken: ofUsers } = await kith.client(UserService, editor.accessToken).listUsers({ pageSize: 1 });
      for (const [who, change] of [
        [viewer, {}],
        [editor, { userId: '' }],
        [editor, { userId: editor.user.id }],
        [editor, { actionPrefixes: ['a.b'] }],
        [editor, { startTime: timestampFromMs(1) }],
        [editor, { endTime: timestampFromMs(Date.now() + 2 * DAY_MS) }],
        [editor, { pageToken: `A${pageToken}` }],
        [editor, { pageToken: pageToken.slice(0, -2) }],
        [editor, { pageToken: 'x' }],
        [editor, { pageToken: ofUsers }],
      ] satisfies [SignedIn, ListRequest][]) {
        expect(await list(who, change)).toMatchObject(PAGE_TOKEN_INVALID);
      }
      const next = await activity(editor).listUserActivity({ ...request, pageToken, pageSize: 2 });
      expect(next.activities).toHaveLength(2);
    });

    test.each([
      ['a negative page size', { pageSize: -1 }],
      ['a user id that is none', { userId: 'me' }],
      ['an action that ends with a dot', { actionPrefixes: ['kith.'] }],
      ['a pattern', { actionPrefixes: ['kith%'] }],
      ['an action of 101 bytes', { actionPrefixes: ['a'.repeat(101)] }],
      ['a time before 1970', { startTime: timestampFromMs(-1) }],
      ['a time after 9999', { endTime: timestampFromMs(253_402_300_800_000) }],
      ['a page token of 2049 bytes', { pageToken: 'x'.repeat(2049) }],
    ] satisfies [string, ListRequest][])('refuses %s', async (_, request) => {
      expect(await refusalOf(activity(editor).listUserActivity(request))).toMatchObject(FIELDS_INVALID);
    });
  });

  describe('WatchUserActivity', () => {
    test('sends a first message at once, without an activity', async () => {
      await using watch = await startWatch(activity(editor));
      expect(watch.cursor).not.toBe('');
      await using again = await startWatch(activity(editor), { afterCursor: watch.cursor });
      expect(placeOf(again.cursor)).toEqual(placeOf(watch.cursor));
    });

    test('gives a caller no cursor or page token that tells of what others do', async () => {
      const [one, other] = await Promise.all([kith.user(), kith.user()]);
      const given = async () => {
        await using watch = await startWatch(activity(one), { userId: one.user.id });
        const { nextPageToken } = await activity(one).listUserActivity({ userId: one.user.id, pageSize: 1 });
        return [watch.cursor, nextPageToken];
      };
      await recordOf(one, 'first', 'second');
      const idle = [await given(), await given()];
      await recordOf(other, ...Array.from({ length: 40 }, (_, i) => `busy.n${i}`));
      const busy = [await given(), await given()];
      // Others or not, each is another one, and as long as any.
      for (const i of [0, 1]) {
        const texts = [...idle, ...busy].map((texts) => texts[i]!);
        expect(new Set(texts).size).toBe(4);
        expect(new Set(texts.map(({ length }) => length)).size).toBe(1);
        const starts = texts.map((text) => text.slice(0, 4));
        expect(new Set(starts).size).toBe(4);
      }
    });

    test('sends what is recorded from now on, as ListUserActivity shows it', async () => {
      const viewer = await kith.user();
      await recordOf(viewer, 'before');
      await using watch = await startWatch(activity(viewer), { userId: viewer.user.id });
      const recorded = [
        ...(await recordOf(viewer, 'one')),
        ...(await recordOf(viewer, 'two', 'three')),
        ...(await record({ userId: viewer.user.id, action: 'four', ...BULK })),
      ];
      expect(await watch.activities(4)).toEqual(asSeenByOthers(recorded));
      expect(watch.cursor).toBe(await cursorAfter(kith, recorded.at(-1)!));
      expect((await listAll(viewer, { userId: viewer.user.id })).slice(0, 4).toReversed()).toEqual(
        asSeenByOthers(recorded),
      );
    });

    test('goes on from any cursor: of an activity, of a first message, of a progress message', async () => {
      await using quick = await startFresh({ server: { progressMs: 20 } });
      const { user, accessToken } = await quick.admin();
      const client = quick.client(ActivityService, accessToken);
      const watch = await startWatch(client, { userId: user.id });
      const firstCursor = watch.cursor;
      const recorded: UserActivity[] = [];
      const progress: { cursor: string; after: number }[] = [{ cursor: firstCursor, after: 0 }];
      for (let i = 1; i <= 4; i++) {
        const activities = [{ userId: user.id, action: `n${i}` }];
        recorded.push(...(await client.recordUserActivity({ activities })).activities);
        expect(await watch.activity()).toEqual(recorded.at(-1));
        const message = await watch.next();
        expect(message.activity).toBeUndefined();
        progress.push({ cursor: message.cursor, after: i });
      }
      await watch[Symbol.asyncDispose]();
      const cursors = await Promise.all(recorded.map((activity) => cursorAfter(quick, activity)));
      const starts = [...progress, ...cursors.map((cursor, i) => ({ cursor, after: i + 1 }))];
      for (const { cursor, after } of starts) {
        await using again = await startWatch(client, { userId: user.id, afterCursor: cursor });
        expect(placeOf(again.cursor)).toEqual(placeOf(cursor));
        expect(await again.activities(4 - after)).toEqual(recorded.slice(after));
      }
    });

    test('tells its progress when there is nothing to send, also when others are busy', async () => {
      await using quick = await startFresh({ server: { progressMs: 20 } });
      const { user, accessToken } = await quick.admin();
      const client = quick.client(ActivityService, accessToken);
      const start = await startWatch(client, {});
      const startCursor = start.cursor;
      await start[Symbol.asyncDispose]();
      await client.recordUserActivity({ activities: repeated(5, { userId: user.id, action: 'other.things' }) });
      await using watch = await startWatch(client, { actionPrefixes: ['these.things'], afterCursor: startCursor });
      // Past what was looked through, once nobody holds the end of the log back.
      const startPlace = placeOf(startCursor);
      for (let cursor = startCursor; comparePositions(placeOf(cursor).end, startPlace.end) === 0; ) {
        const message = await watch.next();
        expect(message.activity).toBeUndefined();
        ({ cursor } = message);
      }
      const [recorded] = (
        await client.recordUserActivity({ activities: [{ userId: user.id, action: 'these.things' }] })
      ).activities;
      expect(await watch.activity()).toEqual(recorded);
    });

    test('takes a cursor for another user, another action and another caller', async () => {
      const [one, other] = await Promise.all([kith.user(), kith.user()]);
      await using watch = await startWatch(activity(editor), { userId: one.user.id });
      const [first] = await recordOf(one, 'here');
      const [second] = await recordOf(other, 'there');
      await watch.activity();
      const afterFirst = await cursorAfter(kith, first!);
      await using everybody = await startWatch(activity(admin), { afterCursor: watch.cursor });
      expect(await everybody.activity()).toEqual(second);
      await using own = await startWatch(activity(other), { userId: other.user.id, afterCursor: afterFirst });
      expect([await own.activity()]).toEqual(asSeenByOthers([second!]));
      await using some = await startWatch(activity(editor), { actionPrefixes: ['there'], afterCursor: afterFirst });
      expect(await some.activity()).toEqual(second);
    });

    test('goes on from a list: what is on none of its pages, and nothing of what is on them', async () => {
      const viewer = await kith.user();
      const request = { userId: viewer.user.id, actionPrefixes: ['listed'] };
      let isOver = false;
      const recording = Array.from({ length: 3 }, async (_, writer) => {
        for (let n = 0; !isOver; n++) await recordOf(viewer, `listed.w${writer}.n${n}a`, `listed.w${writer}.n${n}b`);
      });
      const listAndWatch = async (): Promise<string[]> => {
        const first = await activity(viewer).listUserActivity({ ...request, pageSize: 5 });
        const listed = [...first.activities];
        for (let pageToken = first.nextPageToken; pageToken !== ''; ) {
          const page = await activity(viewer).listUserActivity({ ...request, pageSize: 1000, pageToken });
          expect(page.watchCursor).toBe('');
          listed.push(...page.activities);
          pageToken = page.nextPageToken;
        }
        await using watch = await startWatch(activity(viewer), { ...request, afterCursor: first.watchCursor });
        const some = await watch.activities(6);
        // From a message in the middle as well.
        await using resumed = await startWatch(activity(viewer), { ...request, afterCursor: watch.cursor });
        return idsOf([...listed.toReversed(), ...some, ...(await resumed.activities(6))]);
      };
      const seen: string[][] = [];
      try {
        for (let round = 0; round < 4; round++) seen.push(await listAndWatch());
      } finally {
        isOver = true;
        await Promise.all(recording);
      }
      const log = idsOf((await listAll(viewer, request)).toReversed());
      for (const ids of seen) {
        expect(new Set(ids).size).toBe(ids.length);
        // Nothing is missing of what was listed, or of what came between that and the watch.
        expect(log.slice(0, ids.length - 12).filter((id) => !ids.includes(id))).toEqual([]);
      }
    });

    test('tells when everything from before it has been sent, once there is nothing of it left', async () => {
      const viewer = await kith.user();
      const request = { userId: viewer.user.id, actionPrefixes: ['past'] };
      const { watchCursor } = await activity(viewer).listUserActivity(request);
      await using now = new Watch(activity(viewer), request);
      expect(await now.next()).toMatchObject({ caughtUp: true });
      const past = await recordOf(viewer, ...Array.from({ length: 30 }, (_, i) => `past.n${i}`));
      await recordOf(editor, 'other.past');
      await using watch = new Watch(activity(viewer), { ...request, afterCursor: watchCursor });
      const sent: UserActivity[] = [];
      for (;;) {
        const { activity: one, caughtUp } = await watch.next();
        if (one !== undefined) sent.push(one);
        if (caughtUp) break;
      }
      expect(sent).toEqual(asSeenByOthers(past));
      const [later] = await recordOf(viewer, 'past.later');
      expect(await watch.next()).toMatchObject({ activity: { id: later!.id }, caughtUp: false });
    });

    test('sends each activity once and in the order of the log, whoever records at the same time', async () => {
      const [one, other] = await Promise.all([kith.user(), kith.user()]);
      const everything = await startWatch(activity(editor));
      const watches = {
        everything,
        one: await startWatch(activity(one), { userId: one.user.id }),
        odd: await startWatch(activity(admin), { actionPrefixes: ['load.odd'] }),
      };
      const start = everything.cursor;
      const count = 500;
      await Promise.all(
        Array.from({ length: 4 }, async (_recorder, worker) => {
          for (let i = worker; i < count / 5; i += 4) {
            const action = i % 2 === 0 ? 'load.even' : 'load.odd';
            await record(
              ...Array.from({ length: 5 }, (__, k) => ({
                userId: (k % 2 === 0 ? one : other).user.id,
                action,
                attributes: { i: String(i), k: String(k) },
              })),
            );
          }
        }),
      );
      const log = (await listAll(editor, { actionPrefixes: ['load'] })).toReversed();
      expect(new Set(idsOf(log))).toHaveLength(count);
      expect(idsOf(await everything.activities(count))).toEqual(idsOf(log));
      const ofOne = log.filter(({ userId }) => userId === one.user.id);
      expect(idsOf(await watches.one.activities(ofOne.length))).toEqual(idsOf(ofOne));
      const odd = log.filter(({ action }) => action === 'load.odd');
      expect(idsOf(await watches.odd.activities(odd.length))).toEqual(idsOf(odd));
      await using late = await startWatch(activity(admin), { afterCursor: start });
      expect(idsOf(await late.activities(count))).toEqual(idsOf(log));
      // Nothing more comes before what is recorded next.
      const [last] = await recordOf(one, 'load.odd');
      for (const watch of Object.values(watches)) {
        expect((await watch.activity()).id).toBe(last!.id);
        watch.leave();
      }
    });

    test('misses nothing that is recorded while it starts', async () => {
      const viewer = await kith.user();
      await using before = await startWatch(activity(editor), { userId: viewer.user.id });
      let recording = true;
      const recorder = (async () => {
        for (let i = 0; recording; i++) await recordOf(viewer, `n${i}`);
      })();
      const seen: string[][] = [];
      for (let i = 0; i < 10; i++) {
        await using watch = await startWatch(activity(editor), { userId: viewer.user.id, afterCursor: before.cursor });
        seen.push(actionsOf(await watch.activities(5)));
      }
      recording = false;
      await recorder;
      for (const actions of seen) expect(actions).toEqual(['n0', 'n1', 'n2', 'n3', 'n4']);
    });

    test('sends contact events to their owner alone', async () => {
      const viewer = await kith.user();
      const userId = viewer.user.id;
      await using own = await startWatch(activity(viewer), { userId });
      await using byAdmin = await startWatch(activity(admin), { userId });
      await using everybody = await startWatch(activity(admin));
      await using adminsOwn = await startWatch(activity(admin), {
        userId: admin.user.id,
        actionPrefixes: ['kith.contact'],
      });
      await contacts(viewer).createContact({ givenName: 'Hidden' });
      await contacts(admin).createContact({ givenName: 'Hidden' });
      await recordOf(viewer, 'page.viewed');
      expect(actionsOf(await own.activities(2))).toEqual(['kith.contact.created', 'page.viewed']);
      expect(actionsOf(await byAdmin.activities(1))).toEqual(['page.viewed']);
      expect(actionsOf(await everybody.activities(1))).toEqual(['page.viewed']);
      expect(actionsOf(await adminsOwn.activities(1))).toEqual(['kith.contact.created']);
    });

    test('lets a viewer watch the own activity, the id in upper case too, and nobody else’s', async () => {
      const [viewer, other] = await Promise.all([kith.user(), kith.user()]);
      await using watch = await startWatch(activity(viewer), { userId: viewer.user.id.toUpperCase() });
      await contacts(viewer).createContact({ givenName: 'Hidden' });
      expect((await watch.activity()).action).toBe('kith.contact.created');
      for (const userId of [other.user.id, randomUUIDv7(), '']) {
        expect(await refusalOf(startWatch(activity(viewer), { userId }))).toMatchObject(PERMISSION_MISSING);
      }
      expect(await refusalOf(startWatch(activity(), { userId: viewer.user.id }))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'ACCESS_TOKEN_MISSING',
      });
    });

    test('refuses cursors that it did not give', async () => {
      const [recorded] = await recordOf(editor, 'page.viewed');
      const cursor = await cursorAfter(kith, recorded!);
      const forged = [
        'x',
        '0.0',
        '0.0.AAAAAAAAAAA',
        `1${cursor}`,
        cursor.replace(/.$/, ''),
        cursor.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
        `${cursor} `,
        recorded!.id,
        'x'.repeat(256),
      ];
      const refusals = await Promise.all(
        forged.map((afterCursor) => refusalOf(startWatch(activity(editor), { afterCursor }))),
      );
      expect(refusals).toEqual(forged.map(() => expect.objectContaining(CURSOR_INVALID)));
      await using elsewhere = await startFresh({
        env: { KITH_SECRET_KEY: Buffer.alloc(32, 'other').toString('base64') },
      });
      const { accessToken } = await elsewhere.admin();
      const refusal = await refusalOf(
        startWatch(elsewhere.client(ActivityService, accessToken), { afterCursor: cursor }),
      );
      expect(refusal).toMatchObject(CURSOR_INVALID);
    });

    test.each([
      ['a user id that is none', { userId: 'me' }],
      ['an action that ends with a dot', { actionPrefixes: ['kith.'] }],
      ['21 actions', { actionPrefixes: Array.from({ length: 21 }, () => 'kith') }],
      ['a cursor of 2049 bytes', { afterCursor: 'x'.repeat(2049) }],
    ] satisfies [string, WatchRequest][])('refuses %s', async (_, request) => {
      expect(await refusalOf(startWatch(activity(editor), request))).toMatchObject(FIELDS_INVALID);
    });

    test('refuses a field that the contract does not have', async () => {
      const request = create(WatchUserActivityRequestSchema);
      request.$unknown = [{ no: 15, wireType: WireType.Varint, data: Uint8Array.of(1) }];
      expect(await refusalOf(startWatch(activity(editor), request))).toMatchObject({
        code: 'InvalidArgument',
        reason: 'FIELD_UNKNOWN',
        metadata: { field: '15' },
      });
    });

    test.each<[string, (who: SignedIn) => Promise<unknown>, string]>([
      ['session ended', (who) => auth(who).logout({}), 'session_ended'],
      [
        'user was suspended',
        (who) => users().updateUser({ userId: who.user.id, state: UserState.SUSPENDED }),
        'session_ended',
      ],
      ['role changed', (who) => users().updateUser({ userId: who.user.id, role: Role.VIEWER }), 'permission_missing'],
    ])(
      'ends right after its first message when its %s between the gate and the subscription',
      async (_, change, reason) => {
        const who = await kith.user(Role.EDITOR);
        const { sub: userId, sid } = decodeJwt(who.accessToken);
        await using stored = await openApp(kith);
        await using tail = new Tail(stored.database, () => {});
        await change(who);
        await using revocations = await startRevocations(stored.database, { ...stored, onError() {} });
        const app: WatchApp = {
          ...stored,
          ...createWatchLimits(10),
          tail,
          revocations,
          progressMs: NEVER_MS,
          stallMs: NEVER_MS,
          connectionClock: systemClock,
          renew: (caller) => renew(stored, caller),
        };
        const passed: Caller = {
          userId: userId!,
          sessionId: String(sid),
          kind: 'session',
          permissions: PERMISSIONS_OF_ROLE.editor,
          signInMs: stored.now(),
        };
        const leaving = new AbortController();
        const request = { userId: undefined, afterCursor: '', actionPrefixes: [] };
        const messages = watchActivities(app, passed, request, leaving.signal);
        expect((await messages.next()).value).toMatchObject({ activity: undefined });
        await expect(messages.next()).rejects.toMatchObject({ reason });
        leaving.abort();
      },
    );

    const streamingProtocols = protocols.filter(({ name }) => !name.includes('GET'));
    test.each(streamingProtocols)('works over $name, errors and leaving included', async ({ transport }) => {
      await expect.poll(kith.subscriptions).toBe(0); // those of other tests have ended
      const user = await kith.user(Role.EDITOR);
      const client = createClient(ActivityService, transport(kith.address, user.accessToken));
      const watch = await startWatch(client, { userId: user.user.id });
      const recorded = await recordOf(user, 'one', 'two');
      expect(await watch.activities(2)).toEqual(recorded);
      const left = await startWatch(client);
      expect(kith.subscriptions()).toBe(4);
      left.leave();
      await expect.poll(kith.subscriptions).toBe(2);
      await auth(user).logout({});
      expect(await watch.end()).toMatchObject(SESSION_ENDED);
      await expect.poll(kith.subscriptions).toBe(0);
      expect(await refusalOf(startWatch(client))).toMatchObject(SESSION_ENDED);
    });

    test('serves 100 watchers at once, each with everything', async () => {
      await expect.poll(kith.subscriptions).toBe(0);
      const viewer = await kith.user();
      const { accessToken } = await kith.user(Role.EDITOR);
      const client = createClient(ActivityService, grpc(kith.address, accessToken));
      const watches = await Promise.all(
        Array.from({ length: 100 }, (_, i) => startWatch(client, i % 2 === 0 ? { userId: viewer.user.id } : {})),
      );
      expect(kith.subscriptions()).toBe(200);
      const recorded: UserActivity[] = [];
      for (let i = 0; i < 20; i++) recorded.push(...(await recordOf(viewer, `n${i}`)));
      for (const seen of await Promise.all(watches.map((watch) => watch.activities(20)))) {
        expect(seen).toEqual(recorded);
      }
      for (const watch of watches) watch.leave();
      await expect.poll(kith.subscriptions).toBe(0);
    });

    describe('ends', () => {
      const endings: [string, (who: SignedIn) => Promise<unknown>][] = [
        ['signs out', (who) => auth(who).logout({})],
        ['is suspended', ({ user }) => users().updateUser({ userId: user.id, state: UserState.SUSPENDED })],
        ['is deleted', ({ user }) => users().deleteUser({ userId: user.id })],
        [
          'changes the password elsewhere',
          async ({ user, password }) => {
            const elsewhere = await signedIn(auth().login({ identifier: user.username, password }));
            await kith
              .client(AuthService, elsewhere.accessToken)
              .changePassword({ currentPassword: password, newPassword: 'another good password' });
          },
        ],
        [
          'shows a refresh token twice',
          async ({ refreshToken }) => {
            const next = await refreshed(auth().refreshAccessToken({ refreshToken }));
            await auth().refreshAccessToken({ refreshToken: next.refreshToken });
            expect(await refusalOf(auth().refreshAccessToken({ refreshToken }))).toMatchObject({
              reason: 'REFRESH_TOKEN_REUSED',
            });
          },
        ],
      ];
      test.each(endings)('with the session when its user %s', async (_, end) => {
        await expect.poll(kith.subscriptions).toBe(0);
        const [user, other] = await Promise.all([kith.user(Role.EDITOR), kith.user()]);
        const client = activity(user);
        const watches = [
          await startWatch(client, { userId: user.user.id }),
          await startWatch(client, { userId: other.user.id }),
          await startWatch(client, {}),
          await startWatch(client, { actionPrefixes: ['nothing.like.that'] }),
        ];
        await using bystander = await startWatch(activity(other), { userId: other.user.id });
        await end(user);
        for (const watch of watches) expect(await watch.end()).toMatchObject(SESSION_ENDED);
        await expect.poll(kith.subscriptions).toBe(2);
        const recorded = await recordOf(other, 'page.viewed');
        expect(await bystander.activities(1)).toEqual(asSeenByOthers(recorded));
      });

      test('with its own session, not with another one of the same user', async () => {
        const user = await kith.user();
        const { accessToken } = await signedIn(
          auth().login({ identifier: user.user.username, password: user.password }),
        );
        await using stays = await startWatch(activity(user), { userId: user.user.id });
        const ends = await startWatch(kith.client(ActivityService, accessToken), { userId: user.user.id });
        await kith.client(AuthService, accessToken).logout({});
        expect(await ends.end()).toMatchObject(SESSION_ENDED);
        expect((await stays.activity()).action).toBe('kith.session.ended');
      });

      test('not for who changes the password with the session that watches', async () => {
        const user = await kith.user();
        await using stays = await startWatch(activity(user), { userId: user.user.id });
        await auth(user).changePassword({ currentPassword: user.password, newPassword: 'another good password' });
        expect((await stays.activity()).action).toBe('kith.password.changed');
        const recorded = await recordOf(user, 'page.viewed');
        expect(await stays.activities(1)).toEqual(asSeenByOthers(recorded));
      });

      test('when the role is lost that it takes, and goes on where it takes none', async () => {
        const [user, other] = await Promise.all([kith.user(Role.EDITOR), kith.user()]);
        const watches = [await startWatch(activity(user)), await startWatch(activity(user), { userId: other.user.id })];
        await using own = await startWatch(activity(user), { userId: user.user.id });
        await users().updateUser({ userId: user.user.id, role: Role.VIEWER });
        for (const watch of watches) expect(await watch.end()).toMatchObject(PERMISSION_MISSING);
        expect((await own.activity()).action).toBe('kith.user.updated');
        const recorded = await recordOf(user, 'page.viewed');
        expect(await own.activities(1)).toEqual(asSeenByOthers(recorded));
      });

      test('with UNAVAILABLE when the server stops, and goes on at another one', async () => {
        await using database = await kind.create();
        const first = await startKith({ database });
        const { user, accessToken } = await first.admin();
        const client = createClient(ActivityService, grpc(first.address, accessToken));
        const idle = await startWatch(client, { userId: user.id, actionPrefixes: ['three'] });
        const watch = await startWatch(client, { userId: user.id });
        const recordOn = async (on: Kith, action: string) =>
          on.client(ActivityService, accessToken).recordUserActivity({ activities: [{ userId: user.id, action }] });
        const seen: UserActivity[] = [];
        const ended = [idle.end(), watch.end(seen)];
        await recordOn(first, 'one');
        await recordOn(first, 'two');
        await first.stop();
        for (const refusal of await Promise.all(ended)) {
          expect(refusal).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
        }
        await using second = await startKith({ database });
        await recordOn(second, 'three');
        const again = second.client(ActivityService, accessToken);
        await using resumed = await startWatch(again, { userId: user.id, afterCursor: watch.cursor });
        const rest = await resumed.activities(3 - seen.length);
        expect(actionsOf([...seen, ...rest])).toEqual(['one', 'two', 'three']);
        await using resumedIdle = await startWatch(again, {
          userId: user.id,
          actionPrefixes: ['three'],
          afterCursor: idle.cursor,
        });
        expect(await resumedIdle.activity()).toEqual(rest.at(-1));
      });

      test('with CURSOR_EXPIRED when what follows the cursor is not kept any more', async () => {
        await using short = await startFresh({ env: { KITH_ACTIVITY_DAYS: '1' } });
        const signIn = () =>
          signedIn(short.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }));
        const { user, accessToken } = await signIn();
        const recordOn = async (token: string, ...actions: string[]) =>
          (
            await short
              .client(ActivityService, token)
              .recordUserActivity({ activities: actions.map((action) => ({ userId: user.id, action })) })
          ).activities;
        const old = await recordOn(accessToken, 'one', 'two', 'three');
        const cursors = new Map<string, string>();
        for (const activity of old) cursors.set(activity.id, await cursorAfter(short, activity));
        await using app = await openApp(short);
        short.clock.offsetMs += DAY_MS + MINUTE_MS;
        const later = await signIn(); // and its event
        await purge(app);
        const client = short.client(ActivityService, later.accessToken);
        for (const activity of old.slice(0, 2)) {
          const afterCursor = cursors.get(activity.id)!;
          const watch = await startWatch(client, { afterCursor }); // the first message comes all the same
          expect(await watch.end()).toMatchObject(CURSOR_EXPIRED);
        }
        // Nothing after the last one was removed.
        await using kept = await startWatch(client, { afterCursor: cursors.get(old.at(-1)!.id)! });
        expect((await kept.activity()).action).toBe('kith.session.started');
        expect(actionsOf(await listAll({ ...editor, accessToken: later.accessToken }, {}, short))).toEqual([
          'kith.session.started',
        ]);
        await expect.poll(short.subscriptions).toBe(2);
      });

      test('with CURSOR_EXPIRED when it lags behind and what it has not sent yet is purged', async () => {
        const server = { progressMs: NEVER_MS, stallMs: NEVER_MS, stalledWriteMs: NEVER_MS };
        await using short = await startFresh({ env: { KITH_ACTIVITY_DAYS: '1' }, server });
        const { user, accessToken } = await short.admin();
        const client = short.client(ActivityService, accessToken);
        const lagging = await startWatch(createClient(ActivityService, grpc(short.address, accessToken)));
        await using quick = await startWatch(client);
        for (let i = 0; i < 3; i++) {
          await client.recordUserActivity({ activities: repeated(50, { userId: user.id, action: 'bulk', ...BULK }) });
        }
        const expected = idsOf(await quick.activities(150)); // and the one that lags has got what it can take
        await using app = await openApp(short);
        for (let i = 0; i < 8; i++) {
          const more = Array.from({ length: 500 }, () => ({ userId: user.id, by: null, action: 'more' }));
          await app.database.transaction((tx) => appendActivities(tx, app, more));
        }
        expected.push(...idsOf(await quick.activities(4000)));
        short.clock.offsetMs += DAY_MS + MINUTE_MS;
        await purge(app);
        const seen: UserActivity[] = [];
        expect(await lagging.end(seen)).toMatchObject(CURSOR_EXPIRED);
        expect(seen.length).toBeLessThan(expected.length);
        expect(idsOf(seen)).toEqual(expected.slice(0, seen.length));
        const again = short.client(AuthService);
        const later = await signedIn(again.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
        const resumed = await startWatch(short.client(ActivityService, later.accessToken), {
          afterCursor: lagging.cursor,
        });
        expect(await resumed.end()).toMatchObject(CURSOR_EXPIRED);
      });

      test('with CONSUMER_TOO_SLOW for a reader that comes back too late, who then goes on without loss', async () => {
        const stallMs = 30_000;
        let lateMs = 0;
        const connectionClock = { now: Date.now, monotonic: () => lateMs };
        await using strict = await startFresh({ server: { progressMs: NEVER_MS, stallMs, connectionClock } });
        const { user, accessToken } = await strict.admin();
        const client = strict.client(ActivityService, accessToken);
        const slow = await startWatch(client);
        const expected: string[] = [];
        for (let i = 0; i < 4; i++) {
          const activities = repeated(50, { userId: user.id, action: 'bulk', ...BULK });
          expected.push(...idsOf((await client.recordUserActivity({ activities })).activities));
        }
        // Far more than lies between the two: most of the time the server waits to be rid of a message.
        const seen: UserActivity[] = [];
        const refusal = await refusalOf(
          (async () => {
            while (seen.length < expected.length) {
              lateMs += stallMs + 1;
              seen.push(await slow.activity());
            }
          })(),
        );
        expect(refusal).toMatchObject({
          code: 'ResourceExhausted',
          reason: 'CONSUMER_TOO_SLOW',
          metadata: { cursor: slow.cursor },
        });
        expect(seen.length).toBeLessThan(expected.length);
        await using resumed = await startWatch(client, { afterCursor: slow.cursor });
        seen.push(...(await resumed.activities(expected.length - seen.length)));
        expect(idsOf(seen)).toEqual(expected);
      });

      test('with a reset for a reader that never comes back', async () => {
        let lateMs = 0;
        const connectionClock = { now: Date.now, monotonic: () => lateMs };
        await using strict = await startFresh({ server: { progressMs: NEVER_MS, stallMs: NEVER_MS, connectionClock } });
        const { user, accessToken } = await strict.admin();
        const client = strict.client(ActivityService, accessToken);
        // Over HTTP/2 a stream that nobody reads takes no more than its window.
        const session = http2.connect(strict.address);
        const standing = session.request({
          ':method': 'POST',
          ':path': '/kith.activity.v1.ActivityService/WatchUserActivity',
          'content-type': 'application/grpc+proto',
          authorization: `Bearer ${accessToken}`,
        });
        const { promise: closed, resolve } = Promise.withResolvers<void>();
        standing.on('error', () => {}).on('close', resolve);
        standing
          .pause()
          .end(envelope(toBinary(WatchUserActivityRequestSchema, create(WatchUserActivityRequestSchema))));
        await once(standing, 'response');
        await using quick = await startWatch(client);
        for (let i = 0; i < 3; i++) {
          await client.recordUserActivity({ activities: repeated(50, { userId: user.id, action: 'bulk', ...BULK }) });
        }
        await quick.activities(150); // nobody waits for the one that stands still
        expect(standing.closed).toBe(false);
        // More than it may take, again and again: the server looks now and then.
        const passing = setInterval(() => (lateMs += 60_000), 100);
        await closed.finally(() => clearInterval(passing));
        expect(standing.rstCode).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
        await expect.poll(strict.subscriptions).toBe(2);
        session.destroy();
        const [recorded] = (await client.recordUserActivity({ activities: [{ userId: user.id, action: 'after' }] }))
          .activities;
        expect(await quick.activity()).toEqual(recorded);
      });
    });

    test('leaves nothing behind when readers leave: idle, in the middle, standing still, or without a word', async () => {
      const viewer = await kith.user();
      const { accessToken } = await kith.user(Role.EDITOR);
      const leave = async (how: 'cancel' | 'disconnect') => {
        await expect.poll(kith.subscriptions).toBe(0);
        const sessions: http2.ClientHttp2Session[] = [];
        const watches = await Promise.all(
          Array.from({ length: 12 }, () => startWatch(createClient(ActivityService, grpc(kith.address, accessToken)))),
        );
        const raw = http2.connect(kith.address).on('error', () => {});
        sessions.push(raw);
        const still = Array.from({ length: 12 }, () => {
          const stream = raw.request({
            ':method': 'POST',
            ':path': '/kith.activity.v1.ActivityService/WatchUserActivity',
            'content-type': 'application/grpc+proto',
            authorization: `Bearer ${accessToken}`,
          });
          stream.on('error', () => {}).pause();
          stream.end(envelope(new Uint8Array()));
          return stream;
        });
        await Promise.all(still.map((stream) => once(stream, 'response')));
        expect(kith.subscriptions()).toBe(48);
        // A third idle, a third read a little, a third read nothing of what comes.
        const reading = watches.slice(0, 4).map((watch) => watch.activities(5));
        await record(...repeated(50, { userId: viewer.user.id, action: 'bulk', ...BULK }));
        await Promise.all(reading);
        if (how === 'cancel') {
          for (const watch of watches) watch.leave();
          for (const stream of still) stream.close(http2.constants.NGHTTP2_CANCEL);
        } else {
          raw.destroy();
          for (const watch of watches) watch.leave();
        }
        await expect.poll(kith.subscriptions).toBe(0);
        for (const session of sessions) session.destroy();
      };
      await leave('cancel');
      await leave('disconnect');
    });
  });

  describe('what Kith records itself', () => {
    const summary = ({ action, actorId, attributes, userId }: UserActivity) => ({
      action,
      actorId,
      attributes,
      userId,
    });
    /** As the owner sees it, oldest first; by a token of the admin's when the owner cannot sign in. */
    const historyOf = async ({ user }: SignedIn, who: SignedIn) =>
      (await listAll(who, { userId: user.id })).toReversed().map(summary);

    test('what happens to a user, each with who did it', async () => {
      const user = await kith.user();
      const { id, username } = user.user;
      const { password } = user;
      await using watch = await startWatch(activity(admin), { userId: id });
      await refusalOf(auth().login({ identifier: username, password: 'wrong' }));
      expect((await watch.activity()).action).toBe('kith.sign_in.failed');
      await users().updateUser({
        userId: id,
        name: 'Another Name',
        email: `new.${username}@example.org`,
        role: Role.EDITOR,
      });
      await users().updateUser({ userId: id, username: `new${username}` });
      await kith.client(UserService, editor.accessToken).getUser({ userId: id });
      const session = await signedIn(auth().login({ identifier: `new${username}`, password }));
      await kith.client(AuthService, session.accessToken).logout({});
      const stolen = await signedIn(auth().login({ identifier: `new${username}`, password }));
      const { refreshToken } = stolen;
      const next = await refreshed(auth().refreshAccessToken({ refreshToken }));
      await auth().refreshAccessToken({ refreshToken: next.refreshToken });
      await refusalOf(auth().refreshAccessToken({ refreshToken }));
      await auth(user).changePassword({ currentPassword: password, newPassword: 'another good password' });
      await users().updateUser({ userId: id, state: UserState.SUSPENDED });
      await users().updateUser({ userId: id, state: UserState.ACTIVE });
      await users().deleteUser({ userId: id });
      await users().undeleteUser({ userId: id });
      const byAdmin = (action: string, attributes: Record<string, string> = {}) => ({
        userId: id,
        actorId: admin.user.id,
        action,
        attributes,
      });
      const bySelf = (action: string, tokens?: { accessToken: string }) => ({
        userId: id,
        actorId: id,
        action,
        attributes: tokens === undefined ? {} : { session_id: String(decodeJwt(tokens.accessToken)['sid']) },
      });
      expect(await historyOf(user, admin)).toEqual([
        byAdmin('kith.user.created'),
        bySelf('kith.session.started', user),
        { ...bySelf('kith.sign_in.failed'), actorId: '' },
        byAdmin('kith.user.updated', { fields: 'email,name,role', role: 'editor' }),
        byAdmin('kith.user.updated', { fields: 'username' }),
        bySelf('kith.session.started', session),
        bySelf('kith.session.ended', session),
        bySelf('kith.session.started', stolen),
        { ...bySelf('kith.session.revoked', stolen), actorId: '' },
        bySelf('kith.password.changed'),
        byAdmin('kith.user.updated', { fields: 'state', state: 'suspended' }),
        { ...bySelf('kith.session.revoked', user), actorId: admin.user.id },
        byAdmin('kith.user.updated', { fields: 'state', state: 'active' }),
        byAdmin('kith.user.deleted'),
        byAdmin('kith.user.undeleted'),
      ]);
    });

    test('what happens to contacts, for their owner', async () => {
      const owner = await kith.user();
      const book = contacts(owner);
      const { id } = (await book.createContact({ givenName: 'Ada', notes: 'a note' })).contact!;
      await book.updateContact({ contactId: id, familyName: 'Lovelace' });
      await book.deleteContact({ contactId: id });
      await book.undeleteContact({ contactId: id });
      const expected = ['created', 'updated', 'deleted', 'undeleted'].map((what) => ({
        userId: owner.user.id,
        actorId: owner.user.id,
        action: `kith.contact.${what}`,
        attributes: { contact_id: id },
      }));
      expect((await historyOf(owner, owner)).slice(2)).toEqual(expected);
    });

    test('the first administrator, whom nobody made', async () => {
      const [first] = await historyOf(admin, admin);
      expect(first).toEqual({ userId: admin.user.id, actorId: '', action: 'kith.user.created', attributes: {} });
    });

    test('nothing of what is refused, changes nothing, or was answered before', async () => {
      const [user, other] = await Promise.all([kith.user(), kith.user()]);
      const { id } = user.user;
      const book = contacts(user);
      const created = { requestId: randomUUID(), givenName: 'Ada' };
      const contact = (await book.createContact(created)).contact!;
      const newcomer = {
        requestId: randomUUID(),
        username: `u${randomUUID()}`,
        email: `${randomUUID()}@example.org`,
        name: 'New',
        password: 'a good password',
      };
      const made = (await users().createUser(newcomer)).user!;
      const count = async () => (await listAll(admin)).length + (await listAll(user, { userId: id })).length;
      const before = await count();

      const refused: Promise<unknown>[] = [
        users().updateUser({ userId: id, name: 'Other', etag: 'x' }),
        users().updateUser({ userId: id, username: other.user.username }),
        users().updateUser({ userId: admin.user.id, role: Role.VIEWER }), // the last admin
        users().deleteUser({ userId: admin.user.id }),
        users().deleteUser({ userId: id, etag: 'x' }),
        users().undeleteUser({ userId: id }),
        users().createUser({ ...newcomer, requestId: '' }),
        signedIn(auth().login({ identifier: `nobody${randomUUID()}`, password: 'wrong' })),
        refreshed(auth().refreshAccessToken({ refreshToken: 'x' })),
        book.createContact({}),
        book.updateContact({ contactId: contact.id, givenName: 'Other', etag: 'x' }),
        book.updateContact({ contactId: contact.id, givenName: '' }),
        book.deleteContact({ contactId: contact.id, etag: 'x' }),
        book.undeleteContact({ contactId: contact.id }),
        contacts(other).updateContact({ contactId: contact.id, givenName: 'Theirs' }),
      ];
      await Promise.all(refused.map((call) => refusalOf(call)));
      // Nothing changes by these.
      await users().updateUser({ userId: id, name: user.user.name, role: Role.VIEWER });
      await book.updateContact({ contactId: contact.id, givenName: 'Ada' });
      expect((await book.createContact(created)).contact).toEqual(contact);
      expect((await users().createUser(newcomer)).user).toEqual(made);
      await auth().refreshAccessToken({ refreshToken: user.refreshToken });
      await auth().refreshAccessToken({ refreshToken: user.refreshToken }); // in time: the same answer

      // What is left to the background would come before this.
      await using watch = await startWatch(activity(admin), { userId: id });
      await refusalOf(auth().login({ identifier: user.user.username, password: 'wrong' }));
      expect((await watch.activity()).action).toBe('kith.sign_in.failed');
      expect(await count()).toBe(before + 2); // it is in both lists
    });

    test('failed sign-ins of users who exist, whatever their state', async () => {
      const [suspended, deleted] = await Promise.all([kith.user(), kith.user()]);
      await users().updateUser({ userId: suspended.user.id, state: UserState.SUSPENDED });
      await users().deleteUser({ userId: deleted.user.id });
      await using watch = await startWatch(activity(admin), { actionPrefixes: ['kith.sign_in.failed'] });
      for (const { user, password } of [suspended, deleted]) {
        await refusalOf(auth().login({ identifier: `no${user.username}`, password }));
        await refusalOf(auth().login({ identifier: user.email, password }));
        expect(summary(await watch.activity())).toEqual({
          action: 'kith.sign_in.failed',
          userId: user.id,
          actorId: '',
          attributes: {},
        });
      }
    });

    test('nothing secret', async () => {
      await using fresh = await startFresh();
      const root = await fresh.admin();
      const user = await fresh.user();
      const { id, username, email, name } = user.user;
      await fresh
        .client(UserService, root.accessToken)
        .updateUser({ userId: id, email: 'changed@example.net', name: 'Renamed Person' });
      const marks = ['Givenmark', 'Familymark', 'Companymark', 'notesmark', '+49301234567', 'mail@mark.example'];
      const book = fresh.client(ContactService, user.accessToken);
      const { contact } = await book.createContact({
        givenName: 'Givenmark',
        familyName: 'Familymark',
        company: 'Companymark',
        notes: 'notesmark',
        phones: [{ number: '+49301234567' }],
        emails: [{ address: 'mail@mark.example' }],
      });
      await book.updateContact({ contactId: contact!.id, notes: 'notesmark again' });
      const next = await refreshed(fresh.client(AuthService).refreshAccessToken({ refreshToken: user.refreshToken }));
      const newPassword = 'another good password';
      await fresh.client(AuthService, next.accessToken).changePassword({ currentPassword: user.password, newPassword });
      await fresh.client(AuthService, next.accessToken).logout({});
      await using watch = await startWatch(fresh.client(ActivityService, root.accessToken));
      await refusalOf(fresh.client(AuthService).login({ identifier: username, password: 'wrong password' }));
      await watch.activity();

      const tables = JSON.parse(await fresh.database.dump()) as [string, Record<string, unknown>[]][];
      const rows = tables.find(([table]) => table === 'activity')![1];
      expect(rows.length).toBeGreaterThan(8);
      const text = JSON.stringify(rows);
      const hashes = tables.find(([table]) => table === 'users')![1].map((row) => String(row['password_hash']));
      const secrets = [
        ...marks,
        ...hashes,
        username,
        email,
        name,
        'changed@example.net',
        'Renamed Person',
        ADMIN_PASSWORD,
        user.password,
        newPassword,
        'wrong password',
        user.accessToken,
        user.refreshToken,
        next.accessToken,
        next.refreshToken,
        root.accessToken,
        '$argon2',
        '@',
      ];
      for (const secret of secrets) expect(text).not.toContain(secret);
      expect(new Set(rows.map((row) => row['details']))).toEqual(new Set(['']));
    });

    test('in the transaction of the change: when the one fails, so does the other', async () => {
      await using fresh = await startFresh();
      const root = await fresh.admin();
      const user = await fresh.user();
      const { id, username } = user.user;
      const book = fresh.client(ContactService, user.accessToken);
      const contact = (await book.createContact({ givenName: 'Ada' })).contact!;
      const gone = (await book.createContact({ givenName: 'Gone' })).contact!;
      await book.deleteContact({ contactId: gone.id });
      const lost = await fresh.user();
      const people = fresh.client(UserService, root.accessToken);
      await people.deleteUser({ userId: lost.user.id });
      const first = await signedIn(fresh.client(AuthService).login({ identifier: username, password: user.password }));
      const second = await refreshed(
        fresh.client(AuthService).refreshAccessToken({ refreshToken: first.refreshToken }),
      );
      await fresh.client(AuthService).refreshAccessToken({ refreshToken: second.refreshToken });

      await using app = await openApp(fresh);
      const { db } = app.database;
      await sql`alter table activity rename to activity_away`.execute(db);
      const before = await dumpButCounts(fresh.database);
      const changes: Record<string, () => Promise<unknown>> = {
        createUser: () =>
          people.createUser({
            username: 'newcomer',
            email: 'new@example.org',
            name: 'New',
            password: 'a good password',
          }),
        updateUser: () => people.updateUser({ userId: id, name: 'Other' }),
        deleteUser: () => people.deleteUser({ userId: id }),
        undeleteUser: () => people.undeleteUser({ userId: lost.user.id }),
        createContact: () => book.createContact({ givenName: 'Eve' }),
        updateContact: () => book.updateContact({ contactId: contact.id, givenName: 'Eve' }),
        deleteContact: () => book.deleteContact({ contactId: contact.id }),
        undeleteContact: () => book.undeleteContact({ contactId: gone.id }),
        login: () => signedIn(fresh.client(AuthService).login({ identifier: username, password: user.password })),
        logout: () => fresh.client(AuthService, user.accessToken).logout({}),
        changePassword: () =>
          fresh
            .client(AuthService, user.accessToken)
            .changePassword({ currentPassword: user.password, newPassword: 'another good password' }),
        refreshAccessToken: () =>
          refreshed(fresh.client(AuthService).refreshAccessToken({ refreshToken: first.refreshToken })),
        recordUserActivity: () =>
          fresh
            .client(ActivityService, root.accessToken)
            .recordUserActivity({ activities: [{ userId: id, action: 'x' }], requestId: randomUUID() }),
      };
      for (const [name, change] of Object.entries(changes)) {
        const { code, reason } = await refusalOf(change());
        const after = await dumpButCounts(fresh.database);
        expect({ name, code, reason, after }).toEqual({ name, code: 'Internal', reason: 'INTERNAL', after: before });
      }
      await sql`alter table activity_away rename to activity`.execute(db);
      for (const [name, change] of Object.entries(changes)) {
        if (name === 'deleteUser' || name === 'logout' || name === 'refreshAccessToken') continue;
        await change(); // now it can
      }
    });
  });

  describe('purging', () => {
    test('removes what is past the retention in small steps, and nothing else', async () => {
      await using short = await startFresh({ env: { KITH_ACTIVITY_DAYS: '1' } });
      const { user, accessToken } = await short.admin();
      await using app = await openApp(short);
      const append = (count: number, action: string) =>
        app.database.transaction((tx) =>
          appendActivities(
            tx,
            app,
            Array.from({ length: count }, () => ({ userId: user.id, by: null, action, eventMs: 0 })),
          ),
        );
      await append(250 - 2, 'old'); // the user and the session are there already
      short.clock.offsetMs += DAY_MS - MINUTE_MS;
      await append(30, 'young');
      expect(await purgeActivities(app, 100)).toBe(0);
      short.clock.offsetMs += 2 * MINUTE_MS;
      const steps: number[] = [];
      for (let removed = -1; removed !== 0; ) steps.push((removed = await purgeActivities(app, 100)));
      expect(steps).toEqual([100, 100, 50, 0]);
      const left = await app.database.db.selectFrom('activity').select('action').execute();
      expect(left.map(({ action }) => action)).toEqual(Array(30).fill('young'));
      expect(accessToken).not.toBe('');
    });

    test('of a user removes what is theirs and leaves what they did to others', async () => {
      await using fresh = await startFresh({ env: { KITH_PURGE_AFTER_DAYS: '1' } });
      const root = await fresh.admin();
      const [gone, stays] = await Promise.all([fresh.user(Role.EDITOR), fresh.user()]);
      const recorder = fresh.client(ActivityService, gone.accessToken);
      for (const { user } of [gone, stays]) {
        for (let i = 0; i < 3; i++) {
          await recorder.recordUserActivity({ activities: repeated(100, { userId: user.id, action: 'x' }) });
        }
      }
      await fresh.client(UserService, root.accessToken).deleteUser({ userId: gone.user.id });
      const watch = await startWatch(fresh.client(ActivityService, root.accessToken));
      const { cursor } = watch;
      await watch[Symbol.asyncDispose]();
      await using app = await openApp(fresh);
      expect(await purgeActivitiesOf(app, gone.user.id, 100)).toBe(100);
      fresh.clock.offsetMs += DAY_MS + MINUTE_MS;
      await purge(app);
      const rows = await app.database.db.selectFrom('activity').select(['user_id', 'actor_id', 'action']).execute();
      expect(rows.filter(({ user_id }) => user_id === gone.user.id)).toEqual([]);
      expect(rows.filter(({ user_id, action }) => user_id === stays.user.id && action === 'x')).toHaveLength(300);
      // Cursors stay good: what went is nobody's any more.
      const { accessToken } = await signedIn(
        fresh.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
      );
      await using again = await startWatch(fresh.client(ActivityService, accessToken), { afterCursor: cursor });
      expect((await again.activity()).action).toBe('kith.session.started');
    });
  });
});

/** The position that a cursor of a server of these tests stands for. */
function placeOf(cursor: string) {
  return readCursor(createKeyring(Buffer.alloc(32, 'kith')), cursor);
}

/** A message of gRPC: not compressed, its length, itself. */
function envelope(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
