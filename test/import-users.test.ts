import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { needCommand } from './support/commands.ts';
import { ADMIN_PASSWORD, startKith } from './support/kith.ts';
import { patternOf, runSteps, sectionOf, stepsOf } from './support/tour.ts';

test('docs/import-users.md: the tour with curl runs as printed', { timeout: 60_000 }, async (context) => {
  const bash = needCommand(context, 'bash');
  needCommand(context, 'curl');
  await using kith = await startKith();
  const page = readFileSync('docs/import-users.md', 'utf8')
    .replace('http://localhost:8080', kith.address)
    .replace('correct horse battery', ADMIN_PASSWORD);
  const steps = stepsOf(sectionOf(page, '## A tour with curl'));
  const { code, outputs, stderr } = await runSteps(bash, steps);
  expect({ code, steps: outputs.length, stderr }).toEqual({ code: 0, steps: steps.length, stderr: '' });
  for (const [i, { line, expected = '' }] of steps.entries()) {
    expect.soft(outputs[i], `docs/import-users.md:${line}`).toMatch(patternOf(expected));
  }
  expect(steps.length).toBe(7);
});
