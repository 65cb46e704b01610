import { expect, test } from 'vitest';
import { CALL_CODE } from './call-code.ts';

const call = {
  method: 'kith.user.v1.UserService/CreateUser',
  body: { name: 'O\'Hara `x` "y" ${z}\n', password: 'hidden', totpCode: '123456', states: [2] },
};

test.each(Object.keys(CALL_CODE))('%s says where and what is called, without what is secret', (name) => {
  const code = CALL_CODE[name]!(call, 'http://localhost:8080');
  expect(code).toContain('localhost:8080');
  expect(code).toMatch(/CreateUser/i);
  expect(code).not.toMatch(/hidden|123456/);
});

test('texts with quotes and dollars are those texts in each', () => {
  const json = JSON.stringify({ ...call.body, password: '…', totpCode: '…' });
  const [, shell = ''] = /-d ('[^]*')$/.exec(CALL_CODE['curl']!(call, 'http://x')) ?? [];
  expect(shell.slice(1, -1).replaceAll(`'\\''`, "'")).toBe(json);
  const [, typescript = ''] = /\.input, ([^]*)\);\nconsole/.exec(CALL_CODE['TypeScript']!(call, 'http://x')) ?? [];
  expect(JSON.stringify(JSON.parse(typescript))).toBe(json);
  const [, go = ''] = /\[\]byte\((".*")\)/.exec(CALL_CODE['Go']!(call, 'http://x')) ?? [];
  expect(JSON.parse(go)).toBe(json);
});

test.each([
  ['https://kith.example.org', '"kith.example.org:443"', 'credentials.NewTLS(nil)'],
  ['http://kith.example.org', '"kith.example.org:80"', 'insecure.NewCredentials()'],
  ['https://[::1]:8443', '"[::1]:8443"', 'credentials.NewTLS(nil)'],
])('in Go %s is dialed as %s', (url, address, credentials) => {
  expect(CALL_CODE['Go']!(call, url)).toContain(
    `grpc.NewClient(${address}, grpc.WithTransportCredentials(${credentials}))`,
  );
});
