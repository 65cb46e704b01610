import { describe, expect, test } from 'vitest';
import { runCommand } from '../test/support/check-command.ts';
import { SHAPES } from './bounds/shapes.ts';

test('each kind of attack is among those that are tested', () => {
  const short = SHAPES.filter(({ isShort }) => isShort);
  expect(new Set(short.map(({ kind }) => kind))).toEqual(new Set(SHAPES.map(({ kind }) => kind)));
});

test('each shape has a name of its own', () => {
  expect(new Set(SHAPES.map(({ name }) => name)).size).toBe(SHAPES.length);
});

describe('the command', () => {
  test('lists the shapes', async () => {
    const { code, stdout } = await runCommand('check/bounds.ts', ['--list']);
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(SHAPES.length);
    expect(stdout).toContain('\nrapid reset | HTTP/2 | anybody | ');
  });

  test.each([
    [['--seconds', '0'], '--seconds is a whole number above 0'],
    [['--heap-mb', 'x'], '--heap-mb is a whole number above 0'],
    [['--database', 'other'], '--database is sqlite or postgres'],
    [['--fast-path', 'maybe'], '--fast-path is true or false'],
    [['--shapes', '('], '--shapes is a regular expression'],
    [['--shapes', 'no such shape'], "no shape's name matches"],
  ])('refuses %s', async (args, message) => {
    const { code, stdout, stderr } = await runCommand('check/bounds.ts', args);
    expect(code).toBe(64);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
  });
});
