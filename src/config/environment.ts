import type { Env } from './config.ts';
import { fileSettingOf } from './secret-files.ts';
import { isServiceLink } from './service-links.ts';

/**
 * The variables of the environment, and those of a file that the environment does not
 * have. A setting that the environment has in one of its two forms, NAME and NAME_FILE,
 * is the environment's. What Kubernetes or Docker made does not stand in the way of a
 * setting of its name.
 */
export function withEnvFile(env: Env, file: Readonly<Record<string, string>>): Env {
  const isTaken = (name: string): boolean =>
    (env[name] !== undefined && !isServiceLink(name, env[name])) ||
    (name.startsWith('KITH_') && Boolean(env[otherFormOf(name)]));
  const added = Object.entries(file).filter(([name]) => !isTaken(name));
  return { ...env, ...Object.fromEntries(added) };
}

function otherFormOf(name: string): string {
  const suffix = fileSettingOf('');
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : fileSettingOf(name);
}
