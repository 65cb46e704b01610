import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { httpRefusal, unknownMethod } from '../rpc/http-refusals.ts';
import { limitPublicAnswers } from '../rpc/public-answers.ts';
import { isNamed } from './entity-tag.ts';
import { takesCoding, takeTurnToWrite } from './turns.ts';

/** What `node scripts/build-console.ts` makes of packages/console. */
const BUILD = new URL('../../packages/console/dist/', import.meta.url);

/** The element of the page that says where the console is; its path stands in the source as the default. */
const BASE = '<base href="/console/" />';

/**
 * Nothing but what this server serves is loaded, scripts are files, and no text becomes a script or markup
 * (https://w3c.github.io/trusted-types/): the page has neither inline scripts nor inline styles.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const PAGE_HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
};

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A file of the console as it is sent. */
interface Served {
  readonly headers: Readonly<Record<string, string>>;
  readonly etag: string;
  readonly body: Buffer;
  readonly gzip?: Buffer | undefined;
  readonly br?: Buffer | undefined;
}

/**
 * Serves the console from memory at a path that has a slash at both ends, to GET and HEAD: its files by their exact names,
 * and the page for any other path below, since the page has views with paths of their own. The root leads browsers there.
 * Serves nothing, and answers false, where the console has not been built.
 */
export async function serveConsole(fastify: FastifyInstance, path: string, folder: URL = BUILD): Promise<boolean> {
  const files = await readBuild(folder, path);
  const page = files.get('index.html');
  if (page === undefined) return false;
  const writing = limitPublicAnswers('console_downloads');

  const send = async (served: Served, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const coding = (['br', 'gzip'] as const).find(
      (name) => served[name] !== undefined && takesCoding(name, request.headers['accept-encoding']),
    );
    // Strong tags differ where the bytes do (RFC 9110, 8.8.3.3).
    const etag = coding === undefined ? `"${served.etag}"` : `"${served.etag}-${coding}"`;
    reply.headers({ ...served.headers, etag, vary: 'accept-encoding' });
    if (isNamed(etag, request.headers['if-none-match'])) return reply.code(304).send();
    if (!(await takeTurnToWrite(writing, request, reply))) return reply;
    if (coding === undefined) return reply.send(served.body);
    return reply.header('content-encoding', coding).send(served[coding]);
  };

  fastify.get(`${path}*`, async (request, reply) => {
    const target = pathOf(request.url);
    // The router decodes paths: only one spelling is served.
    const name = target.startsWith(path) ? target.slice(path.length) : '..';
    const served = files.get(name) ?? (VIEW.test(name) ? page : undefined);
    return served === undefined ? refuseUnknown(target, request, reply) : send(served, request, reply);
  });
  fastify.get(path.slice(0, -1), async (_request, reply) => reply.redirect(path, 308));
  fastify.get('/', async (request, reply) =>
    /\btext\/html\b/.test(request.headers.accept ?? '')
      ? reply.header('vary', 'accept').redirect(path, 302)
      : refuseUnknown('/', request, reply),
  );
  return true;
}

/** A path of a view of the page: without a dot, which files have. */
const VIEW = /^(?:[\w-]{1,100}(?:\/[\w-]{1,100}){0,8}\/?)?$/;

/** The files of a build by their names; none where there is no build. */
async function readBuild(folder: URL, path: string): Promise<ReadonlyMap<string, Served>> {
  const names = await readdir(folder, { recursive: true }).catch((): string[] => []);
  const files = new Map<string, Served>();
  for (const name of names.map((each) => each.replaceAll('\\', '/'))) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const read = await readFile(new URL(name, folder));
    const isPage = name === 'index.html';
    const body = isPage ? Buffer.from(read.toString().replace(BASE, `<base href="${path}" />`)) : read;
    const packed = async (ending: string) =>
      names.includes(`${name}.${ending}`) ? await readFile(new URL(`${name}.${ending}`, folder)) : undefined;
    files.set(name, {
      headers: {
        'content-type': type,
        // The names of assets say what is in them.
        'cache-control': name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
        ...(isPage ? PAGE_HEADERS : { 'cross-origin-resource-policy': 'same-origin' }),
      },
      etag: createHash('sha256').update(body).digest('base64url'),
      body,
      gzip: isPage ? gzipSync(body) : await packed('gz'),
      br: isPage ? undefined : await packed('br'),
    });
  }
  return files;
}

/** A request target without its query. */
function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? '';
}

function refuseUnknown(target: string, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, headers, body } = httpRefusal(request.headers['content-type'], 404, unknownMethod(target));
  return reply.code(status).headers(headers).send(body);
}
