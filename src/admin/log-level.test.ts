import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LogLevel } from '../config/config.ts';
import { LogLevelSwitch } from './log-level.ts';

/** A log that keeps what it lets through. */
function openLog(setting: LogLevel) {
  const lines: object[] = [];
  const log = {
    level: setting as string,
    info(fields: object) {
      if (['trace', 'debug', 'info'].includes(log.level)) lines.push(fields);
    },
  };
  const levels = new LogLevelSwitch(log, setting, { now: () => 1_000_000 });
  return { log, lines, levels };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a level holds for as long as was asked, then the setting comes back, and the log says both', () => {
  const { log, lines, levels } = openLog('warn');
  levels.set({ level: 'debug', durationMs: 5000, userId: 'u' });
  expect(levels.state).toEqual({ level: 'debug', setting: 'warn', revertMs: 1_005_000 });
  vi.advanceTimersByTime(4999);
  expect(log.level).toBe('debug');
  vi.advanceTimersByTime(1);
  expect(log.level).toBe('warn');
  expect(levels.state).toEqual({ level: 'warn', setting: 'warn', revertMs: undefined });
  expect(lines).toEqual([
    { level: 'debug', before: 'warn', caller: 'u', durationMs: 5000 },
    { level: 'warn', before: 'debug' },
  ]);
});

test('the last one who sets it counts, and an earlier one has no effect any more', () => {
  const { log, levels } = openLog('info');
  levels.set({ level: 'debug', durationMs: 1000, userId: 'u' });
  levels.set({ level: 'trace', durationMs: undefined, userId: 'u' });
  vi.advanceTimersByTime(10_000);
  expect([log.level, levels.state.revertMs]).toEqual(['trace', undefined]);
  levels.set({ level: undefined, durationMs: 1000, userId: 'u' });
  expect([log.level, levels.state.revertMs]).toEqual(['info', undefined]);
});

test('another setting takes its place, and the same one again does not', () => {
  const { log, levels } = openLog('info');
  levels.set({ level: 'debug', durationMs: 1000, userId: 'u' });
  levels.takeSetting('info');
  expect(log.level).toBe('debug');
  levels.takeSetting('error');
  expect(levels.state).toEqual({ level: 'error', setting: 'error', revertMs: undefined });
  vi.advanceTimersByTime(10_000);
  expect(log.level).toBe('error');
});

test('who turns the log up cannot do so unseen, whatever the level was', () => {
  const { lines, levels } = openLog('error');
  levels.set({ level: 'fatal', durationMs: undefined, userId: 'u' });
  levels.set({ level: 'fatal', durationMs: undefined, userId: 'v' });
  expect(lines).toEqual([
    { level: 'fatal', before: 'error', caller: 'u' },
    { level: 'fatal', before: 'fatal', caller: 'v' },
  ]);
});

test('a log that the settings silence says nothing until it is opened', () => {
  const { lines, levels } = openLog('silent');
  levels.set({ level: undefined, durationMs: undefined, userId: 'u' });
  expect(lines).toEqual([]);
  levels.set({ level: 'info', durationMs: undefined, userId: 'u' });
  expect(lines).toEqual([{ level: 'info', before: 'silent', caller: 'u' }]);
});

test('disposed, it changes nothing any more', () => {
  const { log, levels } = openLog('info');
  levels.set({ level: 'debug', durationMs: 1000, userId: 'u' });
  levels[Symbol.dispose]();
  vi.advanceTimersByTime(10_000);
  expect(log.level).toBe('debug');
});
