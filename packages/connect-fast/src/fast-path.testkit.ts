import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create, createFileRegistry, type DescService, type Message } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  MethodOptions_IdempotencyLevel,
} from '@bufbuild/protobuf/wkt';
import {
  type CallOptions,
  type ConnectRouter,
  createClient,
  type HandlerContext,
  type Interceptor,
  type ServiceImpl,
  type Transport,
} from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import type { Compression } from '@connectrpc/connect/protocol';
import { createOnePortServer } from '../../../src/http/one-port.ts';
import { createFastHandlers, type FastHandlersOptions } from './index.ts';

/** What the tests send and get. */
export interface Note extends Message {
  text: string;
}

/** Answers a note with a note, or with many. */
export interface Echo {
  echo(note: Note, context: HandlerContext): Promise<Partial<Note>> | Partial<Note>;
  /** Has no side effects. */
  read(note: Note, context: HandlerContext): Promise<Partial<Note>> | Partial<Note>;
  stream(note: Note, context: HandlerContext): AsyncIterable<Partial<Note>>;
}

export interface EchoClient {
  echo(note: Partial<Note>, options?: CallOptions): Promise<Note>;
  read(note: Partial<Note>, options?: CallOptions): Promise<Note>;
  stream(note: Partial<Note>, options?: CallOptions): AsyncIterable<Note>;
}

const NOTE = '.echo.test.Note';
const types = { inputType: NOTE, outputType: NOTE };
const file = create(FileDescriptorProtoSchema, {
  name: 'echo_test.proto',
  package: 'echo.test',
  syntax: 'proto3',
  messageType: [
    {
      name: 'Note',
      field: [
        {
          name: 'text',
          jsonName: 'text',
          number: 1,
          type: FieldDescriptorProto_Type.STRING,
          label: FieldDescriptorProto_Label.OPTIONAL,
        },
      ],
    },
  ],
  service: [
    {
      name: 'Echo',
      method: [
        { name: 'Echo', ...types },
        { name: 'Read', ...types, options: { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS } },
        { name: 'Stream', ...types, serverStreaming: true },
      ],
    },
  ],
});
const registry = createFileRegistry(file, () => undefined);
export const EchoService = registry.getService('echo.test.Echo') as DescService;
export const NoteSchema = registry.getMessage('echo.test.Note')!;

/** By whom calls are served: what holds for one must hold for the other. */
export const servers = ['the fast path', 'Connect'] as const;
/** The last leaves to Connect what it does not serve itself. */
export type ServedBy = (typeof servers)[number] | 'the fast path before Connect';

/** A started server. */
export interface Served extends AsyncDisposable {
  readonly baseUrl: string;
  readonly port: number;
  /** What the fast path could not write. */
  readonly faults: unknown[];
}

type ServeOptions = Omit<FastHandlersOptions, 'routes' | 'onFault'>;

/** Serves an implementation on a free port. What the fast path leaves to others fails the test that sent it. */
export async function serve(by: ServedBy, echo: Partial<Echo>, options: ServeOptions = {}): Promise<Served> {
  const faults: unknown[] = [];
  const handlers = createFastHandlers({
    readMaxBytes: 1_000_000,
    ...options,
    routes: (router: ConnectRouter) => void router.service(EchoService, echo as ServiceImpl<DescService>),
    onFault: (error) => faults.push(error),
  });
  const left: RequestListener = (_request, response) => response.writeHead(500).end('left to others');
  const shortcut = { takeHttp1: handlers.http1, takeHttp2: handlers.http2 };
  const server =
    by === 'Connect'
      ? createOnePortServer(handlers.fallback)
      : createOnePortServer(by === 'the fast path' ? left : handlers.fallback, { shortcut });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    port,
    faults,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** One way to call: protocol, encoding and HTTP version. */
export interface Protocol {
  readonly name: string;
  readonly isGet: boolean;
  readonly timeoutHeader: string;
  client(served: Served, options?: ClientOptions): EchoClient;
}

interface ClientOptions {
  readonly sendCompression?: Compression;
  readonly interceptors?: Interceptor[];
}

type CreateTransport = (options: { baseUrl: string } & ClientOptions) => Transport;

function protocol(name: string, createTransport: CreateTransport): Protocol {
  return {
    name,
    isGet: name.includes('GET'),
    timeoutHeader: name.startsWith('Connect') ? 'connect-timeout-ms' : 'grpc-timeout',
    client: ({ baseUrl }, options = {}) =>
      createClient(EchoService, createTransport({ baseUrl, ...options })) as unknown as EchoClient,
  };
}

/** Every way to call. */
export const protocols: readonly Protocol[] = [
  protocol('gRPC', createGrpcTransport),
  ...(['1.1', '2'] as const).flatMap((httpVersion) => [
    protocol(`gRPC-Web over HTTP/${httpVersion}`, (o) => createGrpcWebTransport({ ...o, httpVersion })),
    protocol(`Connect over HTTP/${httpVersion}`, (o) =>
      createConnectTransport({ ...o, httpVersion, useBinaryFormat: true }),
    ),
    protocol(`Connect JSON over HTTP/${httpVersion}`, (o) =>
      createConnectTransport({ ...o, httpVersion, useBinaryFormat: false }),
    ),
    protocol(`Connect GET over HTTP/${httpVersion}`, (o) =>
      createConnectTransport({ ...o, httpVersion, useHttpGet: true }),
    ),
  ]),
];

/** Those that send a body. */
export const postProtocols = protocols.filter(({ isGet }) => !isGet);
