import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type Matrix, type Method, startMatrix } from './support/access-matrix.ts';
import { databases } from './support/databases.ts';
import { connectHttp2, http1Request, outcomeOf, sendHttp1, sendHttp2 } from './support/raw.ts';

describe.each(databases)('on $name', (kind) => {
  let matrix: Matrix;
  beforeAll(async () => {
    matrix = await startMatrix(kind);
  });
  afterAll(() => matrix[Symbol.asyncDispose]());

  const { listUsers, deleteUser } = UserService.method;

  test.each([listUsers, deleteUser])('$name is checked in every spelling that leads to it', async (method) => {
    const { kith, viewer, dump, newUser } = matrix;
    const { id } = await newUser();
    const before = await dump();
    await using session = await connectHttp2(kith.address);
    const body = JSON.stringify(method === deleteUser ? { userId: id } : {});
    const wrong: string[] = [];
    for (const path of spellings(method, kith.port)) {
      for (const [authorization, refusal] of [
        ['', 'Unauthenticated ACCESS_TOKEN_MISSING'],
        [`Bearer ${viewer.accessToken}`, 'PermissionDenied PERMISSION_MISSING'],
      ] as const) {
        const headers = { 'content-type': 'application/json', ...(authorization && { authorization }) };
        const answers = {
          POST: await sendHttp1(kith.address, http1Request('POST', path, headers, body)),
          GET: await sendHttp1(kith.address, http1Request('GET', withQuery(path), headers)),
          'POST over HTTP/2': await sendHttp2(session, { ':path': path, ...headers }, body),
        };
        for (const [how, answer] of Object.entries(answers)) {
          // HTTP/2 resets a stream whose :path is none (RFC 9113, 8.3.1).
          if (answer.status === 0 && !path.startsWith('/') && how.endsWith('HTTP/2')) continue;
          const { code, reason } = await outcomeOf(answer);
          const allowed = [refusal, 'Unimplemented METHOD_UNKNOWN', 'InvalidArgument MALFORMED_REQUEST'];
          if (!allowed.includes(`${code} ${reason}`)) wrong.push(`${how} ${path}: ${code} ${reason}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(await dump()).toBe(before);
  });

  test('a method that is percent-encoded is nothing, for those who may call it too', async () => {
    const { kith, editor } = matrix;
    const path = '/kith.user.v1.UserService/%4cist%55sers';
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${editor.accessToken}` };
    const { status } = await sendHttp1(kith.address, http1Request('POST', path, headers, '{}'));
    expect(status).toBe(404);
  });
});

function spellings(method: Method, port: number): string[] {
  const path = `/${method.parent.typeName}/${method.name}`;
  const [, service = '', name = ''] = path.split('/');
  const hex = (char: string) => `%${char.charCodeAt(0).toString(16)}`;
  return [
    path,
    `/${service}/${hex(name[0]!)}${name.slice(1)}`,
    `/${service}/${hex(name[0]!).toUpperCase()}${name.slice(1)}`,
    `/${hex('k')}${service.slice(1)}/${name}`,
    `/${service.replaceAll(/./g, hex)}/${name.replaceAll(/./g, hex)}`,
    `/${service}%2f${name}`,
    `/${service}%2F${name}`,
    `/${service}/%25${hex(name[0]!).slice(1)}${name.slice(1)}`,
    `/${path}`,
    `//${path}`,
    `/${service}//${name}`,
    `${path}/`,
    `${path}//`,
    path.toLowerCase(),
    path.toUpperCase(),
    `/${service}/${name[0]!.toLowerCase()}${name.slice(1)}`,
    `/./${service}/${name}`,
    `/${service}/./${name}`,
    `/healthz/../${service}/${name}`,
    `/healthz/%2e%2e/${service}/${name}`,
    `/.well-known/jwks.json/../../${service}/${name}`,
    `${path}?`,
    `${path}?path=/healthz`,
    `${path}?connect=v1&encoding=json&message={}`,
    `${path};a=b`,
    `${path};/healthz`,
    `${path}%00`,
    `${path}%20`,
    `${path}%ff`,
    `${path}%`,
    `${path}.`,
    `\\${service}\\${name}`,
    `http://localhost:${port}${path}`,
    `http://localhost${path}`,
    `https://localhost${path}`,
    `HTTP://LOCALHOST${path}`,
    `http://elsewhere.example${path}`,
    `http://user:password@localhost${path}`,
    `http://[::bad${path}`,
    `http://localhost:99999${path}`,
    `http://${path}`,
    `http:${path}`,
    `//localhost${path}`,
    `*`,
    `/`,
  ];
}

function withQuery(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}connect=v1&encoding=json&message=%7B%7D`;
}
