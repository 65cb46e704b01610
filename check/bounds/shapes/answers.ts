import { create, toBinary } from '@bufbuild/protobuf';
import { ListContactsRequestSchema } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { ListUserActivityRequestSchema } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { http1Request } from '../../../test/support/raw.ts';
import type { Attack, Call } from '../attack.ts';
import type { Shape } from '../shape.ts';
import { fillContacts, largeContact, recordActivities } from './fill.ts';

const LIST_CONTACTS = '/kith.contact.v1.ContactService/ListContacts';
const PAGE = { pageSize: 1000 };
const PAGE_BYTES = toBinary(ListContactsRequestSchema, create(ListContactsRequestSchema, PAGE));

/** As many large contacts as make the largest page. */
const fill = (attack: Attack) => fillContacts(attack, 120, largeContact);

function page(attack: Attack, headers: Record<string, string> = {}, leaveAfterMs?: number): Call {
  return {
    method: method(attack, 'ListContacts'),
    protocol: 'grpc',
    body: PAGE_BYTES,
    token: attack.viewer.accessToken,
    headers,
    ...(leaveAfterMs !== undefined && { leaveAfterMs }),
  };
}

function method(attack: Attack, name: string) {
  const found = attack.methods.find((method) => method.name === name);
  if (found === undefined) throw new Error(`there is no method ${name}`);
  return found;
}

const LARGE: Pick<Shape, 'kind' | 'who' | 'prepare'> = { kind: 'answers', who: 'viewer', prepare: fill };

/** Asks for answers over HTTP/2 and opens no window for them. */
async function leaveUnread(attack: Attack, connections: number, streams: number, call: () => Call): Promise<void> {
  const sessions = Array.from({ length: connections }, () => attack.session(0, { initialWindowSize: 0 }));
  await Promise.all(
    sessions.map(async (session) => {
      const calls = Array.from({ length: streams }, () =>
        attack.callHttp2(session, call(), 3_600_000).catch(() => attack.count('no stream to be had')),
      );
      await Promise.race([Promise.all(calls), attack.untilOver()]);
    }),
  );
  await attack.untilOver();
  attack.count('held', sessions.filter(({ destroyed }) => !destroyed).length);
  for (const session of sessions) session.destroy();
}

/** Asks behind one another over HTTP/1.1 and reads nothing. */
async function pipelineUnread(attack: Attack, connections: number, requests: number, request: Buffer): Promise<void> {
  const sockets = Array.from({ length: connections }, () => {
    const socket = attack.socket();
    socket.pause();
    for (let i = 0; i < requests; i++) socket.write(request);
    attack.sent(requests);
    return socket;
  });
  await attack.untilOver();
  attack.count('held', sockets.filter(({ destroyed }) => !destroyed).length);
  for (const socket of sockets) socket.destroy();
}

function pageOverHttp1(attack: Attack, headers: Record<string, string> = {}): Buffer {
  const all = { 'content-type': 'application/json', authorization: `Bearer ${attack.viewer.accessToken}`, ...headers };
  return http1Request('POST', LIST_CONTACTS, all, JSON.stringify(PAGE));
}

const HELD_OR_REFUSED = /held|RESOURCE_EXHAUSTED|connection|RST_STREAM/;

