import { randomUUID, randomUUIDv7 } from 'node:crypto';
import http2 from 'node:http2';
import { setImmediate as turn } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService, type NewActivity, NewActivitySchema } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ErrorReason } from '../gen/kith/error/v1/error_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { createRecordLimits, type RecordMessage, recordStream } from '../src/activity/record-stream.ts';
import { startRevocations } from '../src/identity/revocations/revocations.ts';
import { renew } from '../src/identity/sessions/sessions.ts';
import { type Caller, PERMISSIONS_OF_ROLE } from '../src/kernel/access.ts';
import { databases } from './support/databases.ts';
import { type Kith, protocols, refusalOf, type SignedIn } from './support/kith.ts';
import { recordOverKilledStreams } from './support/killed-streams.ts';
import { RecordStream, startRecordStream } from './support/record-stream.ts';
import { openApp, startOn } from './support/stored.ts';
import { startWatch } from './support/watch.ts';

const NEVER_MS = 3_600_000;

function withUnknownField(activity: MessageInitShape<typeof NewActivitySchema>): NewActivity {
  const $unknown = [{ no: 99, wireType: WireType.Varint, data: new Uint8Array([1]) }];
  return Object.assign(create(NewActivitySchema, activity), { $unknown });
}

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let admin: SignedIn;
  let editor: SignedIn;

  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_LOG_LEVEL: 'error' } });
    [admin, editor] = await Promise.all([kith.admin(), kith.user(Role.EDITOR)]);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const activity = (who = editor, on = kith): Client<typeof ActivityService> =>
    on.client(ActivityService, who.accessToken);
  const one = (action = 'page.viewed', more = {}) => ({ id: randomUUID(), userId: editor.user.id, action, ...more });

  /** The ids of the activities with an action, oldest first. */
  async function recorded(action: string): Promise<string[]> {
    const ids: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await activity(admin).listUserActivity({ pageSize: 1000, actionPrefixes: [action], pageToken });
      ids.push(...page.activities.map(({ id }) => id));
      if (page.nextPageToken === '') return ids.toReversed();
      pageToken = page.nextPageToken;
    }
  }

  test('each message is answered with its sequence, its counts and the cursor that a watch has', async () => {
    await using watch = await startWatch(activity(), { actionPrefixes: ['cursors'] });
    await using stream = await startRecordStream(activity());
    const sent = [one('cursors.a'), one('cursors.b'), one('cursors.c')];
    stream.send(sent[0]!, sent[1]!);
    const first = await stream.answer();
    expect(first).toMatchObject({ sequence: 1n, recordedCount: 2, repeatedCount: 0 });
    stream.send(sent[2]!, sent[0]!);
    expect(await stream.answer()).toMatchObject({ sequence: 2n, recordedCount: 1, repeatedCount: 1 });
    expect((await watch.activities(2)).map(({ id }) => id)).toEqual([sent[0]!.id, sent[1]!.id]);
    expect(first.cursor).toBe(watch.cursor);
    expect((await watch.activity()).id).toBe(sent[2]!.id);
    stream.end();
    expect(await stream.rest()).toEqual([]);
  });

  test('what is recorded is what RecordUserActivity records, and neither repeats the other', async () => {
    const asked = one('alike', { details: 'Details', attributes: { b: '1', a: '2' } });
    const { activities } = await activity().recordUserActivity({ activities: [asked] });
    await using stream = await startRecordStream(activity());
    const other = { ...asked, id: randomUUID() };
    stream.send(asked, other, other);
    expect(await stream.answer()).toMatchObject({ recordedCount: 1, repeatedCount: 2 });
    const { activities: listed } = await activity().listUserActivity({ actionPrefixes: ['alike'] });
    expect(listed).toHaveLength(2);
    const { recordTime, eventTime } = listed[0]!;
    expect(listed[0]).toEqual({ ...activities[0]!, id: other.id, recordTime, eventTime });
    expect(eventTime).toEqual(recordTime);
    expect((await activity().recordUserActivity({ activities: [other] })).activities[0]).toEqual(listed[0]);
  });

  test('a message that is refused for what is stored records nothing, and the stream goes on', async () => {
    const taken = one('refused.before');
    await activity().recordUserActivity({ activities: [taken] });
    const deleted = await kith.user();
    await kith.client(UserService, admin.accessToken).deleteUser({ userId: deleted.user.id });
    const good = Array.from({ length: 5 }, () => one('refused.beside'));
    await using stream = await startRecordStream(activity());
    stream.send(good[0]!);
    stream.send(one('refused.no'), { ...one(), userId: randomUUIDv7() });
    stream.send(good[1]!);
    stream.send(one('refused.no'), { ...one(), userId: deleted.user.id });
    stream.send(one('refused.no'), { ...taken, details: 'other' });
    stream.send(good[2]!);
    stream.send(one('refused.no'), one('kith.user.created'));
    stream.send({ ...good[2]!, details: 'other' }, one('refused.no'));
    stream.send(good[3]!, good[2]!);
    stream.end();
    const answers = await stream.rest();
    expect(answers.map(({ sequence }) => Number(sequence))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(answers.map(({ refusal }) => refusal?.detail?.reason)).toEqual([
      undefined,
      ErrorReason.USER_NOT_FOUND,
      undefined,
      ErrorReason.USER_NOT_FOUND,
      ErrorReason.ACTIVITY_ID_TAKEN,
      undefined,
      ErrorReason.ACTION_RESERVED,
      ErrorReason.ACTIVITY_ID_TAKEN,
      undefined,
    ]);
    expect(answers[3]!.refusal?.detail?.metadata).toEqual({ user_id: deleted.user.id });
    expect(answers[3]).toMatchObject({ cursor: '', recordedCount: 0, repeatedCount: 0 });
    expect(answers[8]).toMatchObject({ recordedCount: 1, repeatedCount: 1 });
    expect(await recorded('refused')).toEqual([taken, ...good.slice(0, 4)].map(({ id }) => id));
  });

  test('a message that breaks the contract ends the stream, once all before it are answered', async () => {
    const broken = [
      [{ ...one('broken.no'), id: '' }, 'FIELDS_INVALID'],
      [one('Broken'), 'FIELDS_INVALID'],
      [one('broken.no', { details: 'x'.repeat(1001) }), 'FIELDS_INVALID'],
      [withUnknownField(one('broken.no')), 'FIELD_UNKNOWN'],
    ] as const;
    const good: string[] = [];
    for (const [bad, reason] of broken) {
      await using stream = await startRecordStream(activity());
      const before = [one('broken.before'), one('broken.before')];
      good.push(...before.map(({ id }) => id));
      stream.send(before[0]!);
      stream.send(before[1]!);
      stream.send(one('broken.no'), bad);
      stream.send(one('broken.no'));
      expect([(await stream.answer()).sequence, (await stream.answer()).sequence]).toEqual([1n, 2n]);
      expect(await refusalOf(stream.answer())).toMatchObject({ code: 'InvalidArgument', reason });
    }
    expect(await recorded('broken')).toEqual(good);
  });

  test.each([0, 101])('a message of %i activities ends the stream', async (count) => {
    await using stream = await startRecordStream(activity());
    stream.send(...Array.from({ length: count }, () => one()));
    expect(await refusalOf(stream.answer())).toMatchObject({ code: 'InvalidArgument', reason: 'FIELDS_INVALID' });
  });

  test('2,000 activities over a stream that is cut off 20 times are recorded once each', {
    timeout: 60_000,
  }, async () => {
    const { ids } = await recordOverKilledStreams(kith, {
      activities: 2000,
      perMessage: 10,
      kills: 20,
      accessToken: editor.accessToken,
      answersBeforeKill: () => Math.floor(Math.random() * 12),
    });
    // What the streams that were cut off had sent may still be in the order of another stream.
    expect((await recorded('killed')).toSorted()).toEqual(ids.toSorted());
  });

  test('a stream ends when its session ends, its API key is revoked, or its user may not record any more', async () => {
    const auth = (who: SignedIn) => kith.client(AuthService, who.accessToken);
    const [left, demoted] = [await kith.user(Role.EDITOR), await kith.user(Role.EDITOR)];
    const keys = kith.client(ApiKeyService, admin.accessToken);
    const { apiKey, secret } = await keys.createApiKey({ name: 'r', permissions: [Permission.ACTIVITY_RECORD] });
    const streams: RecordStream[] = [];
    for (const token of [left.accessToken, demoted.accessToken, secret]) {
      const stream = await startRecordStream(kith.client(ActivityService, token));
      stream.send(one('ended.before'));
      expect(await stream.answer()).toMatchObject({ recordedCount: 1 });
      streams.push(stream);
    }
    await auth(left).logout({});
    await kith.client(UserService, admin.accessToken).updateUser({ userId: demoted.user.id, role: Role.VIEWER });
    await keys.revokeApiKey({ userId: admin.user.id, apiKeyId: apiKey!.id });
    const refusals = await Promise.all(streams.map((stream) => refusalOf(stream.answer())));
    expect(refusals.map(({ code, reason }) => `${code} ${reason}`)).toEqual([
      'Unauthenticated SESSION_ENDED',
      'PermissionDenied PERMISSION_MISSING',
      expect.stringMatching(/^Unauthenticated /),
    ]);
    for (const stream of streams) await stream[Symbol.asyncDispose]();
  });

  test('what comes after a session has ended is not recorded', async () => {
    const left = await kith.user(Role.EDITOR);
    await using stream = await startRecordStream(activity(left));
    await kith.client(AuthService, left.accessToken).logout({});
    stream.send(one('late'));
    expect(await refusalOf(stream.answer())).toMatchObject({ reason: 'SESSION_ENDED' });
    expect(await recorded('late')).toEqual([]);
  });

  test('a server that stops answers what it has recorded, and ends the stream', async () => {
    await using stopping = await startOn(kind);
    const { accessToken } = await stopping.admin();
    const stream = new RecordStream(
      createClient(ActivityService, protocols[0]!.transport(stopping.address, accessToken)),
    );
    expect((await stream.answer()).sequence).toBe(0n);
    for (let i = 0; i < 200; i++) stream.send({ id: randomUUID(), action: 'stop.n' });
    let answered = 0;
    for (; answered < 10; answered++) await stream.answer();
    const stopped = stopping.stop();
    const refusal = await refusalOf(
      (async () => {
        for (; ; answered++) await stream.answer();
      })(),
    );
    expect(refusal).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
    await stream[Symbol.asyncDispose](); // the server waits for clients that have not ended their requests
    await stopped;
    await using app = await openApp(stopping);
    const rows = await app.database.db.selectFrom('activity').select('id').where('action', '=', 'stop.n').execute();
    expect(rows).toHaveLength(answered);
  });

  test('messages are read no further than a bound while the answers are not taken', async () => {
    await using stored = await openApp(kith);
    const clocks = { now: stored.now, monotonic: () => performance.now() };
    await using revocations = await startRevocations(stored.database, { ...clocks, onError() {} });
    const limits = createRecordLimits(10);
    const app = {
      ...stored,
      ...limits,
      revocations,
      progressMs: NEVER_MS,
      recordIdleMs: NEVER_MS,
      renew: (caller: Caller) => renew(stored, caller),
    };
    const caller: Caller = {
      userId: editor.user.id,
      sessionId: String(decodeJwt(editor.accessToken)['sid']),
      kind: 'session',
      permissions: PERMISSIONS_OF_ROLE.editor,
      signInMs: stored.now(),
    };
    let read = 0;
    async function* endless(): AsyncGenerator<RecordMessage> {
      for (;;) yield { sequence: BigInt(++read), activities: [{ id: randomUUID(), userId: null, action: 'ahead' }] };
    }
    const leaving = new AbortController();
    const answers = recordStream(app, caller, endless(), leaving.signal);
    await answers.next();
    for (let answered = 1; answered <= 40; answered++) {
      expect((await answers.next()).value).toMatchObject({ sequence: BigInt(answered) });
      for (let i = 0; i < 50; i++) await turn();
      expect(read).toBeLessThanOrEqual(answered + 16);
    }
    expect(limits.recordBytes.used).toBeGreaterThan(0);
    leaving.abort();
    expect(limits.recordBytes.used).toBe(0);
    await answers.next();
    expect((await recorded('ahead')).length).toBeLessThanOrEqual(read);
  });
});

