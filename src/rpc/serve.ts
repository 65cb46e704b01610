import { type ConnectRouter, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { Validator } from '@bufbuild/protovalidate';
import type { FastifyInstance } from 'fastify';
import type { Caller } from '../access.ts';
import { type AccessRules, createAccessGate, createAccessInterceptor, type Freshness } from './access.ts';
import { setLog, watchCall } from './call.ts';
import { readClient, setClient } from './client.ts';
import { toConnectError } from './errors.ts';
import { explainRefusals } from './http-refusals.ts';
import { createDeadlineInterceptor, createDrainInterceptor, createErrorInterceptor } from './interceptors.ts';
import { createValidationInterceptors } from './validate.ts';

export interface RpcOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly rules: AccessRules;
  /** Who an access token speaks for. Throws a Failure when nobody. */
  readonly authenticate: (accessToken: string) => Promise<Caller>;
  readonly freshness: Freshness;
  readonly validator: Validator;
  /** The largest request message that is read, bytes, unpacked. */
  readonly readMaxBytes: number;
  /** Aborted when the server starts to stop: streams end. */
  readonly draining: AbortSignal;
  /** Aborted when the server has no time left: unary calls end as well. */
  readonly halting: AbortSignal;
}

/** Serves RPCs over gRPC, gRPC-Web and Connect on a Fastify instance. */
export async function serveRpcs(fastify: FastifyInstance, options: RpcOptions): Promise<void> {
  const gate = createAccessGate(options.rules, options.authenticate, options.freshness);
  await fastify.register(fastifyConnectPlugin, {
    routes(router: ConnectRouter) {
      options.routes(router);
      router.handlers.forEach((handler, i) => {
        router.handlers[i] = explainRefusals(handler);
      });
    },
    contextValues(request) {
      const values = createContextValues();
      setLog(values, request.log);
      setClient(values, readClient(request));
      return values;
    },
    requestGate: async (context: HandlerContext) => {
      watchCall(context);
      try {
        await gate(context);
      } catch (error) {
        throw toConnectError(error);
      }
    },
    interceptors: [
      createErrorInterceptor(),
      createDeadlineInterceptor(),
      createDrainInterceptor(options.draining),
      createAccessInterceptor(options.rules, options.freshness),
      ...createValidationInterceptors(options.validator),
    ],
    readMaxBytes: options.readMaxBytes,
    shutdownSignal: options.halting,
    jsonOptions: STRICT_JSON,
  });
}

/**
 * JSON of the contract and nothing else: an unknown field is a misspelt one, and
 * bytes that are not UTF-8 would be stored as U+FFFD. Connect hands its JSON
 * options down to where the text decoder is one of them.
 */
const STRICT_JSON = {
  ignoreUnknownFields: false,
  textDecoder: new TextDecoder('utf-8', { fatal: true }),
};