export const answerShapes: readonly Shape[] = [
  {
    ...LARGE,
    name: 'pages unread, HTTP/2',
    sends: 'ListContacts on 100 streams of 4 connections, no window opened',
    expects: [HELD_OR_REFUSED],
    isShort: true,
    run: (attack) => leaveUnread(attack, 4, 100, () => page(attack)),
  },
  {
    ...LARGE,
    name: 'pages unread, HTTP/2, compressed',
    sends: 'the same, with gzip accepted',
    expects: [HELD_OR_REFUSED],
    run: (attack) => leaveUnread(attack, 4, 100, () => page(attack, { 'grpc-accept-encoding': 'gzip' })),
  },
  {
    ...LARGE,
    name: 'pages unread, HTTP/1.1',
    sends: 'ListContacts 90 times on each of 5 connections, nothing read',
    expects: [HELD_OR_REFUSED],
    run: (attack) => pipelineUnread(attack, 5, 90, pageOverHttp1(attack)),
  },
  {
    ...LARGE,
    name: 'pages unread, many connections',
    sends: 'ListContacts once on each of 300 connections, nothing read',
    expects: [HELD_OR_REFUSED],
    run: (attack) => pipelineUnread(attack, 300, 1, pageOverHttp1(attack)),
  },
  {
    ...LARGE,
    name: 'files unread',
    sends: '/contacts.vcf, 4 times on each of 10 connections, nothing read',
    expects: [HELD_OR_REFUSED],
    run: (attack) =>
      pipelineUnread(
        attack,
        10,
        4,
        http1Request('GET', '/contacts.vcf', { authorization: `Bearer ${attack.viewer.accessToken}` }),
      ),
  },
  {
    ...LARGE,
    name: 'pages read a byte at a time',
    sends: 'ListContacts on 100 connections, a byte read each 10 ms',
    expects: [HELD_OR_REFUSED],
    async run(attack) {
      const sockets = Array.from({ length: 100 }, () => {
        const socket = attack.socket();
        socket.write(pageOverHttp1(attack));
        attack.sent();
        return socket.pause();
      });
      while (!attack.isOver) {
        for (const socket of sockets) socket.read(1);
        await attack.wait(10);
      }
      attack.count('held', sockets.filter(({ destroyed }) => !destroyed).length);
      for (const socket of sockets) socket.destroy();
    },
  },
  {
    ...LARGE,
    name: 'pages with brotli, read',
    isShort: true,
    sends: 'ListContacts with grpc-accept-encoding: br, 2 a second',
    expects: [/OK/],
    run: (attack) => attack.pump({ inFlight: 4, perSecond: 2 }, () => page(attack, { 'grpc-accept-encoding': 'br' })),
  },
  {
    ...LARGE,
    name: 'pages with brotli, left',
    sends: 'ListContacts with accept-encoding: br, 10 a second, left after 50 ms',
    expects: [/left|OK|RESOURCE_EXHAUSTED/],
    run: (attack) =>
      attack.pump({ inFlight: 20, perSecond: 10 }, () => page(attack, { 'grpc-accept-encoding': 'br' }, 50)),
  },
  {
    ...LARGE,
    name: 'pages with gzip, HTTP/1.1',
    sends: 'ListContacts with accept-encoding: gzip, 10 a second',
    expects: [/OK/],
    run: (attack) =>
      attack.pump({ over: 'http1', connections: 10, perSecond: 10 }, () => ({
        ...page(attack),
        protocol: 'connect-json',
        body: JSON.stringify(PAGE),
        headers: { 'accept-encoding': 'gzip' },
      })),
  },
  {
    ...LARGE,
    name: 'pages, read as fast as can be',
    sends: 'ListContacts on 20 streams of 2 connections',
    expects: [/OK/],
    isFlood: true,
    run: (attack) => attack.pump({ connections: 2, inFlight: 20 }, () => page(attack)),
  },
  {
    ...LARGE,
    name: 'pages that are left',
    sends: 'ListContacts, left after 1 to 20 ms, as fast as can be',
    expects: [/left/],
    isFlood: true,
    run: (attack) => attack.pump({ connections: 4, inFlight: 10 }, (n) => page(attack, {}, 1 + (n % 20))),
  },
  {
    kind: 'answers',
    who: 'editor',
    name: 'pages of everybody’s activity',
    sends: 'ListUserActivity of everything, pages of 1,000, on 20 streams',
    expects: [/OK/],
    isFlood: true,
    prepare: (attack) => recordActivities(attack, 20),
    run: (attack) =>
      attack.pump({ connections: 2, inFlight: 10 }, () => ({
        method: method(attack, 'ListUserActivity'),
        protocol: 'grpc',
        body: toBinary(ListUserActivityRequestSchema, create(ListUserActivityRequestSchema, PAGE)),
        token: attack.editor.accessToken,
      })),
  },
  {
    kind: 'answers',
    who: 'editor',
    name: 'activity unread',
    sends: 'ListUserActivity of everything on 100 streams of 4 connections, no window opened',
    expects: [HELD_OR_REFUSED],
    prepare: (attack) => recordActivities(attack, 20),
    run: (attack) =>
      leaveUnread(attack, 4, 100, () => ({
        method: method(attack, 'ListUserActivity'),
        protocol: 'grpc',
        body: toBinary(ListUserActivityRequestSchema, create(ListUserActivityRequestSchema, PAGE)),
        token: attack.editor.accessToken,
      })),
  },
  {
    kind: 'answers',
    who: 'anybody',
    name: 'keys and probes unread',
    sends: 'jwks.json and probes, 90 on each of 50 connections, nothing read',
    expects: [HELD_OR_REFUSED],
    run: (attack) => pipelineUnread(attack, 50, 90, http1Request('GET', '/.well-known/jwks.json', {})),
  },
  {
    kind: 'answers',
    who: 'viewer',
    name: 'every method, left before the answer',
    sends: 'an empty message to every method, left at once, as fast as can be',
    expects: [/left/],
    isFlood: true,
    isShort: true,
    run: (attack) => {
      const methods = attack.methods.filter(({ name }) => name !== 'Logout');
      attack.want(methods);
      return attack.pump({ connections: 8, inFlight: 10 }, (n) => {
        const one = methods[n % methods.length]!;
        return {
          method: one,
          protocol: n % 2 === 0 ? 'grpc' : 'connect',
          body: '',
          token: attack.tokenFor(one),
          leaveAfterMs: n % 3,
        };
      });
    },
  },
  {
    kind: 'answers',
    who: 'viewer',
    name: 'every method over HTTP/1.1, left before the answer',
    sends: 'an empty message to every method over a connection that is cut off',
    expects: [/left/],
    isFlood: true,
    run: (attack) => {
      const methods = attack.methods.filter(({ name }) => name !== 'Logout');
      attack.want(methods);
      return attack.pump({ over: 'http1', connections: 20 }, (n) => {
        const one = methods[n % methods.length]!;
        return {
          method: one,
          protocol: n % 2 === 0 ? 'connect' : 'connect-json',
          body: n % 2 === 0 ? '' : '{}',
          token: attack.tokenFor(one),
          leaveAfterMs: n % 3,
        };
      });
    },
  },
];
