import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { needCommand } from './support/commands.ts';
import { type Kith, startKith } from './support/kith.ts';
import { connectHttp2, http1Request, type RawAnswer, sendHttp1, sendHttp2 } from './support/raw.ts';
import { patternOf, runSteps, sectionOf, stepsOf } from './support/tour.ts';

const card = (...lines: string[]) => ['BEGIN:VCARD', 'VERSION:3.0', ...lines, 'END:VCARD', ''].join('\r\n');

type Send = (
  method: string,
  path: string,
  headers?: Readonly<Record<string, string>>,
  body?: string | Uint8Array,
) => Promise<RawAnswer>;

/** What a refusal says. */
function refusalIn({ status, headers, body }: RawAnswer) {
  expect(headers['content-type']).toBe('application/json');
  const error = JSON.parse(body.toString()) as {
    readonly message: string;
    readonly details?: readonly { readonly debug?: { readonly reason?: string } }[];
  };
  const reason = error.details?.[0]?.debug?.reason?.replace('ERROR_REASON_', '');
  return { status, reason, message: error.message };
}

describe('files of contacts over HTTP', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_WATCHES_PER_CALLER: '2' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const sending: Record<string, () => Promise<{ send: Send } & AsyncDisposable>> = {
    'HTTP/1.1': async () => ({
      send: (method, path, headers = {}, body = '') =>
        sendHttp1(kith.address, http1Request(method, path, headers, body)),
      async [Symbol.asyncDispose]() {},
    }),
    'HTTP/2': async () => {
      const session = await connectHttp2(kith.address);
      return {
        send: (method, path, headers = {}, body = '') => {
          const length =
            method === 'POST' && body.length > 0 ? { 'content-length': String(Buffer.byteLength(body)) } : {};
          return sendHttp2(session, { ':method': method, ':path': path, ...length, ...headers }, body);
        },
        [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
      };
    },
  };

  describe.each(Object.entries(sending))('%s', (_, open) => {
    test('a file is previewed, imported, exported in each format, and the same again', async () => {
      await using connection = await open();
      const { accessToken } = await kith.user();
      const headers = { authorization: `Bearer ${accessToken}` };
      const { send } = connection;
      const file = card('N:Lovelace;Ada;;;', 'UID:ada', 'X-HAT:blue') + card('N:Hopper;Grace;;;', 'UID:grace');
      const load = async (path: string, body: string | Uint8Array) => {
        const answer = await send('POST', path, { ...headers, 'content-type': 'text/vcard' }, body);
        expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json']);
        return JSON.parse(answer.body.toString()) as { importId?: string; results: { status: string; line: number }[] };
      };
      const preview = await load('/contacts.vcf?preview=true&source=cards.vcf&lines_before=10', file);
      expect(preview).toMatchObject({
        results: [
          { status: 'CONTACT_IMPORT_STATUS_CREATED', line: 11 },
          { status: 'CONTACT_IMPORT_STATUS_CREATED', line: 17 },
        ],
      });
      expect(preview.importId).toBeUndefined();
      expect((await load('/contacts.vcf', file)).importId).toMatch(/^[0-9a-f-]{36}$/);
      const types = {
        vcf: 'text/vcard; charset=utf-8',
        csv: 'text/csv; charset=utf-8',
        json: 'application/jscontact+json',
      };
      for (const [ending, type] of Object.entries(types)) {
        const answer = await send('GET', `/contacts.${ending}`, headers);
        expect(answer.status).toBe(200);
        expect(answer.headers).toMatchObject({
          'content-type': type,
          'content-disposition': `attachment; filename="contacts.${ending}"`,
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          'x-request-id': expect.stringMatching(/./) as string,
        });
        const { results } = await load(`/contacts.${ending}`, answer.body);
        expect(results.map(({ status }) => status)).toEqual(Array(2).fill('CONTACT_IMPORT_STATUS_SAME'));
      }
      expect((await send('GET', '/contacts.vcf?version=3.0&query=hopper', headers)).body.toString()).toMatch(
        /^BEGIN:VCARD\r\nVERSION:3\.0\r\nFN:Grace Hopper\r\n/,
      );
      const columns = 'Vorname,Egal\nJean,x\n';
      await load('/contacts.csv?column=Vorname%3DFirst+Name&column=Egal=-', columns);
      const labels = kith.client(LabelService, accessToken);
      const { label } = await labels.createLabel({ name: 'Crew' });
      const client = kith.client(ContactService, accessToken);
      const [jean] = (await client.listContacts({ query: 'jean' })).contacts;
      expect(jean).toMatchObject({ givenName: 'Jean', customFields: [] });
      await client.labelContacts({ contacts: [{ contactId: jean!.id }], addLabelIds: [label!.id] });
      const labelled = await send('GET', `/contacts.json?label=${label!.id}`, headers);
      expect(JSON.parse(labelled.body.toString())).toMatchObject([
        { name: { full: 'Jean' }, keywords: { Crew: true } },
      ]);
    });

    test('what is refused is refused as the call is, with a status, a reason and words', async () => {
      await using connection = await open();
      const { accessToken } = await kith.user();
      const token = { authorization: `Bearer ${accessToken}` };
      const keys = kith.client(ApiKeyService, accessToken);
      const permissions = [Permission.CONTACTS_READ];
      const { secret } = await keys.createApiKey({ name: 'reader', permissions });
      const key = { authorization: `Bearer ${secret}` };
      const file = card('N:Lovelace;Ada;;;');
      const rows: [string, string, Record<string, string>, string, number, string][] = [
        ['GET', '/contacts.vcf', {}, '', 401, 'ACCESS_TOKEN_MISSING'],
        ['GET', '/contacts.vcf', { cookie: `__Host-kith-session=${accessToken}` }, '', 401, 'ACCESS_TOKEN_MISSING'],
        ['POST', '/contacts.vcf', { authorization: 'Bearer nonsense' }, file, 401, 'ACCESS_TOKEN_INVALID'],
        ['POST', '/contacts.vcf', key, file, 403, 'PERMISSION_MISSING'],
        ['GET', '/contacts.vcf?label=nonsense', token, '', 400, 'FIELDS_INVALID'],
        [`GET`, `/contacts.vcf?query=${'x'.repeat(101)}`, token, '', 400, 'FIELDS_INVALID'],
        ['GET', '/contacts.vcf?version=5.0', token, '', 400, 'MALFORMED_REQUEST'],
        ['GET', '/contacts.csv?version=4.0', token, '', 400, 'MALFORMED_REQUEST'],
        ['GET', '/contacts.vcf?starred=yes', token, '', 400, 'MALFORMED_REQUEST'],
        ['GET', '/contacts.vcf?query=a&query=b', token, '', 400, 'MALFORMED_REQUEST'],
        ['GET', `/contacts.vcf?${'label=a&'.repeat(201)}`, token, '', 400, 'MALFORMED_REQUEST'],
        ['POST', '/contacts.vcf', { ...token, 'content-length': '0' }, '', 400, 'FIELDS_INVALID'],
        ['POST', '/contacts.vcf', token, '', 411, 'MALFORMED_REQUEST'],
        ['POST', '/contacts.vcf?phone_region=XX', token, file, 400, 'REGION_UNKNOWN'],
        ['POST', '/contacts.csv?column=a', token, 'a\nb', 400, 'MALFORMED_REQUEST'],
        ['POST', '/contacts.vcf', { ...token, 'content-encoding': 'gzip' }, file, 415, 'ENCODING_UNSUPPORTED'],
        [
          'POST',
          '/contacts.vcf',
          { ...token, 'content-type': 'multipart/form-data; boundary=x' },
          file,
          415,
          'ENCODING_UNSUPPORTED',
        ],
        ['POST', '/contacts.vcf', token, card('N:A;B;;;').repeat(501), 400, 'IMPORT_TOO_LARGE'],
        ['PUT', '/contacts.vcf', token, file, 405, 'METHOD_UNKNOWN'],
        ['DELETE', '/contacts.json', token, '', 405, 'METHOD_UNKNOWN'],
        ['GET', '/contacts.xml', token, '', 404, 'METHOD_UNKNOWN'],
        ['GET', '/contacts%2Evcf', token, '', 404, 'METHOD_UNKNOWN'],
      ];
      for (const [method, path, headers, body, status, reason] of rows) {
        const found = refusalIn(await connection.send(method, path, headers, body));
        expect(found, `${method} ${path.slice(0, 60)}`).toMatchObject({ status, reason });
        expect(found.message).toMatch(/\w+ \w+/);
      }
      expect((await connection.send('GET', '/contacts.csv', key)).status).toBe(200);
    });

    test('a file of the largest size is taken, and a larger one is refused by its size', async () => {
      await using connection = await open();
      const { accessToken } = await kith.user();
      const headers = { authorization: `Bearer ${accessToken}` };
      const begin = 'BEGIN:VCARD\r\nN:Lovelace;Ada;;;\r\nX-LONG:';
      const end = '\r\nEND:VCARD\r\n';
      const long = (bytes: number) => begin + 'x'.repeat(bytes - begin.length - end.length) + end;
      const taken = await connection.send('POST', '/contacts.vcf', headers, long(1_048_500));
      expect(JSON.parse(taken.body.toString())).toMatchObject({ results: [{ name: 'Ada Lovelace' }] });
      const refused = refusalIn(await connection.send('POST', '/contacts.vcf', headers, long(2 ** 20 + 1)));
      expect(refused).toMatchObject({ status: 429, reason: 'REQUEST_TOO_LARGE' });
    });
  });

  test('an export waits for its reader, counts as a stream, and is cut off where the session ends', async () => {
    const { accessToken } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const contacts = Array.from({ length: 90 }, (_, i) => ({ givenName: `${i}`, notes: 'x'.repeat(10_000) }));
    for (let i = 0; i < 12; i++) await client.batchCreateContacts({ contacts });
    const open = async () => {
      const request = http.get(`${kith.address}/contacts.vcf`, { headers: { authorization: `Bearer ${accessToken}` } });
      request.on('error', () => {});
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      return { request, response };
    };
    const [first, second] = [await open(), await open()];
    expect([first.response.statusCode, second.response.statusCode]).toEqual([200, 200]);
    const third = await open();
    expect(third.response.statusCode).toBe(429);
    const refusal = JSON.parse((await third.response.toArray()).join('')) as object;
    expect(refusal).toMatchObject({ details: [{ debug: { reason: 'ERROR_REASON_BUDGET_EXCEEDED' } }] });
    // Whoever leaves gives the stream back.
    first.request.destroy();
    await expect
      .poll(async () => {
        const { request, response } = await open();
        request.destroy();
        return response.statusCode;
      })
      .toBe(200);
    await kith.client(AuthService, accessToken).logout({});
    await expect(second.response.toArray()).rejects.toThrow('aborted');
  });

  test('the lines with curl in docs/contacts.md run as printed', async (context) => {
    const bash = needCommand(context, 'bash');
    needCommand(context, 'curl');
    const { accessToken } = await kith.user();
    await using directory = await mkdtempDisposable(join(tmpdir(), 'contact-files-'));
    const section = sectionOf(readFileSync('docs/contacts.md', 'utf8'), '### Files over HTTP');
    const [first, ...others] = stepsOf(section.replaceAll('http://localhost:8080', kith.address));
    const begin = `cd ${directory.path}\nTOKEN=${accessToken}\n`;
    const steps = [{ ...first!, commands: begin + first!.commands }, ...others];
    const { code, outputs, stderr } = await runSteps(bash, steps);
    expect({ code, stderr, steps: outputs.length }).toEqual({ code: 0, stderr: '', steps: 2 });
    for (const [i, { line, expected = '' }] of steps.entries()) {
      expect.soft(outputs[i], `docs/contacts.md:${line}`).toMatch(patternOf(expected));
    }
    expect(await readFile(join(directory.path, 'contacts.csv'), 'utf8')).toContain('Grace');
  });
});