describe('a stream that records', () => {
  let kith: Kith;
  let editor: SignedIn;
  beforeAll(async () => {
    kith = await startOn(databases[0]!, { server: { recordIdleMs: 200 } });
    editor = await kith.user(Role.EDITOR);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test('ends when nothing comes', async () => {
    await using stream = await startRecordStream(kith.client(ActivityService, editor.accessToken));
    expect(await refusalOf(stream.answer())).toMatchObject({ code: 'DeadlineExceeded', reason: 'DEADLINE_EXCEEDED' });
  });

  const overHttp2 = protocols.filter(({ name }) => name.endsWith('/2') && !name.includes('GET'));
  test.each(overHttp2)('works over $name', async ({ transport }) => {
    const client = createClient(ActivityService, transport(kith.address, editor.accessToken));
    await using stream = await startRecordStream(client);
    stream.send({ id: randomUUID(), action: 'page.viewed' });
    stream.end();
    expect(await stream.rest()).toMatchObject([{ sequence: 1n, recordedCount: 1 }]);
  });

  test('is refused over HTTP/1.1, in words that say what it takes', async () => {
    for (const type of ['application/connect+json', 'application/grpc-web+proto']) {
      const answer = await fetch(`${kith.address}/kith.activity.v1.ActivityService/StreamUserActivity`, {
        method: 'POST',
        headers: { 'content-type': type, authorization: `Bearer ${editor.accessToken}` },
        body: new Uint8Array([0, 0, 0, 0, 0]),
      });
      expect(answer.status).toBe(505);
      expect(await answer.text()).toContain('a bidirectional stream needs HTTP/2');
    }
  });

  test('takes more bytes than a caller may hold at once', async () => {
    await using patient = await startOn(databases[0]!);
    const { accessToken } = await patient.admin();
    const transport = createConnectTransport({ baseUrl: patient.address, httpVersion: '2', useBinaryFormat: true });
    const client = createClient(ActivityService, transport);
    const leaving = new AbortController();
    const details = 'x'.repeat(1000);
    const attributes = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, 'x'.repeat(500)]));
    async function* requests() {
      for (let i = 0; i < 20; i++) {
        const activities = Array.from({ length: 80 }, () => ({
          id: randomUUID(),
          action: 'large',
          details,
          attributes,
        }));
        yield { sequence: BigInt(i + 1), activities };
      }
    }
    const headers = { authorization: `Bearer ${accessToken}` };
    let count = 0;
    for await (const { recordedCount } of client.streamUserActivity(requests(), { signal: leaving.signal, headers })) {
      count += recordedCount;
    }
    expect(count).toBe(1600);
  });

  test('ends where a message stops in the middle, with all before it recorded', async () => {
    const session = http2.connect(kith.address);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/kith.activity.v1.ActivityService/StreamUserActivity',
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      authorization: `Bearer ${editor.accessToken}`,
    });
    stream.write(Buffer.from([0, 0, 0, 1, 0, 8]));
    const trailers = await new Promise<http2.IncomingHttpHeaders>((resolve) => stream.resume().on('trailers', resolve));
    expect(trailers['grpc-status']).toBe('4'); // the idle deadline: half a message is none
    session.destroy();
  });
});
