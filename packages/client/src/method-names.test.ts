import { expect, test } from 'vitest';
import { methodName } from './method-names.ts';
import { SERVICES } from './services.ts';

test.each([
  ['getUser', 'User', 'get'],
  ['listUsers', 'User', 'list'],
  ['getUserDetails', 'User', 'getDetails'],
  ['getUsage', 'User', 'getUsage'],
  ['listUsersOfGroup', 'User', 'listOfGroup'],
  ['getUserships', 'User', 'getUserships'],
  ['userMe', 'Auth', 'userMe'],
  ['watchUserActivity', 'UserActivity', 'watch'],
])('%s of %s is %s', (rpc, noun, name) => {
  expect(methodName(rpc, noun)).toBe(name);
});

test('no two methods of a service have one name', () => {
  for (const { service, noun } of Object.values(SERVICES)) {
    const names = service.methods.map(({ localName }) => methodName(localName, noun));
    expect(new Set(names).size).toBe(names.length);
  }
});
