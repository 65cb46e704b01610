import { readFileSync } from 'node:fs';
import { getOption } from '@bufbuild/protobuf';
import { predefined } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TEXT_RULES } from '../scripts/contract/rules.ts';
import { TEXT_PATTERNS } from '../scripts/contract/text-patterns.ts';
import { ErrorReasonSchema } from '../gen/kith/error/v1/error_pb.ts';
import { SERVICES } from '../src/services.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from './support/kith.ts';

type Schema = Record<string, unknown>;

const TEXT = readFileSync('gen/openapi.json', 'utf8');
const DOCUMENT = JSON.parse(TEXT) as {
  paths: Record<string, Record<string, Schema>>;
  components: { schemas: Record<string, Schema>; responses: Record<string, Schema> };
};
const ERROR = 'connect.Error';

const validatorOf = compile(DOCUMENT.components.schemas);
/** Which refuse what the document does not name, although answers may hold fields of later versions. */
const strictValidatorOf = compile(
  Object.fromEntries(
    Object.entries(DOCUMENT.components.schemas).map(([name, schema]) => [
      name,
      schema['properties'] === undefined ? schema : { ...schema, additionalProperties: false },
    ]),
  ),
);

function compile(schemas: Record<string, Schema>): (name: string) => ValidateFunction {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addFormat('google-duration', true);
  ajv.addSchema({ $id: 'kith', components: { schemas } });
  return (name) => ajv.compile({ $ref: `kith#/components/schemas/${name}` });
}

let kith: Kith;
beforeAll(async () => {
  kith = await startKith();
});
afterAll(() => kith?.[Symbol.asyncDispose]());

describe('the document', () => {
  test('is OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(DOCUMENT);
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
  });

  test('has every call that is no stream, with the statuses of its reasons', () => {
    const unary = SERVICES.flatMap(({ methods }) => methods).filter(({ methodKind }) => methodKind === 'unary');
    expect(Object.keys(DOCUMENT.paths)).toEqual(unary.map(({ parent, name }) => `/${parent.typeName}/${name}`));
    const getUser = DOCUMENT.paths['/kith.user.v1.UserService/GetUser']!;
    expect(Object.keys(getUser)).toEqual(['post', 'get']);
    expect(getUser['post']).toMatchObject({
      security: [{ accessToken: [] }, { apiKey: ['PERMISSION_USERS_READ'] }],
      responses: { 404: { description: expect.stringContaining('ERROR_REASON_USER_NOT_FOUND') } },
    });
    // Through "with ALREADY_EXISTS as CreateUser does".
    expect(DOCUMENT.paths['/kith.user.v1.UserService/UpdateUser']!['post']!['x-kith-reasons']).toEqual(
      expect.arrayContaining(['ERROR_REASON_USERNAME_TAKEN', 'ERROR_REASON_FIELD_NEEDS_PERMISSION']),
    );
  });
});

