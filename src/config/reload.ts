import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Config, type Env, parseConfig, type Reloadable } from './config.ts';

/** How often the files of the certificate are looked at, milliseconds. */
const CHECK_MS = 10_000;

/** What is taken over while the process runs. */
const RELOADED: ReadonlySet<string> = new Set([
  'KITH_LOG_LEVEL',
  'KITH_MAIL_TEMPLATES',
  'KITH_TLS_CERT',
  'KITH_TLS_KEY',
]);

export interface ReloadsOptions {
  /** What the process was started with. */
  readonly env: Env;
  /** The variables of the environment alone, without those of a file .env. */
  readonly given: Env;
  readonly config: Config;
  /** Reads the settings again. Throws ConfigError. */
  readonly read: () => Env;
  /** Writes a line for the operator. */
  readonly say: (line: string) => void;
}

/**
 * Takes the certificate, the log level and the templates of mails over from settings that
 * are read again on command, and the certificate also when its files change. What cannot be used is said
 * and changes nothing.
 *
 * The files are looked at, rather than watched: a mounted Secret is replaced by changing a
 * link in another directory, and network file systems tell nobody.
 */
export class Reloads {
  readonly #options: ReloadsOptions;
  readonly #listeners = new Set<(settings: Reloadable) => void>();
  #env: Env;
  #taken: Reloadable | undefined;
  /** Of the files that were last taken or refused, and of those at the last look. */
  #settled: string | undefined;
  #seen: string | undefined;

  constructor(options: ReloadsOptions) {
    this.#options = options;
    this.#env = options.env;
    const { tls } = options.config;
    this.#settled = tls && digestOf(tls.cert, tls.key);
  }

  /** The variables to start another process like this one with. */
  get env(): Env {
    return this.#env;
  }

  /** Calls `take` with what changes from now on, and at once with what has changed already. */
  onReload(take: (settings: Reloadable) => void): void {
    this.#listeners.add(take);
    if (this.#taken !== undefined) take(this.#taken);
  }

  /** Reads the settings again. Throws nothing. */
  reload(): void {
    this.#explained(() => {
      const env = this.#options.read();
      const config = parseConfig(env, this.#options.given);
      const later = this.#changedForStart(env, config);
      this.#use(env, config);
      const rest = later.length === 0 ? '' : `; what changes with the next start: ${later.join(', ')}`;
      this.#options.say(`read its settings again and uses their log level, certificate and mail templates${rest}`);
    });
  }

  /** Looks at the files of the certificate from now on, unless there is none. */
  watchFiles(intervalMs = CHECK_MS): Disposable {
    const timer = setInterval(() => void this.#check(), intervalMs).unref();
    if (!this.#hasTls) clearInterval(timer);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Uses what another process has read. */
  take(settings: Reloadable): void {
    this.#taken = settings;
    for (const listener of this.#listeners) listener(settings);
  }

  get #hasTls(): boolean {
    return this.#options.config.tls !== undefined;
  }

  async #check(): Promise<void> {
    const { KITH_TLS_CERT: cert = '', KITH_TLS_KEY: key = '' } = this.#env;
    const found = await Promise.all([readFile(cert.trim()), readFile(key.trim())]).then(
      (bytes) => digestOf(...bytes),
      () => 'unreadable',
    );
    const isStill = found === this.#seen; // not one new and one old file, while they are being replaced
    this.#seen = found;
    if (!isStill || found === this.#settled) return;
    this.#settled = found;
    this.#explained(() => {
      // Templates may be half written: they are taken on command.
      const { mailTemplates } = this.#taken ?? this.#options.config;
      this.#use(this.#env, { ...parseConfig(this.#env, this.#options.given), mailTemplates });
      this.#options.say('uses the certificate that was put in the place of the one before');
    });
  }

  #use(env: Env, { tls, logLevel, mailTemplates, settings }: Config): void {
    const kept = Object.entries(this.#env).filter(([name]) => !RELOADED.has(name));
    const taken = Object.entries(env).filter(([name]) => RELOADED.has(name));
    this.#env = Object.fromEntries([...kept, ...taken]);
    const usable = this.#hasTls ? tls : undefined;
    if (usable !== undefined) this.#settled = digestOf(usable.cert, usable.key);
    // Of the others the process goes by what it was started with.
    const isUsed = (name: string) => RELOADED.has(name) && (usable !== undefined || !name.startsWith('KITH_TLS_'));
    const before = this.#taken?.settings ?? this.#options.config.settings;
    const shown = before.map((setting, i) => (isUsed(setting.name) ? (settings[i] ?? setting) : setting));
    this.take({ tls: usable, logLevel, mailTemplates, settings: shown });
  }

  /** The settings that another start would find changed. */
  #changedForStart(env: Env, { tls }: Config): string[] {
    const names = Object.keys({ ...this.#env, ...env }).filter((name) => name.startsWith('KITH_'));
    const isSwitched = (tls !== undefined) !== this.#hasTls; // a port speaks TLS or does not
    return names
      .filter((name) => !RELOADED.has(name) || (isSwitched && name === 'KITH_TLS_CERT'))
      .filter((name) => (this.#env[name] || '') !== (env[name] || ''))
      .toSorted();
  }

  #explained(run: () => void): void {
    try {
      run();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.say(`goes on as it was, since the settings cannot be used:\n${why}`);
    }
  }
}

function digestOf(...files: readonly Uint8Array[]): string {
  return files.map((bytes) => createHash('sha256').update(bytes).digest('hex')).join();
}
