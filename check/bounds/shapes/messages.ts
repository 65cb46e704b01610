import { createHash } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { type Attack, type Call, envelope, type Pump } from '../attack.ts';
import { pathOf } from '../contract.ts';
import * as hostile from '../hostile.ts';
import type { Shape } from '../shape.ts';

const MB = 1_000_000;

/** How a message that is larger, deeper or longer than the contract allows is refused. */
const REFUSED = /^(INVALID_ARGUMENT|RESOURCE_EXHAUSTED\/(REQUEST_TOO_LARGE|BUDGET_EXCEEDED|SERVER_BUSY))/;
const UNKNOWN_FIELD = /FIELD_UNKNOWN|REQUEST_TOO_LARGE/;
const MALFORMED = /MALFORMED_REQUEST|REQUEST_TOO_LARGE/;
const TOO_LARGE = /REQUEST_TOO_LARGE/;

interface OverMethods {
  readonly name: string;
  readonly sends: string;
  readonly make: hostile.Hostile;
  readonly size: number;
  readonly protocol: Call['protocol'];
  readonly encoding?: Call['encoding'];
  readonly expects: readonly RegExp[];
  readonly pump?: Pump;
  readonly isFlood?: boolean;
  readonly isShort?: boolean;
  readonly headers?: Call['headers'];
}

/** Sends a message of one kind to every method that has a place for it, in turn. */
function overMethods({
  name,
  sends,
  make,
  size,
  protocol,
  encoding,
  expects,
  pump,
  isFlood,
  isShort,
  headers,
}: OverMethods): Shape {
  const bodies = new Map<DescMethod, Uint8Array>();
  return {
    name,
    kind: 'messages',
    who: 'viewer',
    sends: `${sends}, to every method`,
    expects: [...expects, REFUSED],
    isFlood: isFlood ?? false,
    isShort: isShort ?? false,
    async prepare({ methods }) {
      for (const method of methods) {
        if (protocol === 'get' && method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) continue;
        const body = make(method.input, size);
        if (body !== undefined) bodies.set(method, packed(body, encoding));
      }
    },
    async run(attack) {
      const all = [...bodies];
      attack.want(all.map(([method]) => method));
      await attack.pump(
        {
          connections: 2,
          inFlight: 4,
          perSecond: 30,
          over: protocol.startsWith('grpc') ? 'http2' : 'http1',
          ...pump,
          atLeast: all.length,
        },
        (n) => {
          const [method, body] = all[n % all.length]!;
          return { method, protocol, encoding, body, token: attack.tokenFor(method), ...(headers && { headers }) };
        },
      );
    },
  };
}

function packed(body: Uint8Array, encoding: Call['encoding']): Uint8Array {
  if (encoding === undefined) return body;
  const key = `${encoding} ${createHash('sha256').update(body).digest('base64')}`;
  const found = compressed.get(key);
  if (found !== undefined) return found;
  const made = encoding === 'gzip' ? hostile.gzip(body) : hostile.brotli(body);
  compressed.set(key, made);
  return made;
}

/** Many methods are sent the same bytes. */
const compressed = new Map<string, Uint8Array>();

/** As the issue has it: a hundred at once. */
const BURST: Pump = { connections: 10, inFlight: 10, perSecond: 100 };