describe('GET /openapi.json', () => {
  test('gives the document to pages of any origin, and tells who has it already', async () => {
    const answer = await fetch(`${kith.address}/openapi.json`, { headers: { origin: 'https://elsewhere.example' } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(await answer.text()).toBe(TEXT);
    const etag = answer.headers.get('etag')!;
    const again = await fetch(`${kith.address}/openapi.json`, { headers: { 'if-none-match': `W/${etag}` } });
    expect([again.status, await again.text()]).toEqual([304, '']);
    const head = await fetch(`${kith.address}/openapi.json`, { method: 'HEAD' });
    expect([head.status, head.headers.get('etag'), await head.text()]).toEqual([200, etag, '']);
  });

  test('is not served without KITH_REFLECTION', async () => {
    await using closed = await startKith({ env: { KITH_REFLECTION: 'false' } });
    const answer = await fetch(`${closed.address}/openapi.json`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ code: 'unimplemented' });
  });
});

describe('what is sent and answered is what the document says', () => {
  /** Calls over Connect with JSON, and compares both messages with the document. */
  async function call(
    path: string,
    request: Schema,
    accessToken = '',
    method: 'GET' | 'POST' = 'POST',
  ): Promise<Schema> {
    const operation = DOCUMENT.paths[`/${path}`]?.[method.toLowerCase()];
    if (operation === undefined) throw new Error(`${method} ${path} is not in the document`);
    const authorization = accessToken === '' ? {} : { authorization: `Bearer ${accessToken}` };
    const query = new URLSearchParams({ encoding: 'json', message: JSON.stringify(request) });
    const answer =
      method === 'GET'
        ? await fetch(`${kith.address}/${path}?${query}`, { headers: authorization })
        : await fetch(`${kith.address}/${path}`, {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...authorization },
            body: JSON.stringify(request),
          });
    const responses = operation['responses'] as Record<string, Schema>;
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(Object.keys(responses)).toContain(String(answer.status));
    const body = (await answer.json()) as Schema;
    const service = SERVICES.find(({ typeName }) => path.startsWith(`${typeName}/`))!;
    const { input, output } = service.methods.find(({ name }) => path.endsWith(`/${name}`))!;
    const { $ref, description } = responses[answer.status]!;
    const shared = DOCUMENT.components.responses[String($ref).replace('#/components/responses/', '')];
    const messages: [string, Schema][] = answer.ok
      ? [
          [input.typeName, request],
          [output.typeName, body],
        ]
      : [[ERROR, body]];
    for (const [name, message] of messages) expectToFit(name, message);
    expect(shared?.['description'] ?? description).toContain(answer.ok ? '' : reasonOf(body));
    return body;
  }

  function expectToFit(name: string, value: Schema): void {
    const validate = strictValidatorOf(name);
    validate(value);
    expect({ value, errors: validate.errors ?? [] }).toEqual({ value, errors: [] });
  }

  function reasonOf(body: Schema): string {
    const [detail] = body['details'] as { debug: { reason: string } }[];
    return detail!.debug.reason;
  }

  test('for users, contacts, activity, keys and sessions', async () => {
    const { signedIn } = (await call('kith.auth.v1.AuthService/Login', {
      identifier: 'admin',
      password: ADMIN_PASSWORD,
    })) as { signedIn: { tokens: Record<'accessToken' | 'refreshToken', string>; user: { id: string } } };
    const token = signedIn.tokens.accessToken;
    const userId = signedIn.user.id;
    await call('kith.auth.v1.AuthService/UserMe', {}, token, 'GET');

    const created = (await call(
      'kith.user.v1.UserService/CreateUser',
      {
        username: 'ada',
        email: 'ada@example.org',
        name: 'Ada Lovelace',
        role: 'ROLE_EDITOR',
        password: 'difference engine',
        requestId: crypto.randomUUID(),
      },
      token,
    )) as { user: { id: string; etag: string } };
    await call('kith.user.v1.UserService/GetUser', { userId: created.user.id }, token, 'GET');
    await call('kith.user.v1.UserService/GetUserDetails', { userId: created.user.id }, token);
    await call('kith.user.v1.UserService/GetUsage', { userId }, token);
    await call(
      'kith.user.v1.UserService/ListUsers',
      { pageSize: 1, includeTotalSize: true, roles: ['ROLE_ADMIN'] },
      token,
    );
    const { etag } = created.user;
    await call('kith.user.v1.UserService/UpdateUser', { userId: created.user.id, etag, name: 'Augusta Ada' }, token);

    const contact = {
      givenName: 'Charles',
      emails: [{ address: 'charles@example.org', type: 'work', primary: true }],
      addresses: [{ street: '1 Dorset Street\nLondon', country: 'GB' }],
      urls: [{ url: 'https://example.org/' }],
      birthday: { year: 1791, month: 12, day: 26 },
      notes: 'one\ntwo',
    };
    const { contact: kept } = (await call('kith.contact.v1.ContactService/CreateContact', contact, token)) as {
      contact: { id: string };
    };
    await call('kith.contact.v1.ContactService/UpdateContact', { contactId: kept.id, phones: { values: [] } }, token);
    await call('kith.contact.v1.ContactService/ListContacts', { query: 'charles' }, token, 'GET');
    await call('kith.contact.v1.ContactService/DeleteContact', { contactId: kept.id }, token);

    const activity = { userId, action: 'page.viewed', attributes: { path: '/' }, eventTime: '2026-01-31T12:00:00Z' };
    await call('kith.activity.v1.ActivityService/RecordUserActivity', { activities: [activity] }, token);
    await call('kith.activity.v1.ActivityService/ListUserActivity', { actionPrefixes: ['page'] }, token, 'GET');

    const permissions = ['PERMISSION_USERS_READ'];
    await call('kith.auth.v1.ApiKeyService/CreateApiKey', { name: 'a service', permissions }, token);
    await call('kith.auth.v1.ApiKeyService/ListApiKeys', { userId }, token);
    await call('kith.auth.v1.SessionService/ListSessions', { userId }, token);
    await call('kith.auth.v1.SecondFactorService/EnrollTotp', {}, token);
    await call('kith.auth.v1.SigningKeyService/ListSigningKeys', {}, token);
    await call('kith.admin.v1.AdminService/GetStatus', {}, token);
    await call('kith.admin.v1.AdminService/SetLogLevel', { level: 'LOG_LEVEL_SILENT' }, token);
    const { refreshToken } = signedIn.tokens;
    expect(await call('kith.auth.v1.AuthService/RefreshAccessToken', { refreshToken })).toHaveProperty('tokens');
  });

  test('for what is refused', async () => {
    const { accessToken } = await kith.user();
    const refused = async (path: string, request: Schema, token?: string) => reasonOf(await call(path, request, token));
    const id = crypto.randomUUID();
    const LOGIN = 'kith.auth.v1.AuthService/Login';
    expect(await refused('kith.user.v1.UserService/GetUser', { userId: id })).toBe('ERROR_REASON_ACCESS_TOKEN_MISSING');
    expect(await refused('kith.user.v1.UserService/GetUser', { userId: id }, accessToken)).toBe(
      'ERROR_REASON_PERMISSION_MISSING',
    );
    expect(await refused('kith.contact.v1.ContactService/GetContact', { contactId: id }, accessToken)).toBe(
      'ERROR_REASON_CONTACT_NOT_FOUND',
    );
    expect(await refused('kith.contact.v1.ContactService/CreateContact', {}, accessToken)).toBe(
      'ERROR_REASON_CONTACT_EMPTY',
    );
    expect(await refused(LOGIN, { identifier: 'nobody', password: 'x' })).toBe('ERROR_REASON_CREDENTIALS_INVALID');
    expect(await refused(LOGIN, { identifier: 'a\u0000', password: '' })).toBe('ERROR_REASON_FIELDS_INVALID');
    expect(await refused(LOGIN, { nonsense: 1 })).toBe('ERROR_REASON_MALFORMED_REQUEST');
  });
});

