import cluster from 'node:cluster';
import { type Config, ConfigError, type Env, parseConfig } from '../config/config.ts';
import { EnvFileError, readEnvFile } from '../config/env-file.ts';
import { withEnvFile } from '../config/environment.ts';

/** The variables that the process was given, and those in .env. A worker is given both by its primary. Throws ConfigError. */
export function readSettings(given: Env): Env {
  if (cluster.isWorker) return given;
  try {
    return withEnvFile(given, readEnvFile('.env'));
  } catch (error) {
    if (error instanceof EnvFileError) throw new ConfigError(error.message, { cause: error });
    throw error;
  }
}

/**
 * The settings of this process, whose libraries are given what of .env is for them, such as PGPASSWORD. `given`: the variables
 * of the environment alone. Throws ConfigError.
 */
export function applySettings(env: Env, given?: Env): Config {
  const config = parseConfig(env, given);
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('KITH_') && value !== undefined) process.env[name] ??= value;
  }
  return config;
}
