import { expect, test } from 'vitest';
import { type Env, parseConfig, type Reloadable } from './config.ts';
import { Reloads } from './reload.ts';

test('settings that are read again are told as they are in force: what takes a start as it was', () => {
  const given = { KITH_SERVICE_NAME: 'Before' };
  let env: Env = { ...given, KITH_LOG_LEVEL: 'warn', KITH_PORT: '9000' };
  const config = parseConfig(env, given);
  const reloads = new Reloads({ env, given, config, read: () => env, say: () => {} });
  let taken: Reloadable = config;
  reloads.onReload((settings) => (taken = settings));
  const shown = () =>
    Object.fromEntries(
      taken.settings
        .filter(({ name }) => ['KITH_SERVICE_NAME', 'KITH_LOG_LEVEL', 'KITH_PORT', 'KITH_ACTIVITY_DAYS'].includes(name))
        .map(({ name, value, source }) => [name, `${value} ${source}`]),
    );
  const before = {
    KITH_SERVICE_NAME: 'Before environment',
    KITH_ACTIVITY_DAYS: '90 default',
    KITH_PORT: '9000 dotEnv',
  };
  expect(shown()).toEqual({ ...before, KITH_LOG_LEVEL: 'warn dotEnv' });
  env = { ...given, KITH_LOG_LEVEL: 'error', KITH_ACTIVITY_DAYS: '1' };
  reloads.reload();
  expect(shown()).toEqual({ ...before, KITH_LOG_LEVEL: 'error dotEnv' });
  env = given;
  reloads.reload();
  expect(shown()).toEqual({ ...before, KITH_LOG_LEVEL: 'info default' });
});