export const messageShapes: readonly Shape[] = [
  overMethods({
    name: 'gzip of unknown fields, gRPC',
    isShort: true,
    sends: '1 MB of two-byte unknown fields in a kilobyte',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'grpc',
    encoding: 'gzip',
    expects: [UNKNOWN_FIELD],
    pump: BURST,
  }),
  overMethods({
    name: 'gzip of unknown fields, Connect',
    sends: '1 MB of two-byte unknown fields in a kilobyte, a hundred connections',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'connect',
    encoding: 'gzip',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 100, perSecond: 100 },
  }),
  overMethods({
    name: 'brotli of unknown fields, gRPC',
    sends: '1 MB of two-byte unknown fields in some bytes',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'grpc',
    encoding: 'br',
    expects: [UNKNOWN_FIELD],
    pump: BURST,
  }),
  overMethods({
    name: 'brotli of unknown fields, Connect',
    sends: '1 MB of two-byte unknown fields in some bytes',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'connect',
    encoding: 'br',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 50, perSecond: 100 },
  }),
  overMethods({
    name: 'gzip of small unknown fields',
    sends: '60 kB of two-byte unknown fields, gzip, as fast as can be',
    make: hostile.unknownFields,
    size: 60_000,
    protocol: 'grpc',
    encoding: 'gzip',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 4, inFlight: 20, perSecond: 1_000_000 },
    isFlood: true,
  }),
  overMethods({
    name: 'gzip of 64 MB of zeros, gRPC',
    sends: '64 MB of zeros in 62 kB',
    make: hostile.zeros,
    size: 64 * MB,
    protocol: 'grpc',
    encoding: 'gzip',
    expects: [TOO_LARGE],
    pump: { connections: 4, inFlight: 4, perSecond: 40 },
    isShort: true,
  }),
  overMethods({
    name: 'brotli of 64 MB of zeros, Connect',
    sends: '64 MB of zeros in some bytes',
    make: hostile.zeros,
    size: 64 * MB,
    protocol: 'connect',
    encoding: 'br',
    expects: [TOO_LARGE],
    pump: { connections: 10, perSecond: 40 },
  }),
  overMethods({
    name: 'gzip that does not unpack',
    sends: '10 kB that are no gzip',
    make: hostile.invalidUtf8,
    size: 10_000,
    protocol: 'grpc',
    headers: { 'grpc-encoding': 'gzip' },
    expects: [MALFORMED],
  }),
  overMethods({
    name: 'unknown fields, gRPC',
    sends: '1 MB of unknown fields',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'grpc',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 2, inFlight: 10, perSecond: 20 },
  }),
  overMethods({
    name: 'unknown fields inside, Connect',
    sends: '200 kB of unknown fields in a message of the message',
    make: hostile.unknownFieldsInside,
    size: 200_000,
    protocol: 'connect',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 8, perSecond: 20 },
  }),
  overMethods({
    name: 'nested unknown fields',
    sends: '500 kB of unknown fields, each in the one before',
    make: hostile.nestedUnknown,
    size: 500_000,
    protocol: 'grpc',
    expects: [UNKNOWN_FIELD],
  }),
  overMethods({
    name: 'groups in groups',
    sends: '500 kB of beginnings of groups',
    make: hostile.deepGroups,
    size: 500_000,
    protocol: 'grpc',
    expects: [/MALFORMED_REQUEST|FIELD_UNKNOWN|REQUEST_TOO_LARGE/],
  }),
  overMethods({
    name: 'groups in groups, Connect gzip',
    sends: '1 MB of beginnings of groups in a kilobyte',
    make: hostile.deepGroups,
    size: MB,
    protocol: 'connect',
    encoding: 'gzip',
    expects: [/MALFORMED_REQUEST|FIELD_UNKNOWN|REQUEST_TOO_LARGE/],
    pump: { connections: 8, perSecond: 40 },
  }),
  overMethods({
    name: 'long lists, gRPC',
    isShort: true,
    sends: '500,000 empty items in the longest list of the message',
    make: hostile.longList,
    size: MB,
    protocol: 'grpc',
    expects: [/FIELDS_INVALID|REQUEST_TOO_LARGE/],
    pump: { connections: 4, inFlight: 10, perSecond: 20 },
  }),
  overMethods({
    name: 'gzip of long lists, Connect',
    sends: '500,000 empty items in a kilobyte',
    make: hostile.longList,
    size: MB,
    protocol: 'connect',
    encoding: 'gzip',
    expects: [/FIELDS_INVALID|REQUEST_TOO_LARGE/],
    pump: { connections: 20, perSecond: 40 },
  }),
  overMethods({
    name: 'long maps',
    sends: 'a map of 90,000 keys',
    make: hostile.longMap,
    size: 900_000,
    protocol: 'grpc',
    encoding: 'gzip',
    expects: [/FIELDS_INVALID|PERMISSION_MISSING|REQUEST_TOO_LARGE/],
    pump: { connections: 4, inFlight: 10, perSecond: 20 },
  }),
  overMethods({
    name: 'a field that is merged 500,000 times',
    sends: 'one message field again and again',
    make: hostile.merges,
    size: MB,
    protocol: 'grpc',
    encoding: 'gzip',
    expects: [],
    pump: { connections: 2, inFlight: 10, perSecond: 20 },
  }),
  overMethods({
    name: 'one number, 80,000 times in ten bytes',
    sends: 'the longest varints in a field that takes one',
    make: hostile.overlongVarints,
    size: 900_000,
    protocol: 'grpc',
    expects: [],
    pump: { connections: 2, inFlight: 10, perSecond: 20 },
  }),
  overMethods({
    name: 'huge strings, gRPC',
    sends: 'a text of 900 kB where a line is asked for',
    make: hostile.hugeString,
    size: 900_000,
    protocol: 'grpc',
    expects: [/FIELDS_INVALID|REQUEST_TOO_LARGE/],
    pump: { connections: 2, inFlight: 8, perSecond: 20 },
  }),
  overMethods({
    name: 'huge strings of owls, Connect gzip',
    sends: 'a text of 250,000 characters of four bytes, in a kilobyte',
    make: hostile.hugeEmoji,
    size: MB,
    protocol: 'connect',
    encoding: 'gzip',
    expects: [/FIELDS_INVALID|REQUEST_TOO_LARGE/],
    pump: { connections: 20, perSecond: 40 },
  }),
  overMethods({
    name: 'invalid UTF-8',
    sends: '500 kB that are no text in a string field',
    make: hostile.invalidUtf8,
    size: 500_000,
    protocol: 'grpc',
    expects: [MALFORMED],
  }),
  overMethods({
    name: 'truncated messages',
    sends: 'a field that promises 2 GB, as fast as can be',
    make: hostile.truncated,
    size: 0,
    protocol: 'grpc',
    expects: [/MALFORMED_REQUEST/],
    pump: { connections: 4, inFlight: 20, perSecond: 1_000_000 },
    isFlood: true,
  }),
  overMethods({
    name: 'JSON with 24,000 unknown keys',
    sends: '215 kB of distinct keys',
    make: hostile.jsonKeys,
    size: 215_000,
    protocol: 'connect-json',
    expects: [MALFORMED],
    pump: { connections: 8, perSecond: 20 },
    isShort: true,
  }),
  overMethods({
    name: 'gzip of JSON keys',
    sends: '1 MB of distinct keys, gzip',
    make: hostile.jsonKeys,
    size: MB,
    protocol: 'connect-json',
    encoding: 'gzip',
    expects: [MALFORMED],
    pump: { connections: 20, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON arrays in arrays',
    sends: '1 MB of brackets',
    make: hostile.jsonNestedArrays,
    size: MB,
    protocol: 'connect-json',
    expects: [MALFORMED],
    pump: { connections: 4, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON objects in objects, gRPC',
    sends: '600 kB of objects, each in the one before',
    make: hostile.jsonNestedObjects,
    size: 600_000,
    protocol: 'grpc-json',
    expects: [MALFORMED],
    pump: { connections: 2, inFlight: 4, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON that is not closed, gzip',
    sends: '1 MB of beginnings in a kilobyte',
    make: hostile.jsonUnclosed,
    size: MB,
    protocol: 'connect-json',
    encoding: 'gzip',
    expects: [MALFORMED],
    pump: { connections: 20, perSecond: 40 },
  }),
  overMethods({
    name: 'JSON with one key 15,000 times',
    sends: '200 kB of one key',
    make: hostile.jsonDuplicates,
    size: 200_000,
    protocol: 'connect-json',
    expects: [],
    pump: { connections: 4, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON long lists',
    sends: '300 kB of empty items, or of a map',
    make: hostile.jsonLongList,
    size: 300_000,
    protocol: 'connect-json',
    expects: [/FIELDS_INVALID|MALFORMED|REQUEST_TOO_LARGE/],
    pump: { connections: 8, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON numbers of a million digits',
    sends: 'a number of 900,000 digits',
    make: hostile.jsonLongNumber,
    size: 900_000,
    protocol: 'connect-json',
    expects: [MALFORMED],
    pump: { connections: 4, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON escapes',
    sends: 'a text of 900 kB of escapes',
    make: hostile.jsonEscapes,
    size: 900_000,
    protocol: 'connect-json',
    expects: [/FIELDS_INVALID|MALFORMED|REQUEST_TOO_LARGE/],
    pump: { connections: 4, perSecond: 20 },
  }),
  overMethods({
    name: 'JSON spaces, gRPC gzip',
    sends: '1 MB of spaces in a kilobyte',
    make: hostile.jsonSpaces,
    size: MB - 100,
    protocol: 'grpc-json',
    encoding: 'gzip',
    expects: [MALFORMED],
    pump: { connections: 4, inFlight: 10, perSecond: 100 },
  }),
  overMethods({
    name: 'GET with a long query',
    sends: '9 kB of unknown fields in the URL',
    make: hostile.unknownFields,
    size: 9000,
    protocol: 'get',
    expects: [/FIELD_UNKNOWN/],
    pump: { connections: 10, perSecond: 1_000_000 },
    isFlood: true,
  }),
  overMethods({
    name: 'GET with gzip in the query',
    sends: '1 MB of unknown fields, gzip, in the URL',
    make: hostile.unknownFields,
    size: MB,
    protocol: 'get',
    encoding: 'gzip',
    expects: [UNKNOWN_FIELD],
    pump: { connections: 20, perSecond: 100 },
  }),
  overMethods({
    name: '3 MB bodies',
    sends: 'more than any method reads',
    make: hostile.zeros,
    size: 3 * MB,
    protocol: 'connect',
    expects: [TOO_LARGE],
    pump: { connections: 4, perSecond: 40 },
  }),
  {
    name: 'a hundred thousand messages in a unary call',
    kind: 'messages',
    who: 'viewer',
    sends: '500 kB of empty envelopes to every method that takes one message',
    expects: [/INVALID_ARGUMENT|UNIMPLEMENTED|RESOURCE_EXHAUSTED/],
    async run(attack) {
      const bytes = Buffer.concat(Array.from({ length: 100_000 }, () => envelope(Buffer.alloc(0))));
      const methods = attack.methods.filter(
        ({ methodKind, name }) => methodKind !== 'bidi_streaming' && name !== 'Logout',
      );
      await attack.pump({ connections: 2, inFlight: 4, perSecond: 20 }, (n) => {
        const method = methods[n % methods.length]!;
        // The first envelope is the empty message itself: what follows is its body.
        return rawGrpc(attack, method, bytes.subarray(5));
      });
    },
  },
  {
    name: 'small messages in a client stream',
    kind: 'streams',
    who: 'anybody',
    sends: 'empty messages to reflection, as fast as can be, answers read',
    expects: [/OK|RESOURCE_EXHAUSTED|INVALID_ARGUMENT|CANCEL/],
    isFlood: true,
    isShort: true,
    run: (attack) => floodReflection(attack, envelope(Buffer.alloc(0)), {}),
  },
  {
    name: 'messages whose length is a lie',
    kind: 'messages',
    who: 'anybody',
    sends: 'an envelope that promises 4 GB, to every method',
    expects: [/INVALID_ARGUMENT|RESOURCE_EXHAUSTED/],
    async run(attack) {
      const lie = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
      await attack.pump({ connections: 4, inFlight: 10, perSecond: 200 }, (n) =>
        rawGrpc(attack, attack.methods[n % attack.methods.length]!, lie, true),
      );
    },
  },
];

/** A gRPC call of which the body goes out as it is, after an empty envelope unless `isBare`. */
function rawGrpc(attack: Attack, method: DescMethod, bytes: Uint8Array, isBare = false): Call {
  const headers = { 'content-type': 'application/grpc+proto', te: 'trailers' };
  const token = attack.tokenFor(method);
  // The protocol `connect` writes the body of a path as it is.
  const body = isBare ? bytes : Buffer.concat([envelope(Buffer.alloc(0)), bytes]);
  return { method: pathOf(method), protocol: 'connect', body, token, headers };
}

/** Writes one envelope over and over into reflection streams and reads what comes back. */
export async function floodReflection(
  attack: Attack,
  question: Buffer,
  headers: Record<string, string>,
  streams = 4,
  questionsMax = Number.POSITIVE_INFINITY,
): Promise<void> {
  const method = attack.methods.find(
    ({ name, methodKind }) => methodKind === 'bidi_streaming' && name === 'ServerReflectionInfo',
  )!;
  const chunk = Buffer.concat(Array.from({ length: 100 }, () => question));
  const one = async (): Promise<void> => {
    const session = attack.session();
    while (!attack.isOver) {
      const { promise: closed, resolve } = Promise.withResolvers<void>();
      let stream;
      try {
        stream = session.request({
          ':method': 'POST',
          ':path': pathOf(method),
          'content-type': 'application/grpc+proto',
          te: 'trailers',
          ...headers,
        });
      } catch {
        attack.count('no stream to be had');
        break;
      }
      let received = 0;
      let status = '';
      stream.on('data', (data: Buffer) => (received += data.length));
      stream.on('response', (answer) => (status = String(answer['grpc-status'] ?? status)));
      stream.on('trailers', (answer) => (status = String(answer['grpc-status'] ?? status)));
      stream.on('error', () => {});
      stream.on('close', () => resolve());
      let asked = 0;
      const write = (): void => {
        while (asked < questionsMax && !stream.destroyed && !attack.isOver) {
          asked += 100;
          attack.sent(100);
          if (!stream.write(chunk)) return void stream.once('drain', write);
        }
        if (!stream.destroyed) stream.end();
      };
      write();
      await Promise.race([closed, attack.untilOver()]);
      stream.close();
      if (received > 0) attack.count('OK');
      attack.count(CODES[Number(status)] ?? (status === '' ? 'CANCELED' : status));
      await attack.wait(10);
    }
    session.destroy();
  };
  await Promise.all(Array.from({ length: streams }, one));
}

const CODES: Readonly<Record<number, string>> = {
  0: 'OK',
  3: 'INVALID_ARGUMENT',
  4: 'DEADLINE_EXCEEDED',
  8: 'RESOURCE_EXHAUSTED',
  13: 'INTERNAL',
  2: 'UNKNOWN',
  14: 'UNAVAILABLE',
  1: 'CANCELED',
};
