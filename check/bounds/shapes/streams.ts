import type { ClientHttp2Stream } from 'node:http2';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ServerReflectionRequestSchema } from '../../../gen/grpc/reflection/v1/reflection_pb.ts';
import {
  StreamUserActivityRequestSchema,
  WatchUserActivityRequestSchema,
} from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { type Attack, type Call, envelope } from '../attack.ts';
import { outcomeOf } from '../answers.ts';
import { pathOf } from '../contract.ts';
import type { Shape } from '../shape.ts';
import { largestBatch, recordActivities } from './fill.ts';
import { floodReflection } from './messages.ts';

function question(symbol: string): Buffer {
  const messageRequest = { case: 'fileContainingSymbol' as const, value: symbol };
  return envelope(toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest })));
}

function watch(
  attack: Attack,
  request: { userId?: string; afterCursor?: string; actionPrefixes?: string[] },
  token?: string,
): Call {
  return {
    method: methodOf(attack, 'WatchUserActivity'),
    protocol: 'grpc',
    body: toBinary(WatchUserActivityRequestSchema, create(WatchUserActivityRequestSchema, request)),
    token: token ?? attack.viewer.accessToken,
  };
}

function methodOf(attack: Attack, name: string, service?: string) {
  const found = attack.methods.find(
    (method) => method.name === name && (service ?? method.parent.typeName) === method.parent.typeName,
  );
  if (found === undefined) throw new Error(`there is no method ${name}`);
  return found;
}

/** Opens streams, a hundred on a connection, and keeps them to the end. */
async function holdStreams(
  attack: Attack,
  count: number,
  call: (i: number) => Call,
  during?: () => Promise<void>,
  settings = {},
): Promise<void> {
  const sessions = [];
  let open = 0;
  for (let i = 0; i < count && !attack.isOver; ) {
    const session = attack.session(0, settings);
    sessions.push(session);
    for (const end = i + 100; i < end && i < count; i++) {
      open += 1;
      void attack
        .callHttp2(session, call(i), 3_600_000)
        .catch(() => attack.count('no stream to be had'))
        .finally(() => (open -= 1));
    }
    await attack.wait(10);
  }
  while (!attack.isOver) {
    await during?.();
    await attack.wait(20);
  }
  attack.count('held', open);
  for (const session of sessions) session.destroy();
}

const HELD_OR_REFUSED = /held|RESOURCE_EXHAUSTED/;

/** A change of the viewer's own, which their watches are told of. */
function change(attack: Attack): () => Promise<void> {
  const agent = attack.agent();
  return async () => {
    const body = JSON.stringify({ givenName: 'Change' });
    await attack.callHttp1(agent, {
      method: methodOf(attack, 'CreateContact'),
      protocol: 'connect-json',
      body,
      token: attack.viewer.accessToken,
    });
  };
}

/** Opens streams that record, a hundred on a connection, and has each send what `send` does, to the end. */
async function holdRecording(
  attack: Attack,
  count: number,
  send: (stream: ClientHttp2Stream, i: number) => Promise<void>,
  settings = {},
): Promise<void> {
  const method = methodOf(attack, 'StreamUserActivity');
  const sessions = [];
  let open = 0;
  for (let i = 0; i < count && !attack.isOver; ) {
    const session = attack.session(0, settings);
    sessions.push(session);
    for (const end = i + 100; i < end && i < count && !session.destroyed; i++) {
      attack.sent();
      const stream = session.request({
        ':method': 'POST',
        ':path': pathOf(method),
        'content-type': 'application/grpc+proto',
        te: 'trailers',
        authorization: `Bearer ${attack.editor.accessToken}`,
      });
      open += 1;
      let headers = {};
      let trailers = {};
      stream.on('error', () => {});
      stream.on('response', (received) => (headers = received));
      stream.on('trailers', (received) => (trailers = received));
      stream.on('close', () => {
        open -= 1;
        const hasAnswer = 'grpc-status' in headers || 'grpc-status' in trailers;
        if (hasAnswer) attack.count(outcomeOf({ status: 200, headers, trailers, body: Buffer.alloc(0) }));
        else if (!attack.isOver) attack.count(`RST_STREAM ${stream.rstCode}`);
      });
      void send(stream, i).catch(() => {});
    }
    await attack.wait(10);
  }
  await attack.untilOver();
  attack.count('held', open);
  for (const session of sessions) session.destroy();
}

/** Writes messages until the time is up or the stream ends, as fast as its window lets them go. */
async function writeOn(attack: Attack, stream: ClientHttp2Stream, next: () => Uint8Array): Promise<void> {
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  stream.once('close', close);
  while (!attack.isOver && !stream.destroyed) {
    if (stream.write(next())) await new Promise(setImmediate);
    else await Promise.race([closed, new Promise<void>((resolve) => void stream.once('drain', resolve))]);
  }
}

