import type { LogLevel } from '../config/config.ts';

/** What the switch needs of a logger. */
export interface LeveledLog {
  level: string;
  info(fields: object, message: string): void;
}

export interface LogLevelState {
  readonly level: LogLevel;
  /** What the settings say. */
  readonly setting: LogLevel;
  /** When the setting comes back, milliseconds since 1970; undefined when it is in force, or another level for good. */
  readonly revertMs: number | undefined;
}

/** How a level is set. */
export interface LogLevelChange {
  /** Undefined for what the settings say. */
  readonly level: LogLevel | undefined;
  /** After how long the setting comes back, milliseconds, at most what setTimeout takes (24 days); undefined for never. */
  readonly durationMs: number | undefined;
  /** The id of the user who asks for it, for the log. */
  readonly userId: string;
}

/** The level of the log: that of the settings, or another for some time. */
export class LogLevelSwitch implements Disposable {
  readonly #log: LeveledLog;
  readonly #now: () => number;
  #setting: LogLevel;
  #level: LogLevel;
  #revertMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param setting what the log is at */
  constructor(log: LeveledLog, setting: LogLevel, now: () => number = Date.now) {
    this.#log = log;
    this.#now = now;
    this.#setting = setting;
    this.#level = setting;
  }

  get state(): LogLevelState {
    return { level: this.#level, setting: this.#setting, revertMs: this.#revertMs };
  }

  /** Takes the setting over. The same one again, as when a certificate is replaced, leaves another level in force. */
  takeSetting(setting: LogLevel): void {
    if (setting === this.#setting) return;
    this.#setting = setting;
    this.#use(setting);
  }

  /** Sets the level, and says in the log who did, whatever the level was and is: nobody goes unseen by turning it up first. */
  set({ level = this.#setting, durationMs, userId }: LogLevelChange): void {
    const before = this.#level;
    const isSetting = level === this.#setting;
    this.#say({ level, before, caller: userId, ...(durationMs !== undefined && { durationMs }) }, level);
    this.#use(level);
    if (durationMs === undefined || isSetting) return;
    this.#revertMs = this.#now() + durationMs;
    this.#timer = setTimeout(() => {
      this.#say({ level: this.#setting, before: this.#level }, this.#setting);
      this.#use(this.#setting);
    }, durationMs).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #use(level: LogLevel): void {
    clearTimeout(this.#timer);
    this.#revertMs = undefined;
    this.#level = level;
    this.#log.level = level;
  }

  /** Writes a line, unless nothing was logged before and nothing will be: then the operator wants no log. */
  #say(fields: object, level: LogLevel): void {
    if (this.#level === 'silent' && level === 'silent') return;
    this.#log.level = 'info';
    this.#log.info(fields, 'the log level was set');
    this.#log.level = this.#level;
  }
}
