import { expect, test } from 'vitest';
import { withEnvFile } from './environment.ts';

test.each([
  [
    'what the environment does not have is taken',
    {},
    { KITH_PORT: '1', PGPASSWORD: 'x' },
    { KITH_PORT: '1', PGPASSWORD: 'x' },
  ],
  ['what it has stays', { KITH_PORT: '2', A: '' }, { KITH_PORT: '1', A: 'x' }, { KITH_PORT: '2', A: '' }],
  [
    'a variable of a service link gives way',
    { KITH_PORT: 'tcp://10.96.14.7:8080' },
    { KITH_PORT: '1' },
    { KITH_PORT: '1' },
  ],
  [
    'a secret in the environment comes before its file',
    { KITH_SECRET_KEY: 'x' },
    { KITH_SECRET_KEY_FILE: '/run/key' },
    { KITH_SECRET_KEY: 'x' },
  ],
  [
    'a file of a secret in the environment comes before the secret',
    { KITH_SECRET_KEY_FILE: '/run/key' },
    { KITH_SECRET_KEY: 'x' },
    { KITH_SECRET_KEY_FILE: '/run/key' },
  ],
  ['names of others have no two forms', { PG: 'x' }, { PG_FILE: 'y' }, { PG: 'x', PG_FILE: 'y' }],
])('%s', (_, env, file, together) => {
  expect(withEnvFile(env, file)).toEqual(together);
});
