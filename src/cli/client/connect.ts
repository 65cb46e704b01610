import { readFile } from 'node:fs/promises';
import packageJson from '../../../package.json' with { type: 'json' };
import { createKith, type Kith } from '../../../packages/client/src/index.ts';
import { fileStore } from '../../../packages/client/src/node.ts';
import { CommandError, type Env, type Given, type Invocation, type Options, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { DEFAULT_PROFILE, Profiles } from './profiles.ts';

/** The options of every command that calls Kith. */
export const CONNECTION_OPTIONS = {
  url: { value: 'URL', help: 'Where Kith is. Default: KITH_URL, that of the profile, or http://localhost:8080.' },
  profile: { value: 'NAME', help: 'The profile to call as. Default: KITH_PROFILE, or default.' },
} satisfies Options;

/** The option of every command that makes a call of its own. */
export const EXPLAIN_OPTION = {
  explain: { help: 'Print the call as a curl command, instead of making it. It reads the token from $TOKEN.' },
} satisfies Options;

const DEFAULT_URL = 'http://localhost:8080';

/** Where Kith is and who calls, as the options, the environment and the profile say. */
export interface Target {
  readonly url: string;
  readonly profile: string;
  /** An API key from the environment, or the profile's. */
  readonly apiKey: string | undefined;
  /** The file of the session; undefined with an API key, and where the profile is for another address. */
  readonly session: string | undefined;
}

/** Finds out whom to call. A profile's session and key go to the address of the profile and to no other. */
export async function targetOf({ options, env }: Pick<Invocation, 'options' | 'env'>): Promise<Target> {
  const profiles = new Profiles(env);
  const name = profileNameOf(options, env);
  const isNamed = options.value('profile') !== undefined;
  const profile = await profiles.load(name);
  if (profile === undefined && isNamed) {
    throw new CommandError(
      `there is no profile ${name}: kith login --profile ${name} makes it`,
      EXIT_CODES.unauthenticated,
    );
  }
  const given = options.value('url') ?? (isNamed ? undefined : env['KITH_URL'] || undefined);
  const url = checkedUrl(given ?? profile?.url ?? DEFAULT_URL);
  const isOfProfile = profile !== undefined && checkedUrl(profile.url) === url;
  const apiKey = (isNamed ? undefined : await apiKeyIn(env)) ?? (isOfProfile ? profile.apiKey : undefined);
  return {
    url,
    profile: name,
    apiKey,
    session: apiKey === undefined && isOfProfile ? profiles.sessionPath(name) : undefined,
  };
}

/** A client of the target. */
export function connect({ url, apiKey, session }: Target): Kith {
  const credentials =
    apiKey !== undefined ? { apiKey } : session === undefined ? undefined : { store: fileStore(session) };
  return createKith({ url, credentials, fetch: fetchAsKith });
}

/** The user agent is what lists of sessions show. */
export const fetchAsKith: typeof fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set('user-agent', `kith/${packageJson.version}`);
  return fetch(input, { ...init, headers });
};

export function profileNameOf(options: Given, env: Env): string {
  return options.value('profile') ?? (env['KITH_PROFILE'] || DEFAULT_PROFILE);
}

/** The address without a slash at its end. Throws UsageError for what is none. */
export function checkedUrl(text: string): string {
  const url = URL.parse(text.trim());
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`the address of Kith is like https://kith.example.org, not ${JSON.stringify(text)}`);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new UsageError('the address of Kith has no user, password, query or fragment in it');
  }
  return url.href.replace(/\/+$/, '');
}

async function apiKeyIn(env: Env): Promise<string | undefined> {
  const [key, file] = [env['KITH_API_KEY']?.trim(), env['KITH_API_KEY_FILE']?.trim()];
  if (key && file) throw new UsageError('KITH_API_KEY is set, and so is KITH_API_KEY_FILE: set one of them');
  if (key) return key;
  if (!file) return undefined;
  try {
    const text = (await readFile(file, 'utf8')).trim();
    if (text === '') throw new UsageError(`${file} of KITH_API_KEY_FILE is empty`);
    return text;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${file} of KITH_API_KEY_FILE: ${(error as Error).message}`, { cause: error });
  }
}