describe('the schemas refuse what the rules of the contract refuse', () => {
  const id = crypto.randomUUID();
  const contact = 'kith.contact.v1.CreateContactRequest';
  const user = { username: 'ada', email: 'ada@example.org', name: 'Ada' };

  test.each<[string, string, Schema, boolean]>([
    ['a UUID', 'kith.user.v1.GetUserRequest', { userId: id }, true],
    ['no UUID', 'kith.user.v1.GetUserRequest', { userId: 'x' }, false],
    ['nothing where something must be', 'kith.user.v1.GetUserRequest', {}, false],
    ['an optional UUID that is empty', 'kith.activity.v1.ListUserActivityRequest', { userId: '' }, true],
    ['an optional UUID that is none', 'kith.activity.v1.ListUserActivityRequest', { userId: 'x' }, false],
    ['200 code points of two units', contact, { givenName: '😀'.repeat(200) }, true],
    ['201 code points', contact, { givenName: '😀'.repeat(201) }, false],
    ['a line break in one line', contact, { givenName: 'a\nb' }, false],
    ['a line break in several lines', contact, { notes: 'a\nb' }, true],
    ['a direction override', contact, { notes: 'a\u202Eb' }, false],
    ['too many items', contact, { emails: Array.from({ length: 21 }, () => ({ address: 'a@b' })) }, false],
    ['a field that there is not', contact, { givenname: 'a' }, false],
    ['a month that there is not', contact, { birthday: { month: 13 } }, false],
    ['a role', 'kith.user.v1.CreateUserRequest', { ...user, role: 'ROLE_ADMIN' }, true],
    ['no role', 'kith.user.v1.CreateUserRequest', { ...user, role: 'ROLE_UNSPECIFIED' }, false],
    ['one answer', 'kith.auth.v1.CompleteLoginRequest', { challengeToken: 'x', totpCode: '123 456' }, true],
    ['no answer', 'kith.auth.v1.CompleteLoginRequest', { challengeToken: 'x' }, false],
    [
      'two answers',
      'kith.auth.v1.CompleteLoginRequest',
      { challengeToken: 'x', totpCode: '123456', recoveryCode: 'a' },
      false,
    ],
    ['a negative page size', 'kith.user.v1.ListUsersRequest', { pageSize: -1 }, false],
    ['an empty list where items must be', 'kith.activity.v1.RecordUserActivityRequest', { activities: [] }, false],
  ])('%s', (_, name, value, fits) => {
    expect(validatorOf(name)(value)).toBe(fits);
  });
});

