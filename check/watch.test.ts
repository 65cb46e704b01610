import { describe, expect, test } from 'vitest';
import { runCommand } from '../test/support/check-command.ts';

describe('the command', () => {
  test.each([
    [['--seeds', '0'], '--seeds is a whole number above 0'],
    [['--seconds', 'x'], '--seconds is a whole number above 0'],
    [['--database', 'other'], '--database is postgres or sqlite'],
    [['--reader', 'other'], '--reader is watch or naive'],
    [['--reader', 'naive', '--database', 'sqlite'], 'the naive reader'],
  ])('refuses %s', async (args, message) => {
    const { code, stdout, stderr } = await runCommand('check/watch.ts', args);
    expect(code).toBe(64);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
  });
});
