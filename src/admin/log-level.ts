import type { LogLevel } from '../config/config.ts';
import type { Clock } from '../kernel/clock.ts';

/** The parts of a logger that are used. */
export interface LeveledLog {
  level: string;
  info(fields: object, message: string): void;
}

export interface LogLevelState {
  readonly level: LogLevel;
  /** The level in the settings. */
  readonly setting: LogLevel;
  /** When the level of the settings returns, milliseconds since 1970; undefined if it is in force, or if another level stays. */
  readonly revertMs: number | undefined;
}

/** A change of the level. */
export interface LogLevelChange {
  /** Undefined for the level of the settings. */
  readonly level: LogLevel | undefined;
  /** After how long the level of the settings returns, milliseconds, at most what setTimeout takes (24 days); undefined for never. */
  readonly durationMs: number | undefined;
  /** The id of the user who asks for it, for the log. */
  readonly userId: string;
}

/** The level of the log: that of the settings, or another one for some time. */
export class LogLevelSwitch implements Disposable {
  readonly #log: LeveledLog;
  readonly #clock: Pick<Clock, 'now'>;
  #setting: LogLevel;
  #level: LogLevel;
  #revertMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param setting what the log is at */
  constructor(log: LeveledLog, setting: LogLevel, clock: Pick<Clock, 'now'>) {
    this.#log = log;
    this.#clock = clock;
    this.#setting = setting;
    this.#level = setting;
  }

  get state(): LogLevelState {
    return { level: this.#level, setting: this.#setting, revertMs: this.#revertMs };
  }

  /** Applies the level of reloaded settings. If it is unchanged, as when a certificate is replaced, a level that was set stays in force. */
  takeSetting(setting: LogLevel): void {
    if (setting === this.#setting) return;
    this.#setting = setting;
    this.#use(setting);
  }

  /** Sets the level, and logs who did so at any level, so that raising the level first hides nobody. */
  set({ level = this.#setting, durationMs, userId }: LogLevelChange): void {
    const before = this.#level;
    const isSetting = level === this.#setting;
    this.#say({ level, before, caller: userId, ...(durationMs !== undefined && { durationMs }) }, level);
    this.#use(level);
    if (durationMs === undefined || isSetting) return;
    this.#revertMs = this.#clock.now() + durationMs;
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

  /** Writes a line unless the log is silent before and after the change: then the operator wants no log. */
  #say(fields: object, level: LogLevel): void {
    if (this.#level === 'silent' && level === 'silent') return;
    this.#log.level = 'info';
    this.#log.info(fields, 'the log level was set');
    this.#log.level = this.#level;
  }
}