test.each(TEXT_RULES.map(({ name }) => name))('the pattern of the rule %s says what the contract says', (name) => {
  const rule = TEXT_RULES.find((each) => each.name === name)!;
  expect(Object.keys(TEXT_PATTERNS)).toContain(name);
  const pattern = TEXT_PATTERNS[name];
  if (pattern === undefined) return;
  const [, source = ''] = /matches\('(.*)'\)/.exec(getOption(rule, predefined).cel[0]!.expression) ?? [];
  // The expression is text of CEL, in which a backslash is written as two.
  const own = new RegExp(source.replaceAll('\\\\', '\\').replaceAll('\\x{', '\\u{'), 'u');
  const portable = new RegExp(pattern);
  const around = name === 'web_url' ? ['http://', 'x'] : ['a', 'a'];
  const differing: string[] = [];
  for (let point = 0; point <= 0x10ffff; point++) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    const text = around[0] + String.fromCodePoint(point) + around[1];
    if (own.test(text) !== portable.test(text)) differing.push(point.toString(16));
  }
  expect(differing).toEqual([]);
});

describe('GET /errors', () => {
  test('has every reason of the contract under its name, with what to do', async () => {
    const answer = await fetch(`${kith.address}/errors`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none'; /);
    const page = await answer.text();
    const silent = ErrorReasonSchema.values.filter(({ name }) => {
      const [, section = ''] = page.split(`<section id="${name}">`);
      return !/What to do:<\/strong> \S.{10}/.test(section.split('</section>')[0]!);
    });
    expect(silent.map(({ name }) => name)).toEqual(['ERROR_REASON_UNSPECIFIED']);
    for (const [, name] of page.matchAll(/href="#(\w+)"/g)) expect(page).toContain(`id="${name}"`);
    expect(page).not.toMatch(/[`]|ERROR_REASON_UNSPECIFIED|<script/);
  });

  test('is not served without KITH_REFLECTION', async () => {
    await using closed = await startKith({ env: { KITH_REFLECTION: 'false' } });
    expect((await fetch(`${closed.address}/errors`)).status).toBe(404);
  });
});

test('docs/reference/errors.md says of every reason what to do', () => {
  const page = readFileSync('docs/reference/errors.md', 'utf8');
  const reasons = ErrorReasonSchema.values.filter(({ number }) => number !== 0);
  const silent = reasons.filter(({ name }) => {
    const [, section = ''] = page.split(`\n### ${name}\n`);
    return !/- \*\*What to do\*\*: \S.{10}/.test(section.split('\n### ')[0]!);
  });
  expect(silent.map(({ name }) => name)).toEqual([]);
});
