import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { startProcess } from './support/process.ts';

test.runIf(existsSync('/dev/full'))(
  'a log that cannot be written stops neither calls nor the end of the process',
  async () => {
    await using full = await open('/dev/full', 'w');
    await using server = await startProcess({ output: full.fd });
    const refused = () =>
      fetch(`${server.address}/kith.auth.v1.AuthService/UserMe`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
    for (let call = 0; call < 50; call += 1) expect((await refused()).status).toBe(401);
    expect(server.stderr.match(/the log cannot be written: ENOSPC/g)).toHaveLength(1);
    server.kill('SIGTERM');
    expect(await server.exited).toMatchObject({ code: 0, signal: null });
  },
);
