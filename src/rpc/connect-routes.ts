import type { UniversalHandler, UniversalServerRequest } from '@connectrpc/connect/protocol';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { type ContextValues, createContextValues } from '@connectrpc/connect';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { setRequestId } from './call.ts';
import { readPeer, setPeer } from './peer.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The paths that a route with a pattern serves, as they are written. */
    readonly paths?: ReadonlySet<string>;
  }
}

/**
 * Serves Connect's handlers on a Fastify instance. The plugin makes routes of each handler that it is given, one for each
 * method of HTTP: it is given one for each service, since a thousand routes take a tenth of a start.
 */
export async function routeHandlers(fastify: FastifyInstance, handlers: readonly UniversalHandler[]): Promise<void> {
  const services = [...Map.groupBy(handlers, ({ service: { typeName } }) => typeName).values()].map(ofService);
  const pathsOf = new Map(services.map(({ handler, paths }) => [handler.requestPath, paths]));
  await fastify.register((scope, _options, done) => {
    scope.addHook('onRoute', (route) => {
      const paths = pathsOf.get(route.url);
      if (paths !== undefined) route.config = { ...route.config, paths };
    });
    const routes = (router: { handlers: UniversalHandler[] }) => {
      router.handlers.push(...services.map(({ handler }) => handler));
    };
    fastifyConnectPlugin(scope, { routes, contextValues: contextOf }, done);
  });
}

/** What a call is told of the request that it came in. */
export function contextOf(request: FastifyRequest): ContextValues {
  const values = createContextValues();
  setRequestId(values, request.id);
  const peer = readPeer(request);
  setPeer(values, () => peer);
  return values;
}

/** One handler for those of a service, with a pattern of all of their paths. */
function ofService(handlers: readonly UniversalHandler[]): { handler: UniversalHandler; paths: ReadonlySet<string> } {
  const byPath = new Map(handlers.map((handler) => [handler.requestPath, handler]));
  const [first] = handlers;
  if (first === undefined) throw new Error('a service without methods has no route');
  const serve = (request: UniversalServerRequest) => {
    const handler = byPath.get(new URL(request.url).pathname);
    if (handler === undefined) throw new Error(`no handler for ${request.url}, which its route let through`);
    return handler(request);
  };
  const names = handlers.map(({ method }) => method.name);
  const requestPath = `/${first.service.typeName}/:method(^(?:${names.join('|')})$)`;
  return { handler: Object.assign(serve, { ...first, requestPath }), paths: new Set(byPath.keys()) };
}
