import { createHash } from 'node:crypto';
import { access, constants, readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { escapeHtml } from '../kernel/text.ts';
import { httpRefusal, unknownMethod } from '../rpc/http-refusals.ts';
import { limitPublicAnswers } from '../rpc/public-answers.ts';
import { isNamed } from './entity-tag.ts';
import { takesCoding, takeTurnToWrite } from './turns.ts';

/**
 * Nothing but what this server serves is loaded, scripts are files, and no text becomes a script or markup
 * (https://w3c.github.io/trusted-types/): the page has neither inline scripts nor inline styles. `picture`: the URL of one
 * more picture that may be loaded. `hasFrames`: whether it shows pages of this server in frames.
 */
function contentSecurityPolicy(picture: string | undefined, hasFrames: boolean): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `img-src 'self' data:${picture === undefined ? '' : ` ${picture}`}`,
    "connect-src 'self'",
    ...(hasFrames ? ["frame-src 'self'"] : []),
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

function pageHeaders({
  picture,
  frames = {},
}: Pick<StaticPages, 'picture' | 'frames'>): Readonly<Record<string, string>> {
  return {
    'content-security-policy': contentSecurityPolicy(picture, Object.keys(frames).length > 0),
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  };
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A file as it is sent. */
interface Served {
  readonly headers: Readonly<Record<string, string>>;
  readonly etag: string;
  readonly body: Buffer;
  readonly gzip?: Buffer | undefined;
  readonly br?: Buffer | undefined;
}

/** A page with its files, as they were built. */
export interface StaticPages {
  /** Where it is served, with a slash at both ends. */
  readonly path: string;
  /** The folder of the build. */
  readonly folder: URL;
  /** The name of the budget of what is sent and not taken yet. */
  readonly budget: string;
  /** Makes the page as it is served of the page as it was built. */
  readonly toPage: (source: string) => string;
  /** The URL of a picture on another host that the page may load. */
  readonly picture?: string | undefined;
  /** Style sheets beside those of the build, by their names. */
  readonly styles?: Readonly<Record<string, string>> | undefined;
  /** Pages that this one shows in frames, by their names. */
  readonly frames?: Readonly<Record<string, FramedPage>> | undefined;
}

/** A page in a frame, with a policy of its own. */
export interface FramedPage {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Some hundred files, which a start would wait for. */
const READ_AFTER_MS = 1000;

/**
 * Serves a page from memory, to GET and HEAD: its files by their exact names, and the page for any other path below, since
 * the page has views with paths of their own. They are read for the first who asks, or soon after the server listens.
 * Serves nothing, and answers false, where the page has not been built.
 */
export async function serveStaticPages(fastify: FastifyInstance, pages: StaticPages): Promise<boolean> {
  const { path } = pages;
  if (!(await canRead(new URL('index.html', pages.folder)))) return false;
  let reading: ReturnType<typeof readBuild> | undefined;
  const read = () => (reading ??= readBuild(pages).catch(readAgain));
  const readAgain = (error: unknown): never => {
    reading = undefined;
    throw error;
  };
  fastify.addHook('onListen', async () => {
    const onFault = (err: unknown) => fastify.log.error({ err, path }, 'could not read the files of a page');
    setTimeout(() => void read().catch(onFault), READ_AFTER_MS).unref();
  });
  const writing = limitPublicAnswers(pages.budget);

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
    const files = await read();
    const served = files.get(name) ?? (VIEW.test(name) ? files.get('index.html') : undefined);
    return served === undefined ? refuseUnknown(target, request, reply) : send(served, request, reply);
  });
  fastify.get(path.slice(0, -1), async (_request, reply) => reply.redirect(path, 308));
  return true;
}

/** The start of a page whose scripts read these attributes as `document.documentElement.dataset`: those that are undefined are left out. */
export function rootElement(attributes: Readonly<Record<string, string | undefined>>): string {
  const written = Object.entries(attributes).map(([name, value]) =>
    value === undefined ? '' : ` data-${name}="${escapeHtml(value)}"`,
  );
  return `<html lang="en"${written.join('')}>`;
}

/** A path of a view of the page: without a dot, which files have. */
const VIEW = /^(?:[\w-]{1,100}(?:\/[\w-]{1,100}){0,8}\/?)?$/;

async function canRead(file: URL): Promise<boolean> {
  return access(file, constants.R_OK).then(
    () => true,
    () => false,
  );
}

/** The files of a build by their names. */
async function readBuild({
  folder,
  toPage,
  picture,
  styles = {},
  frames = {},
}: StaticPages): Promise<ReadonlyMap<string, Served>> {
  const names = await readdir(folder, { recursive: true });
  const files = new Map<string, Served>();
  for (const name of names.map((each) => each.replaceAll('\\', '/'))) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const read = await readFile(new URL(name, folder));
    if (name === 'index.html') {
      files.set(name, madeAtStart(toPage(read.toString()), type, pageHeaders({ picture, frames })));
      continue;
    }
    const packed = async (ending: string) =>
      names.includes(`${name}.${ending}`) ? await readFile(new URL(`${name}.${ending}`, folder)) : undefined;
    files.set(name, {
      headers: {
        'content-type': type,
        // The names of assets say what is in them.
        'cache-control': name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
        ...FILE_HEADERS,
      },
      etag: tagOf(read),
      body: read,
      gzip: await packed('gz'),
      br: await packed('br'),
    });
  }
  for (const [name, style] of Object.entries(styles)) files.set(name, madeAtStart(style, TYPES['.css']!, FILE_HEADERS));
  for (const [name, { html, headers }] of Object.entries(frames))
    files.set(name, madeAtStart(html, TYPES['.html']!, headers));
  return files;
}

const FILE_HEADERS = { 'cross-origin-resource-policy': 'same-origin' };

/** A file that is made of settings: it is asked for again each time. */
function madeAtStart(text: string, type: string, headers: Readonly<Record<string, string>>): Served {
  const body = Buffer.from(text);
  return {
    headers: { 'content-type': type, 'cache-control': 'no-cache', ...headers },
    etag: tagOf(body),
    body,
    gzip: gzipSync(body),
  };
}

function tagOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('base64url');
}

/** A request target without its query. */
function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? '';
}

/** Refuses a path at which nothing is served. */
export function refuseUnknown(target: string, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, headers, body } = httpRefusal(request.headers['content-type'], 404, unknownMethod(target));
  return reply.code(status).headers(headers).send(body);
}
