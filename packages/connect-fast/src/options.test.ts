import { type DescMessage, fromBinary, fromJsonString, type Message, toBinary, toJsonString } from '@bufbuild/protobuf';
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { type Echo, EchoService, protocols, serve } from './fast-path.testkit.ts';
import { findHeader, hasEnded, isFast } from './index.ts';

const same: Echo = {
  echo: ({ text }) => ({ text }),
  read: ({ text }) => ({ text }),
  async *stream({ text }) {
    yield { text };
  },
};

const codeOf = async (call: Promise<unknown>): Promise<Code | undefined> => {
  try {
    await call;
    return undefined;
  } catch (error) {
    return ConnectError.from(error).code;
  }
};

const lastOf = async (messages: AsyncIterable<{ text: string }>): Promise<string | undefined> => {
  let last: string | undefined;
  for await (const { text } of messages) last = text;
  return last;
};

/** What the fast path leaves is answered by Connect: an option must hold for both alike. */
describe.each(['the fast path before Connect', 'Connect'] as const)('served by %s', (by) => {
  describe.each(protocols)('$name', (protocol) => {
    test('an answer larger than writeMaxBytes is refused, one as large is not', async () => {
      await using served = await serve(by, same, { writeMaxBytes: 200 });
      const client = protocol.client(served);
      const fits = 'a'.repeat(100);
      const tooLarge = 'a'.repeat(201);
      expect((await client.read({ text: fits })).text).toBe(fits);
      expect(await lastOf(client.stream({ text: fits }))).toBe(fits);
      expect(await codeOf(client.read({ text: tooLarge }))).toBe(Code.ResourceExhausted);
      expect(await codeOf(lastOf(client.stream({ text: tooLarge })))).toBe(Code.ResourceExhausted);
    });

    test('a timeout longer than maxTimeoutMs is refused, one as long is not', async () => {
      await using served = await serve(by, same, { maxTimeoutMs: 10_000 });
      const client = protocol.client(served);
      expect(await codeOf(client.read({}, { timeoutMs: 60_000 }))).toBe(Code.InvalidArgument);
      expect(await codeOf(client.read({}, { timeoutMs: 10_000 }))).toBeUndefined();
      expect(await codeOf(client.read({}))).toBeUndefined();
    });

    test('contextValues, responseHeaders and the helpers see the request', async () => {
      const key = createContextKey('');
      const seen: unknown[] = [];
      const note = (context: HandlerContext) => {
        seen.push([context.values.get(key), findHeader(context, 'x-a'), findHeader(context, 'x-b'), hasEnded(context)]);
        seen.push(isFast(context) === (by !== 'Connect'));
      };
      await using served = await serve(
        by,
        {
          read(_note, context) {
            note(context);
            return {};
          },
        },
        {
          contextValues: ({ headers, target, remoteAddress }) => {
            const path = target.split('?')[0];
            return createContextValues().set(key, `${headers['x-a'] as string} ${path} ${remoteAddress}`);
          },
          responseHeaders: (_request, values) => ({ 'x-seen': values.get(key) }),
        },
      );
      let header = new Headers();
      await protocol.client(served).read({}, { headers: { 'x-a': 'one' }, onHeader: (h) => (header = h) });
      const value = `one /${EchoService.typeName}/Read 127.0.0.1`;
      expect(seen).toEqual([[value, 'one', undefined, false], true]);
      expect(header.get('x-seen')).toBe(value);
    });

    test('onCallEnd is called once for each call, with its error', async () => {
      const ends: unknown[] = [];
      await using served = await serve(
        by,
        {
          read({ text }) {
            if (text === 'no') throw new ConnectError('no', Code.NotFound);
            return {};
          },
          async *stream({ text }) {
            yield {};
            if (text === 'no') throw new ConnectError('no', Code.Aborted);
          },
        },
        {
          onCallEnd({ method }, error, durationMs) {
            ends.push([method.name, error instanceof ConnectError ? error.code : error, durationMs >= 0]);
          },
        },
      );
      const client = protocol.client(served);
      await client.read({});
      await codeOf(client.read({ text: 'no' }));
      await lastOf(client.stream({}));
      await codeOf(lastOf(client.stream({ text: 'no' })));
      expect(ends).toEqual([
        ['Read', undefined, true],
        ['Read', Code.NotFound, true],
        ['Stream', undefined, true],
        ['Stream', Code.Aborted, true],
      ]);
    });
  });

  test('a protocol that is not offered is not served', async () => {
    await using served = await serve(by, same, { grpcWeb: false });
    const refused: string[] = [];
    for (const protocol of protocols) {
      if ((await codeOf(protocol.client(served).read({ text: 'a' }))) !== undefined) refused.push(protocol.name);
    }
    expect(refused).toEqual(['gRPC-Web over HTTP/1.1', 'gRPC-Web over HTTP/2']);
  });

  test('a request without a version of the Connect protocol is refused if one is required', async () => {
    await using served = await serve(by, same, { requireConnectProtocolHeader: true });
    const url = `${served.baseUrl}/${EchoService.typeName}/Read`;
    const headers = { 'content-type': 'application/json' };
    const post = (more: Record<string, string>) =>
      fetch(url, { method: 'POST', headers: { ...headers, ...more }, body: '{}' });
    expect((await post({})).status).toBe(400);
    expect((await post({ 'connect-protocol-version': '1' })).status).toBe(200);
    expect((await fetch(`${url}?encoding=json&message={}`)).status).toBe(400);
    expect((await fetch(`${url}?encoding=json&message={}&connect=v1`)).status).toBe(200);
    for (const protocol of protocols) expect(await codeOf(protocol.client(served).read({}))).toBeUndefined();
  });

  test('the path of a method begins with requestPathPrefix', async () => {
    await using served = await serve(by, same, { requestPathPrefix: '/api' });
    const client = protocols[0]!.client({ ...served, baseUrl: `${served.baseUrl}/api` });
    expect((await client.read({ text: 'a' })).text).toBe('a');
    expect(await codeOf(protocols[0]!.client(served).read({}))).toBe(Code.Unimplemented);
  });

  test('a request that accepts refuses is answered by Connect', async () => {
    let fast: boolean | undefined;
    const read: Echo['read'] = (_note, context) => {
      fast = isFast(context);
      return {};
    };
    await using served = await serve(by, { read }, { accepts: () => false });
    await protocols[0]!.client(served).read({});
    expect(fast).toBe(false);
  });
});

test('messages are written and read with the functions of the codec', async () => {
  const used = new Set<string>();
  const noting =
    <Args extends unknown[], Result>(name: string, work: (...args: Args) => Result) =>
    (...args: Args): Result => {
      used.add(name);
      return work(...args);
    };
  const codec = {
    fromBinary: noting('fromBinary', fromBinary),
    toBinaryBehind: noting('toBinaryBehind', (desc: DescMessage, message: Message, headBytes: number) =>
      Buffer.concat([Buffer.alloc(headBytes), toBinary(desc, message)]),
    ),
    fromJsonString: noting('fromJsonString', fromJsonString),
    toJsonString: noting('toJsonString', toJsonString),
  };
  await using served = await serve('the fast path', same, { codec });
  for (const protocol of protocols) expect((await protocol.client(served).read({ text: 'ä' })).text).toBe('ä');
  expect([...used].toSorted()).toEqual(Object.keys(codec).toSorted());
});
