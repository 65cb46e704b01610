import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { CommandError, type Env, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';

/** Where and as whom a profile calls. Its session is in a file of its own. */
export interface Profile {
  readonly url: string;
  /** Who signed in, to show it. Absent with an API key. */
  readonly username?: string | undefined;
  readonly apiKey?: string | undefined;
}

/** The profile that is meant where none is named. */
export const DEFAULT_PROFILE = 'default';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * The profiles of the person who runs the command, in `$XDG_CONFIG_HOME/kith` (XDG Base Directory Specification 0.8), each
 * in a file that its owner alone can read.
 */
export class Profiles {
  readonly #directory: string;

  constructor(env: Env) {
    const base = env['XDG_CONFIG_HOME'] ?? '';
    // Paths that are not absolute are to be passed over.
    this.#directory = join(isAbsolute(base) ? base : join(env['HOME'] || homedir(), '.config'), 'kith');
  }

  /** Undefined when there is no such profile. Throws CommandError for a file that holds none. */
  async load(name: string): Promise<Profile | undefined> {
    const path = this.#pathOf(name);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new CommandError(`cannot read ${path}: ${(error as Error).message}`, EXIT_CODES.failed, { cause: error });
    }
    const profile = parseProfile(text);
    if (profile === undefined) {
      throw new CommandError(`${path} holds no profile: remove it, and sign in again`, EXIT_CODES.failed);
    }
    return profile;
  }

  /** Writes the profile as a whole, mode 0600. */
  async save(name: string, profile: Profile): Promise<void> {
    const path = this.#pathOf(name);
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const draft = `${path}.${randomUUID()}`;
    try {
      await writeFile(draft, `${JSON.stringify(profile, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }

  /** Removes the profile with its session. */
  async remove(name: string): Promise<void> {
    await rm(this.#pathOf(name), { force: true });
    await rm(this.sessionPath(name), { force: true });
  }

  async names(): Promise<string[]> {
    const files = await readdir(this.#directory).catch(() => [] as string[]);
    const names = files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length));
    return names.filter((name) => NAME.test(name)).toSorted();
  }

  /** The file in which the client keeps the session. */
  sessionPath(name: string): string {
    return join(this.#directory, `${checkedName(name)}.session`);
  }

  #pathOf(name: string): string {
    return join(this.#directory, `${checkedName(name)}.json`);
  }
}

function checkedName(name: string): string {
  if (NAME.test(name)) return name;
  throw new UsageError(`a profile is named by letters, digits, - and _, at most 64, not ${JSON.stringify(name)}`);
}

function parseProfile(text: string): Profile | undefined {
  try {
    const { url, username, apiKey } = JSON.parse(text) as Record<keyof Profile, unknown>;
    const isText = (value: unknown) => value === undefined || typeof value === 'string';
    if (typeof url !== 'string' || !isText(username) || !isText(apiKey)) return undefined;
    return { url, username, apiKey };
  } catch {
    return undefined;
  }
}
