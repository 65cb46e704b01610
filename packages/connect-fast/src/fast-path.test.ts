import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { json as jsonOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  createContextKey,
  decodeBinaryHeader,
  encodeBinaryHeader,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import type { Check } from './checks.ts';
import {
  type Echo,
  EchoService,
  type Note,
  NoteSchema,
  postProtocols,
  type Served,
  serve as serveBy,
  servers,
  protocols,
} from './fast-path.testkit.ts';

const upper: Echo = {
  echo: ({ text }) => ({ text: text.toUpperCase() }),
  read: ({ text }) => ({ text: text.toUpperCase() }),
  async *stream({ text }) {
    for (const letter of text) yield { text: letter.toUpperCase() };
  },
};

describe.each(servers)('a call that %s serves', (by) => {
  const serve = serveBy.bind(undefined, by);

  describe.each(protocols)('by $name', (protocol) => {
    test('is answered', async () => {
      await using served = await serve(upper);
      const client = protocol.client(served);
      expect(await client.read({ text: 'änd' })).toMatchObject({ text: 'ÄND' });
      expect(await client.echo({ text: 'änd' })).toMatchObject({ text: 'ÄND' });
      expect(await client.echo({})).toMatchObject({ text: '' });
      expect(await textsOf(client.stream({ text: 'abc' }))).toEqual(['A', 'B', 'C']);
      expect(served.faults).toEqual([]);
    });

    test('is checked in order behind the interceptors, by checks that wait and checks that do not', async () => {
      const ran: string[] = [];
      const interceptor: Interceptor = (next) => (request) => {
        ran.push('intercepted');
        return next(request);
      };
      const check =
        (name: string, isAsync: boolean): Check =>
        ({ method }, message) => {
          const note = message as Note;
          ran.push(`${name} ${method.name}`);
          const refusal = note.text === `refused by ${name}` ? new ConnectError(name, Code.Aborted) : undefined;
          if (refusal !== undefined && !isAsync) throw refusal;
          note.text = note.text.trim();
          if (isAsync) return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
          return undefined;
        };
      const checks = [check('first', false), check('second', true), check('third', false)];
      await using served = await serve(upper, { interceptors: [interceptor], checks });
      const client = protocol.client(served);
      for (const [name, call] of [
        ['Read', async (text: string) => [(await client.read({ text })).text]],
        ['Stream', (text: string) => textsOf(client.stream({ text }))],
      ] as const) {
        expect(await call(' a ')).toEqual(['A']);
        expect(ran.splice(0)).toEqual(['intercepted', `first ${name}`, `second ${name}`, `third ${name}`]);
        expect(await errorOf(call('refused by first'))).toMatchObject({ code: Code.Aborted, rawMessage: 'first' });
        expect(ran.splice(0)).toEqual(['intercepted', `first ${name}`]);
        expect(await errorOf(call('refused by second'))).toMatchObject({ code: Code.Aborted, rawMessage: 'second' });
        expect(ran.splice(0)).toEqual(['intercepted', `first ${name}`, `second ${name}`]);
        expect(await errorOf(call('refused by third'))).toMatchObject({ code: Code.Aborted, rawMessage: 'third' });
        expect(ran.splice(0)).toEqual(['intercepted', `first ${name}`, `second ${name}`, `third ${name}`]);
      }
    });

    test('brings headers and trailers, binary ones and repeated ones, both ways', async () => {
      const bytes = Uint8Array.of(0, 1, 254, 255);
      const seen: unknown[] = [];
      const add = ({ requestHeader, responseHeader, responseTrailer }: HandlerContext) => {
        seen.push([requestHeader.get('x-asked'), decodeBinaryHeader(requestHeader.get('x-asked-bin') ?? '')]);
        for (const [to, name] of [
          [responseHeader, 'x-header'],
          [responseTrailer, 'x-trailer'],
        ] as const) {
          to.append(name, 'one');
          to.append(name, 'two');
          to.set(`${name}-bin`, encodeBinaryHeader(bytes));
        }
        responseHeader.append('set-cookie', 'a=1; path=/');
        responseHeader.append('set-cookie', 'b=2; expires=Thu, 01 Jan 2026 00:00:00 GMT');
      };
      await using served = await serve({
        read(_note, context) {
          add(context);
          return {};
        },
        async *stream(_note, context) {
          add(context);
          yield {};
        },
      });
      const client = protocol.client(served);
      const headers = { 'x-asked': 'plainly', 'x-asked-bin': encodeBinaryHeader(bytes) };
      const got: Headers[] = [];
      const options = { headers, onHeader: (h: Headers) => got.push(h), onTrailer: (t: Headers) => got.push(t) };
      await client.read({}, options);
      await textsOf(client.stream({}, options));
      expect(seen).toEqual([
        ['plainly', bytes],
        ['plainly', bytes],
      ]);
      expect(got).toHaveLength(4);
      for (const header of [got[0]!, got[2]!]) {
        expect(header.get('x-header')).toBe('one, two');
        expect(decodeBinaryHeader(header.get('x-header-bin') ?? '')).toEqual(bytes);
        expect(header.getSetCookie()).toEqual(['a=1; path=/', 'b=2; expires=Thu, 01 Jan 2026 00:00:00 GMT']);
      }
      for (const trailer of [got[1]!, got[3]!]) {
        expect(trailer.get('x-trailer')).toBe('one, two');
        expect(decodeBinaryHeader(trailer.get('x-trailer-bin') ?? '')).toEqual(bytes);
      }
    });

    test('is refused with the code, the message, the details and the metadata of the error', async () => {
      const refuse = () => {
        const error = new ConnectError('no, 100 % "no": ünd', Code.FailedPrecondition, { 'x-why': 'because' });
        error.details.push({ desc: NoteSchema, value: { text: 'detail' } as never });
        throw error;
      };
      await using served = await serve({
        read: refuse,
        async *stream({ text }) {
          if (text === 'late') yield { text };
          refuse();
        },
      });
      const client = protocol.client(served);
      const calls = [client.read({}), textsOf(client.stream({})), textsOf(client.stream({ text: 'late' }))];
      for (const error of await errorsOf(calls)) {
        expect(error.code).toBe(Code.FailedPrecondition);
        expect(error.rawMessage).toBe('no, 100 % "no": ünd');
        expect(error.findDetails(NoteSchema)).toMatchObject([{ text: 'detail' }]);
        expect(error.metadata.get('x-why')).toBe('because');
      }
    });

    test('is refused with the headers and trailers that were set before', async () => {
      const bytes = Uint8Array.of(0, 254);
      const refuse = ({ responseHeader, responseTrailer }: HandlerContext) => {
        responseHeader.set('x-header', 'set');
        responseTrailer.append('x-trailer', 'one');
        responseTrailer.append('x-trailer', 'two');
        responseTrailer.set('x-trailer-bin', encodeBinaryHeader(bytes));
        throw new ConnectError('refused', Code.Aborted, { 'x-why': 'because' });
      };
      await using served = await serve({
        read: (_note, context) => refuse(context),
        async *stream({ text }, context) {
          if (text === 'late') yield { text };
          refuse(context);
        },
      });
      const client = protocol.client(served);
      const calls = [client.read({}), textsOf(client.stream({})), textsOf(client.stream({ text: 'late' }))];
      for (const { code, metadata } of await errorsOf(calls)) {
        expect(code).toBe(Code.Aborted);
        expect(metadata.get('x-why')).toBe('because');
        // Connect sends the trailers of a unary call with a prefix, and its client leaves it there when the call fails.
        const name = metadata.has('trailer-x-trailer') ? 'trailer-x-trailer' : 'x-trailer';
        expect(metadata.get(name)).toBe('one, two');
        expect(decodeBinaryHeader(metadata.get(`${name}-bin`) ?? '')).toEqual(bytes);
      }
    });

    test('hides an error that is no ConnectError', async () => {
      const fail = () => {
        throw new Error('the password is 1234');
      };
      await using served = await serve({ read: fail, stream: fail });
      const client = protocol.client(served);
      for (const error of await errorsOf([client.read({}), textsOf(client.stream({}))])) {
        expect(error).toMatchObject({ code: Code.Internal, rawMessage: 'internal error' });
      }
    });

    test('may be a stream without a message', async () => {
      await using served = await serve(upper);
      expect(await textsOf(protocol.client(served).stream({ text: '' }))).toEqual([]);
    });

    test('of a stream that fails has brought the messages before', async () => {
      await using served = await serve({
        async *stream() {
          yield { text: 'a' };
          yield { text: 'b' };
          throw new ConnectError('no more', Code.DataLoss);
        },
      });
      const texts: string[] = [];
      const call = (async () => {
        for await (const { text } of protocol.client(served).stream({})) texts.push(text);
      })();
      expect(await errorOf(call)).toMatchObject({ code: Code.DataLoss, rawMessage: 'no more' });
      expect(texts).toEqual(['a', 'b']);
    });

    // The header is set behind the back of the client, which would else give up by itself.
    test.each([
      ['has passed already', '0'],
      ['passes', '20'],
    ])('is told when its deadline %s', async (_, ms) => {
      const stop = async (_note: Note, { signal, timeoutMs }: HandlerContext) => {
        expect(timeoutMs()).toBeLessThanOrEqual(20);
        await aborted(signal);
        throw signal.reason;
      };
      await using served = await serve({
        read: stop,
        async *stream(note, context) {
          yield {};
          await stop(note, context);
        },
      });
      const timeout = protocol.timeoutHeader === 'grpc-timeout' ? `${ms}m` : ms;
      const client = protocol.client(served, { interceptors: [setHeader(protocol.timeoutHeader, timeout)] });
      for (const error of await errorsOf([client.read({}), textsOf(client.stream({}))])) {
        expect(error).toMatchObject({ code: Code.DeadlineExceeded });
      }
    });

    test('is told when the client leaves, and what it says afterwards is lost', async () => {
      const ended: unknown[] = [];
      const begun = Promise.withResolvers<void>();
      let rounds = 0;
      const stop = async (_note: Note, { signal }: HandlerContext) => {
        begun.resolve();
        await aborted(signal);
        ended.push((signal.reason as ConnectError).name);
        return { text: 'late' };
      };
      await using served = await serve({
        read: stop,
        async *stream(note, context) {
          yield {};
          yield await stop(note, context);
          rounds += 1;
          yield {};
        },
      });
      const client = protocol.client(served);
      const leaving = new AbortController();
      const unary = errorOf(client.read({}, { signal: leaving.signal }));
      await begun.promise;
      const stream = client.stream({}, { signal: leaving.signal })[Symbol.asyncIterator]();
      await stream.next();
      leaving.abort();
      expect(await unary).toMatchObject({ code: Code.Canceled });
      await expect.poll(() => ended).toHaveLength(2);
      await errorOf(stream.next());
      expect(served.faults).toEqual([]);
      expect(rounds).toBeLessThanOrEqual(1);
    });

    test('is told when the server shuts down, and says so', async () => {
      const shutdown = new AbortController();
      const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
      await using served = await serve(
        {
          async read(_note, { signal }) {
            begun[0].resolve();
            await aborted(signal);
            throw signal.reason;
          },
          async *stream(_note, { signal }) {
            yield {};
            begun[1].resolve();
            await aborted(signal);
            throw signal.reason;
          },
        },
        { shutdownSignal: shutdown.signal },
      );
      const client = protocol.client(served);
      const calls = errorsOf([client.read({}), textsOf(client.stream({}))]);
      await Promise.all(begun.map(({ promise }) => promise));
      shutdown.abort(new ConnectError('shutting down', Code.Unavailable));
      const refusal = { code: Code.Unavailable, rawMessage: 'shutting down' };
      expect(await calls).toMatchObject([refusal, refusal]);
    });

    test.each([compressionGzip, compressionBrotli])('is compressed both ways with $name', async (compression) => {
      const text = 'again and '.repeat(10_000);
      await using served = await serve(
        {
          read: (note) => note,
          async *stream(note) {
            yield note;
            yield { text: 'short' };
            yield note;
          },
        },
        { acceptCompression: [compression] },
      );
      const client = protocol.client(served, { sendCompression: compression });
      const encodings: (string | null)[] = [];
      const onHeader = (header: Headers) =>
        encodings.push(
          header.get('content-encoding') ?? header.get('grpc-encoding') ?? header.get('connect-content-encoding'),
        );
      // A URL has no room for the text as it is.
      const sent = protocol.isGet ? 'ab' : text;
      expect((await client.read({ text: sent }, protocol.isGet ? {} : { onHeader })).text).toBe(sent);
      expect(await textsOf(client.stream({ text }, { onHeader }))).toEqual([text, 'short', text]);
      expect(new Set(encodings)).toEqual(new Set([compression.name]));
    });
  });

  describe.each(postProtocols)('by $name', (protocol) => {
    test('is refused when its message is one byte larger than the server reads', async () => {
      const isJson = protocol.name.includes('JSON');
      const overhead = isJson ? '{"text":""}'.length : toBinary(NoteSchema, note('a'.repeat(900))).length - 900;
      const text = 'a'.repeat(1000 - overhead);
      await using served = await serve(upper, { readMaxBytes: 1000 });
      const client = protocol.client(served);
      expect((await client.echo({ text })).text).toHaveLength(text.length);
      expect(await textsOf(client.stream({ text }))).toHaveLength(text.length);
      const tooLarge = { text: `${text}a` };
      for (const error of await errorsOf([client.echo(tooLarge), textsOf(client.stream(tooLarge))])) {
        expect(error).toMatchObject({ code: Code.ResourceExhausted });
      }
      expect((await client.echo({ text })).text).toHaveLength(text.length);
    });

    test('is refused when its message unpacks to more than the server reads', async () => {
      await using served = await serve(upper, { readMaxBytes: 10_000 });
      const client = protocol.client(served, { sendCompression: compressionGzip });
      const bomb = { text: 'a'.repeat(5_000_000) };
      for (const error of await errorsOf([client.echo(bomb), textsOf(client.stream(bomb))])) {
        expect(error).toMatchObject({ code: Code.ResourceExhausted });
      }
    });
  });

  describe.each([protocols[0]!, protocols[2]!, protocols[3]!])('by $name', (protocol) => {
    test.each([
      [
        'throws',
        () => {
          throw new ConnectError('stay out', Code.PermissionDenied);
        },
      ],
      ['rejects', () => Promise.reject(new ConnectError('stay out', Code.PermissionDenied))],
    ])('is refused by a gate that %s, before the implementation', async (_, requestGate) => {
      let calls = 0;
      await using served = await serve(
        {
          echo() {
            calls += 1;
            return {};
          },
        },
        { requestGate },
      );
      expect(await errorOf(protocol.client(served).echo({}))).toMatchObject({
        code: Code.PermissionDenied,
        rawMessage: 'stay out',
      });
      expect(calls).toBe(0);
    });

    test('passes a gate, which may leave values and headers', async () => {
      await using served = await serve(
        { echo: (_note, { values }) => ({ text: values.get(whoKey) }) },
        {
          async requestGate({ values, requestHeader, responseHeader }) {
            await sleep(1);
            values.set(whoKey, requestHeader.get('x-who') ?? '');
            responseHeader.set('x-gate', 'passed');
          },
        },
      );
      let header: Headers | undefined;
      const call = protocol.client(served).echo({}, { headers: { 'x-who': 'me' }, onHeader: (h) => (header = h) });
      expect(await call).toMatchObject({ text: 'me' });
      expect(header?.get('x-gate')).toBe('passed');
    });

    test('takes what interceptors make of it: message, headers, values and signal', async () => {
      const other = new AbortController();
      const replace: Interceptor = (next) => (request) => {
        const changed = {
          ...request,
          header: new Headers({ 'x-who': 'an interceptor' }),
          contextValues: request.contextValues.set(whoKey, 'a value'),
          signal: other.signal,
          message: request.stream ? one(note('changed')) : note('changed'),
        };
        return next(changed as typeof request);
      };
      const tell = ({ text }: Note, { requestHeader, values, signal }: HandlerContext) => ({
        text: [text, requestHeader.get('x-who'), values.get(whoKey), signal === other.signal].join(', '),
      });
      await using served = await serve(
        {
          echo: tell,
          async *stream(given, context) {
            yield tell(given, context);
          },
        },
        { interceptors: [replace] },
      );
      const client = protocol.client(served);
      const text = 'changed, an interceptor, a value, true';
      expect(await client.echo({})).toMatchObject({ text });
      expect(await textsOf(client.stream({}))).toEqual([text]);
    });

    test('is answered with what interceptors make of the answer', async () => {
      const order: string[] = [];
      const mark =
        (name: string): Interceptor =>
        (next) =>
        async (request) => {
          order.push(`${name} before`);
          const response = await next(request);
          order.push(`${name} after`);
          response.header.append('x-seen-by', name);
          return response;
        };
      const replace: Interceptor = (next) => async (request) => {
        const response = await next(request);
        const header = new Headers(response.header);
        header.set('x-header', 'new');
        response.trailer.set('x-trailer', 'new');
        const message = response.stream ? doubled(response.message as AsyncIterable<Note>) : note('changed');
        return { ...response, header, message } as typeof response;
      };
      await using served = await serve(
        {
          echo(_note, { responseHeader }) {
            responseHeader.set('x-kept', 'yes');
            return {};
          },
          stream: upper.stream,
        },
        { interceptors: [mark('outer'), replace, mark('inner')] },
      );
      const client = protocol.client(served);
      let header: Headers | undefined;
      let trailer: Headers | undefined;
      const options = { onHeader: (h: Headers) => (header = h), onTrailer: (t: Headers) => (trailer = t) };
      expect(await client.echo({}, options)).toMatchObject({ text: 'changed' });
      expect(order).toEqual(['outer before', 'inner before', 'inner after', 'outer after']);
      expect(header?.get('x-kept')).toBe('yes');
      expect(header?.get('x-header')).toBe('new');
      expect(header?.get('x-seen-by')).toBe('inner, outer');
      expect(trailer?.get('x-trailer')).toBe('new');
      expect(await textsOf(client.stream({ text: 'ab' }, options))).toEqual(['A', 'A', 'B', 'B']);
      expect(header?.get('x-seen-by')).toBe('inner, outer');
    });

    test.each(['before', 'after'])('is refused by an interceptor that throws %s the implementation', async (when) => {
      let calls = 0;
      const refuse: Interceptor = (next) => async (request) => {
        if (when === 'after') await next(request);
        throw new ConnectError('refused', Code.Aborted, { 'x-why': 'because' });
      };
      await using served = await serve(
        {
          echo() {
            calls += 1;
            return {};
          },
          async *stream() {
            yield {};
          },
        },
        { interceptors: [refuse] },
      );
      const client = protocol.client(served);
      for (const error of await errorsOf([client.echo({}), textsOf(client.stream({}))])) {
        expect(error).toMatchObject({ code: Code.Aborted, rawMessage: 'refused' });
        expect(error.metadata.get('x-why')).toBe('because');
      }
      expect(calls).toBe(when === 'after' ? 1 : 0);
    });

    test('may be one of a hundred at once', async () => {
      await using served = await serve({
        async echo({ text }) {
          await sleep(Number(text) % 7);
          return { text };
        },
        async *stream({ text }) {
          for (let i = 0; i < 5; i++) {
            await sleep(Number(text) % 3);
            yield { text };
          }
        },
      });
      const client = protocol.client(served);
      const texts = Array.from({ length: 50 }, (_, i) => String(i));
      const [unary, streams] = await Promise.all([
        Promise.all(texts.map((text) => client.echo({ text }))),
        Promise.all(texts.map((text) => textsOf(client.stream({ text })))),
      ]);
      expect(unary.map(({ text }) => text)).toEqual(texts);
      expect(streams).toEqual(texts.map((text) => Array.from({ length: 5 }, () => text)));
    });
  });

  describe('by GET', () => {
    const json = JSON.stringify({ text: 'ab' });
    const binary = Buffer.from(toBinary(NoteSchema, note('ab')));
    test.each<[string, Record<string, string>]>([
      ['JSON as it is', { encoding: 'json', message: json }],
      ['JSON in base64', { encoding: 'json', base64: '1', message: Buffer.from(json).toString('base64url') }],
      ['binary in base64', { encoding: 'proto', base64: '1', message: binary.toString('base64url') }],
      ['what is compressed', { ...gzipped(binary), encoding: 'proto' }],
      ['what says its version', { encoding: 'json', message: json, connect: 'v1' }],
      ['an identity', { encoding: 'json', message: json, compression: 'identity' }],
    ])('takes %s', async (_, query) => {
      await using served = await serve(upper);
      const response = await fetch(`${served.baseUrl}/${EchoService.typeName}/Read?${new URLSearchParams(query)}`);
      expect(response.status).toBe(200);
      const body = Buffer.from(await response.arrayBuffer());
      const expected = query['encoding'] === 'json' ? '{"text":"AB"}' : Buffer.from(toBinary(NoteSchema, note('AB')));
      expect(body.toString('latin1')).toBe(expected.toString('latin1'));
    });
  });

  test.each([
    ['application/grpc', '2'],
    ['application/grpc-web', '2'],
    ['application/grpc-web', '1.1'],
    ['application/connect+proto', '2'],
    ['application/connect+proto', '1.1'],
  ])('of %s over HTTP/%s waits for a reader that stands still', async (contentType, httpVersion) => {
    const MESSAGES = 600;
    let sent = 0;
    await using served = await serve({
      async *stream() {
        const text = 'a'.repeat(65_536);
        for (; sent < MESSAGES; sent++) yield { text };
      },
    });
    const path = `/${EchoService.typeName}/Stream`;
    const headers = { 'content-type': contentType };
    const session = http2.connect(served.baseUrl);
    const call =
      httpVersion === '2'
        ? session.request({ ...headers, ':method': 'POST', ':path': path })
        : http.request(`${served.baseUrl}${path}`, { method: 'POST', headers });
    call.end(Buffer.alloc(5));
    const [response] = (await once(call, 'response')) as [http.IncomingMessage];
    const body = httpVersion === '2' ? (call as http2.ClientHttp2Stream) : response;
    for (let before = -1; before !== sent; await sleep(100)) before = sent;
    expect(sent).toBeLessThan(MESSAGES / 2); // what sockets and flow control hold
    let bytes = 0;
    for await (const chunk of body) bytes += (chunk as Buffer).length;
    expect(bytes).toBeGreaterThan(MESSAGES * 65_536);
    session.close();
  });

  test('pipelined over HTTP/1.1 is answered in its turn', async () => {
    const later = Promise.withResolvers<void>();
    await using served = await serve({
      async echo({ text }) {
        if (text === 'first') await later.promise;
        if (text === 'second') later.resolve();
        return { text };
      },
    });
    const text = await exchange(served, ['first', 'second', 'third'].map(http1Request).join(''), 3);
    expect(text.match(/"text":"\w+"/g)).toEqual(['"text":"first"', '"text":"second"', '"text":"third"']);
  });

  test.each([
    ['alone', ['first']],
    ['with others that wait for their turn', ['first', 'second', 'third']],
  ])('whose connection the client closes over HTTP/1.1 ends, %s', async (_, texts) => {
    const signals: AbortSignal[] = [];
    await using served = await serve({
      async echo(_note, { signal }) {
        signals.push(signal);
        await aborted(signal);
        return {};
      },
    });
    const socket = net.connect(served.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(texts.map(http1Request).join(''));
    await expect.poll(() => signals).toHaveLength(texts.length);
    socket.destroy();
    await expect.poll(() => signals.map((signal) => signal.aborted)).toEqual(texts.map(() => true));
    expect(served.faults).toEqual([]);
  });

  test('goes on after a request that has no path', async () => {
    await using served = await serve(upper);
    const session = http2.connect(served.baseUrl);
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'example.org:443' });
    const [headers] = (await once(stream.resume(), 'response')) as [http2.IncomingHttpHeaders];
    expect(headers[':status']).toBe(405);
    expect(await protocols[0]!.client(served).echo({ text: 'a' })).toMatchObject({ text: 'A' });
    session.destroy();
  });

  test('is refused for what is wrong with it, whatever scheme it names', async () => {
    await using served = await serve(upper);
    const session = http2.connect(served.baseUrl);
    const stream = session.request({
      ':method': 'POST',
      ':scheme': 'file',
      ':path': `/${EchoService.typeName}/Read`,
      'content-type': 'application/json',
    });
    stream.end('not JSON');
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    expect(headers[':status']).toBe(400);
    expect(await jsonOf(stream)).toMatchObject({ code: 'invalid_argument' });
    expect(served.faults).toEqual([]);
    session.destroy();
  });

  test('whose stream the client resets ends with its reason', async () => {
    const signals: AbortSignal[] = [];
    await using served = await serve({
      async *stream(_note, { signal }) {
        signals.push(signal);
        yield {};
        await aborted(signal);
      },
    });
    const session = http2.connect(served.baseUrl);
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${EchoService.typeName}/Stream`,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.end(Buffer.alloc(5));
    await once(stream, 'response');
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await expect.poll(() => signals[0]?.aborted).toBe(true);
    expect(signals[0]?.reason).toMatchObject({ code: Code.Canceled });
    session.destroy();
  });
});

describe('a call that the fast path serves', () => {
  test.each(postProtocols)(
    'ends when its answer cannot be written, and the next is served: $name',
    async (protocol) => {
      const compress = () => Promise.reject(new Error('out of memory'));
      await using served = await serveBy(
        'the fast path',
        {
          read: ({ text }) => ({ text: text.repeat(10_000) }),
          async *stream({ text }) {
            yield { text };
            yield { text: text.repeat(10_000) };
          },
        },
        { acceptCompression: [{ ...compressionGzip, compress }] },
      );
      const client = protocol.client(served);
      await errorOf(client.read({ text: 'a' }));
      expect(served.faults).toMatchObject([{ message: 'out of memory' }]);
      expect(await errorOf(textsOf(client.stream({ text: 'a' })))).toMatchObject({ code: Code.Internal });
      expect(await client.read({ text: '' })).toMatchObject({ text: '' });
    },
  );

  test.each(protocols)('is answered as toError has it: $name', async (protocol) => {
    const fail = ({ text }: { readonly text: string }): never => {
      throw new Error(text);
    };
    await using served = await serveBy(
      'the fast path',
      {
        read: fail,
        async *stream(note) {
          yield { text: 'first' };
          fail(note);
        },
      },
      { toError: (error) => new ConnectError(`converted: ${(error as Error).message}`, Code.Aborted) },
    );
    const client = protocol.client(served);
    const converted = { code: Code.Aborted, rawMessage: 'converted: a' };
    expect(await errorOf(client.read({ text: 'a' }))).toMatchObject(converted);
    expect(await errorOf(textsOf(client.stream({ text: 'a' })))).toMatchObject(converted);
  });

  test.each(protocols)(
    'is answered at its deadline, whatever its implementation does later: $name',
    async (protocol) => {
      const later = Promise.withResolvers<{ text: string }>();
      await using served = await serveBy(
        'the fast path',
        { read: ({ text }) => (text === 'late' ? later.promise : { text }) },
        { abandonsInterrupted: true },
      );
      const client = protocol.client(served);
      const headers = { [protocol.timeoutHeader]: protocol.timeoutHeader === 'grpc-timeout' ? '50m' : '50' };
      const expired = { code: Code.DeadlineExceeded };
      expect(await errorOf(client.read({ text: 'late' }, { headers }))).toMatchObject(expired);
      later.reject(new Error('too late'));
      expect(await errorOf(client.read({ text: 'late' }))).toMatchObject({ code: Code.Internal });
      expect(await client.read({ text: 'a' })).toMatchObject({ text: 'a' });
      expect(served.faults).toEqual([]);
    },
  );

  test.each(protocols)('keeps headers to itself that are of the connection: $name', async (protocol) => {
    const add = ({ responseHeader, responseTrailer }: HandlerContext) => {
      for (const name of ['connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade']) {
        responseHeader.set(name, 'x');
        responseTrailer.set(name, 'x');
      }
      return {};
    };
    await using served = await serveBy('the fast path', {
      read: (_note, context) => add(context),
      async *stream(_note, context) {
        yield add(context);
      },
    });
    const client = protocol.client(served);
    expect(await client.read({})).toMatchObject({ text: '' });
    expect(await textsOf(client.stream({}))).toEqual(['']);
    expect(served.faults).toEqual([]);
  });
});

const whoKey = createContextKey('nobody');

function note(text: string): Note {
  return create(NoteSchema, { text }) as Note;
}

async function* one<T>(item: T): AsyncGenerator<T> {
  yield item;
}

async function* doubled<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const item of items) {
    yield item;
    yield item;
  }
}

async function textsOf(notes: AsyncIterable<Note>): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of notes) texts.push(text);
  return texts;
}

function errorsOf(calls: readonly Promise<unknown>[]): Promise<ConnectError[]> {
  return Promise.all(calls.map(errorOf));
}

/** What a call fails with. Throws when it does not. */
async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error('the call did not fail');
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

function setHeader(name: string, value: string): Interceptor {
  return (next) => (request) => {
    request.header.set(name, value);
    return next(request);
  };
}

function gzipped(bytes: Buffer): Record<string, string> {
  return { compression: 'gzip', base64: '1', message: gzipSync(bytes).toString('base64url') };
}

function http1Request(text: string): string {
  const body = JSON.stringify({ text });
  return (
    `POST /${EchoService.typeName}/Echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`
  );
}

/** Sends bytes over a connection of its own and reads so many answers. */
async function exchange({ port }: Served, bytes: string, answers: number): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(bytes);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if ((text.match(/^\{.*\}/gm)?.length ?? 0) >= answers) break;
  }
  return text;
}