function recordMessage(activities: MessageInitShape<typeof StreamUserActivityRequestSchema>['activities']): Buffer {
  const request = create(StreamUserActivityRequestSchema, { sequence: 1n, activities: activities ?? [] });
  return envelope(toBinary(StreamUserActivityRequestSchema, request));
}

export const streamShapes: readonly Shape[] = [
  {
    name: 'streams that record nothing',
    kind: 'streams',
    who: 'editor',
    sends: '3,000 streams of StreamUserActivity without a message',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdRecording(attack, 3000, async (stream) => {
        stream.resume();
      }),
  },
  {
    name: 'streams that record without end',
    kind: 'streams',
    who: 'editor',
    sends: 'a hundred streams of StreamUserActivity, each as many small messages as it may send',
    expects: [HELD_OR_REFUSED],
    isFlood: true,
    run: (attack) =>
      holdRecording(attack, 100, (stream) => {
        stream.resume();
        return writeOn(attack, stream, () => recordMessage([{ id: attack.random.uuid(), action: 'page.viewed' }]));
      }),
  },
  {
    name: 'streams that record, with answers unread',
    isShort: true,
    kind: 'streams',
    who: 'editor',
    sends: 'a hundred streams of StreamUserActivity that take no answer, each as many messages as it may send',
    expects: [HELD_OR_REFUSED],
    isFlood: true,
    run: (attack) =>
      holdRecording(
        attack,
        100,
        (stream) => writeOn(attack, stream, () => recordMessage([{ id: attack.random.uuid(), action: 'page.viewed' }])),
        { initialWindowSize: 0 },
      ),
  },
  {
    name: 'streams that record the largest messages',
    kind: 'streams',
    who: 'editor',
    sends: 'fifty streams of StreamUserActivity, each of batches of 100 activities of 9 kB',
    expects: [HELD_OR_REFUSED],
    isFlood: true,
    run: (attack) =>
      holdRecording(attack, 50, (stream) => {
        stream.resume();
        return writeOn(attack, stream, () => {
          const { activities = [] } = largestBatch(attack.viewer.id);
          return recordMessage(activities.map((activity) => ({ ...activity, id: attack.random.uuid() })));
        });
      }),
  },
  {
    name: 'streams that record half a message',
    kind: 'streams',
    who: 'editor',
    sends: '2,000 streams of StreamUserActivity that stop in the middle of a large message',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdRecording(attack, 2000, async (stream) => {
        stream.resume();
        stream.write(envelope(Buffer.alloc(900_000)).subarray(0, 60_000));
      }),
  },
  {
    name: 'watches of one user',
    isShort: true,
    kind: 'streams',
    who: 'viewer',
    sends: '6,000 watches of the own user, and changes',
    expects: [HELD_OR_REFUSED],
    run: (attack) => holdStreams(attack, 6000, () => watch(attack, { userId: attack.viewer.id }), change(attack)),
  },
  {
    name: 'watches of everybody',
    kind: 'streams',
    who: 'editor',
    sends: '3,000 watches of all users, each with a filter of its own',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdStreams(attack, 3000, (i) => watch(attack, { actionPrefixes: [`a${i}`] }, attack.editor.accessToken)),
  },
  {
    name: 'watches unread',
    kind: 'streams',
    who: 'editor',
    sends: '500 watches of everybody that are not read, and large activities',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdStreams(
        attack,
        500,
        () => watch(attack, {}, attack.editor.accessToken),
        () => recordActivities(attack, 1),
        { initialWindowSize: 100 },
      ),
  },
  {
    name: 'watches that come and go',
    kind: 'streams',
    who: 'viewer',
    sends: 'watches of the own user, left after some milliseconds, as fast as can be',
    isFlood: true,
    expects: [/left/],
    run: (attack) =>
      attack.pump({ connections: 4, inFlight: 20 }, (n) => ({
        ...watch(attack, { userId: attack.viewer.id }),
        leaveAfterMs: n % 10,
      })),
  },
  {
    name: 'watches that lag behind',
    kind: 'streams',
    who: 'editor',
    sends: '300 watches from an early cursor, with megabytes to read, not read',
    expects: [HELD_OR_REFUSED],
    prepare: (attack) => recordActivities(attack, 20),
    async run(attack) {
      const cursor = await earlyCursor(attack);
      await holdStreams(
        attack,
        300,
        () => watch(attack, { afterCursor: cursor }, attack.editor.accessToken),
        undefined,
        { initialWindowSize: 1000 },
      );
    },
  },
  {
    name: 'wrong cursors',
    kind: 'streams',
    who: 'viewer',
    sends: 'watches from cursors that nobody gave out, each another one',
    isFlood: true,
    expects: [/CURSOR_INVALID/],
    run: (attack) =>
      attack.pump({ connections: 4, inFlight: 20 }, (n) =>
        watch(attack, {
          userId: attack.viewer.id,
          afterCursor: Buffer.from(`cursor ${n} of nobody at all`).toString('base64url'),
        }),
      ),
  },
  {
    name: 'Health/Watch',
    kind: 'streams',
    who: 'anybody',
    sends: '8,000 watches of the health of the server',
    expects: [HELD_OR_REFUSED],
    isShort: true,
    run: (attack) =>
      holdStreams(attack, 8000, () => ({
        method: methodOf(attack, 'Watch', 'grpc.health.v1.Health'),
        protocol: 'grpc',
        body: '',
      })),
  },
  {
    name: 'Health/Watch of what there is not',
    kind: 'streams',
    who: 'anybody',
    sends: '3,000 watches of the health of services that nobody knows',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdStreams(attack, 3000, (i) => {
        const name = Buffer.from(`service ${i} ${'n'.repeat(100)}`);
        return {
          method: methodOf(attack, 'Watch', 'grpc.health.v1.Health'),
          protocol: 'grpc',
          body: Buffer.concat([Buffer.from([10, name.length]), name]),
        };
      }),
  },
  {
    name: 'watches of revocations',
    kind: 'streams',
    who: 'editor',
    sends: '3,000 watches of what is revoked',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      holdStreams(attack, 3000, () => ({
        method: methodOf(attack, 'WatchRevocations'),
        protocol: 'grpc',
        body: '',
        token: attack.editor.accessToken,
      })),
  },
  {
    name: 'reflection with brotli',
    isShort: true,
    kind: 'streams',
    who: 'anybody',
    sends: 'questions for the largest file, with grpc-accept-encoding: br',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    run: (attack) =>
      floodReflection(attack, question('kith.contact.v1.ContactService'), { 'grpc-accept-encoding': 'br' }, 4, 300),
  },
  {
    name: 'reflection without compression',
    kind: 'streams',
    who: 'anybody',
    sends: 'questions for the largest file, as fast as can be',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    isFlood: true,
    run: (attack) => floodReflection(attack, question('kith.contact.v1.ContactService'), {}),
  },
  {
    name: 'reflection streams that stay silent',
    kind: 'streams',
    who: 'anybody',
    sends: '3,000 reflection streams without a question',
    expects: [/held|RESOURCE_EXHAUSTED|DEADLINE/],
    async run(attack) {
      const sessions = [];
      let streams = 0;
      for (; streams < 3000 && !attack.isOver; ) {
        const session = attack.session();
        sessions.push(session);
        for (let i = 0; i < 100; i++, streams++) {
          attack.sent();
          const stream = session.request({
            ':method': 'POST',
            ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
            'content-type': 'application/grpc+proto',
            te: 'trailers',
          });
          stream.on('error', () => {});
          stream.on('response', (answer) => {
            if (answer['grpc-status'] !== undefined)
              attack.count(
                answer['grpc-status'] === '8' ? 'RESOURCE_EXHAUSTED' : `grpc-status ${String(answer['grpc-status'])}`,
              );
          });
          stream.resume();
        }
        await attack.wait(10);
      }
      await attack.untilOver();
      attack.count('held', sessions.filter(({ destroyed }) => !destroyed).length);
      for (const session of sessions) session.destroy();
    },
  },
  {
    name: 'reflection unread',
    kind: 'streams',
    who: 'anybody',
    sends: 'questions for the largest file on 100 streams, no window opened',
    expects: [/held|RESOURCE_EXHAUSTED/],
    async run(attack) {
      const session = attack.session(0, { initialWindowSize: 0 });
      const ask = Buffer.concat(Array.from({ length: 200 }, () => question('kith.user.v1.UserService')));
      for (let i = 0; i < 100; i++) {
        attack.sent();
        const stream = session.request({
          ':method': 'POST',
          ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
          'content-type': 'application/grpc+proto',
          te: 'trailers',
        });
        stream.on('error', () => {});
        stream.write(ask);
      }
      await attack.untilOver();
      attack.count('held', session.destroyed ? 0 : 1);
      session.destroy();
    },
  },
];

/** The cursor of a watch that begins now has the activities of `prepare` behind it: so the oldest of a page is taken. */
async function earlyCursor(attack: Attack): Promise<string> {
  const response = await fetch(
    `http://127.0.0.1:${attack.options.port}/kith.activity.v1.ActivityService/ListUserActivity`,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${attack.editor.accessToken}` },
      body: JSON.stringify({ userId: attack.viewer.id, pageSize: 1000 }),
    },
  );
  const { activities = [] } = (await response.json()) as { activities?: { cursor: string }[] };
  return activities.at(-1)?.cursor ?? '';
}
