import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  ContactFormat,
  ContactService,
  ExportContactsRequestSchema,
  ImportContactsRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { Failure } from '../kernel/failure.ts';
import { type FileCalls, refuseFile } from './plain-files.ts';

/** The files that contacts are read and written as, by the end of their name. */
const FILES = {
  vcf: { format: ContactFormat.VCARD_4, contentType: 'text/vcard; charset=utf-8' },
  csv: { format: ContactFormat.CSV, contentType: 'text/csv; charset=utf-8' },
  json: { format: ContactFormat.JSCONTACT, contentType: 'application/jscontact+json' },
} as const;

const VERSIONS = new Map<string, ContactFormat>([
  ['3.0', ContactFormat.VCARD_3],
  ['4.0', ContactFormat.VCARD_4],
]);

const METHODS = ['GET', 'POST'] as const;

/** How many parameters a query has at the most. */
const PARAMETERS_MAX = 200;

/**
 * Serves the caller's contacts as files: GET of /contacts.vcf, .csv and .json is ExportContacts, and POST of a file there is
 * ImportContacts. Their fields are parameters of the query.
 */
export function serveContactFiles(fastify: FastifyInstance, calls: FileCalls): void {
  for (const [ending, { format, contentType }] of Object.entries(FILES)) {
    const path = `/contacts.${ending}`;
    const refusing = (serve: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>) => {
      return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
        try {
          return await serve(request, reply);
        } catch (error) {
          if (error instanceof WrongParameter) return refuse(reply, 400, error.message);
          throw error;
        }
      };
    };
    fastify.get(
      path,
      { exposeHeadRoute: false },
      refusing((request, reply) => {
        const message = create(ExportContactsRequestSchema, readExport(request, format));
        const { method } = ContactService;
        const name = `contacts.${ending}`;
        const dataOf = ({ data }: { readonly data: Uint8Array }) => data;
        return calls.download(request, reply, { method: method.exportContacts, message, dataOf, contentType, name });
      }),
    );
    fastify.post(
      path,
      refusing(async (request, reply) => {
        const refusal = refusalOfBody(request);
        if (refusal !== undefined) return refuse(reply, 415, refusal);
        const length = request.headers['content-length'];
        if (length === undefined || !/^\d{1,15}$/.test(length)) {
          return refuse(reply, 411, 'content-length must say how long the file is');
        }
        const message = create(ImportContactsRequestSchema, readImport(request, format));
        const { importContacts: method } = ContactService.method;
        const field = method.input.field.content.number;
        return calls.upload(request, reply, { method, message, field, length: Number(length) });
      }),
    );
    fastify.route({
      method: ['HEAD', 'PUT', 'PATCH', 'DELETE'],
      url: path,
      handler: (_request, reply) =>
        refuseFile(
          reply.header('allow', METHODS.join(', ')),
          405,
          new Failure('method_unknown', `the HTTP method must be ${METHODS.join(' or ')}`),
        ),
    });
  }
}

/** A parameter that there is not, or that does not say what it should. */
class WrongParameter extends Error {}

function refuse(reply: FastifyReply, status: number, message: string): FastifyReply {
  return refuseFile(reply, status, new Failure(status === 415 ? 'encoding_unsupported' : 'malformed_request', message));
}

function refusalOfBody({ headers }: FastifyRequest): string | undefined {
  const coding = headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') return 'the file must be sent as it is, without content-encoding';
  if (/^\s*multipart\//i.test(headers['content-type'] ?? '')) {
    return 'the body must be the file itself, as curl --data-binary @FILE sends it, and no form';
  }
  return undefined;
}

function readExport(
  request: FastifyRequest,
  format: ContactFormat,
): MessageInitShape<typeof ExportContactsRequestSchema> {
  const isVCard = format === ContactFormat.VCARD_4;
  const query = readQuery(request, ['query', 'label', 'starred', ...(isVCard ? ['version'] : [])]);
  const version = query.one('version');
  const written = version === undefined ? format : VERSIONS.get(version);
  if (written === undefined) throw new WrongParameter('version must be 3.0 or 4.0');
  const starred = query.flag('starred');
  return {
    format: written,
    query: query.one('query') ?? '',
    labels: { allOf: query.all('label') },
    ...(starred !== undefined && { starred }),
  };
}

function readImport(
  request: FastifyRequest,
  format: ContactFormat,
): MessageInitShape<typeof ImportContactsRequestSchema> {
  const isCsv = format === ContactFormat.CSV;
  const names = ['preview', 'keep_existing', 'source', 'phone_region', 'lines_before', 'import_id'];
  const query = readQuery(request, [...names, ...(isCsv ? ['column'] : [])]);
  const lines = query.one('lines_before') ?? '0';
  if (!/^\d{1,9}$/.test(lines)) throw new WrongParameter('lines_before must be a number of lines');
  const columns = query.all('column').map((column) => {
    const sign = column.indexOf('=');
    if (sign < 0) throw new WrongParameter('column must be NAME=FIELD, the equals sign as %3D or as it is');
    return { name: column.slice(0, sign), holds: column.slice(sign + 1) };
  });
  return {
    format,
    preview: query.flag('preview') ?? false,
    keepExisting: query.flag('keep_existing') ?? false,
    source: query.one('source') ?? '',
    phoneRegion: query.one('phone_region') ?? '',
    linesBefore: Number(lines),
    importId: query.one('import_id') ?? '',
    columns,
  };
}

/** The parameters of a query, of which none may be another one than these. */
function readQuery({ url }: FastifyRequest, names: readonly string[]) {
  const mark = url.indexOf('?');
  const parameters = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  if (parameters.size > PARAMETERS_MAX) throw new WrongParameter(`there are more than ${PARAMETERS_MAX} parameters`);
  for (const name of parameters.keys()) {
    if (!names.includes(name)) {
      const shown = JSON.stringify(name.slice(0, 40).toWellFormed());
      throw new WrongParameter(`there is no parameter ${shown}: there are ${names.join(', ')}`);
    }
  }
  const one = (name: string): string | undefined => {
    const [value, ...others] = parameters.getAll(name);
    if (others.length > 0) throw new WrongParameter(`${name} is there more than once`);
    return value;
  };
  return {
    one,
    all: (name: string) => parameters.getAll(name),
    flag(name: string): boolean | undefined {
      const value = one(name);
      if (value === undefined) return undefined;
      if (value !== 'true' && value !== 'false') throw new WrongParameter(`${name} must be true or false`);
      return value === 'true';
    },
  };
}
