import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import PostalMime from 'postal-mime';
import { expect, test } from 'vitest';
import { needCommand, run } from './support/commands.ts';
import { freePort } from './support/free-port.ts';
import { done, install } from './support/installed.ts';
import { startKith } from './support/kith.ts';
import { goThroughMailFlows } from './support/mail-flows.ts';
import type { ReceivedMail } from './support/smtp-server.ts';

const AIOSMTPD = 'aiosmtpd==1.4.6';

/** Writes a line of JSON for each mail that it takes, and one when it listens. */
const SERVER = `
import base64, json, sys
from aiosmtpd.controller import Controller

class Keep:
    async def handle_DATA(self, server, session, envelope):
        raw = base64.b64encode(envelope.original_content).decode()
        print(json.dumps({'from': envelope.mail_from, 'to': envelope.rcpt_tos, 'raw': raw}), flush=True)
        return '250 2.0.0 taken'

controller = Controller(Keep(), hostname='127.0.0.1', port=int(sys.argv[1]))
controller.start()
print('{}', flush=True)
sys.stdin.read()
controller.stop()
`;

test('whoever has a mailbox at a mail server of another make signs up, signs in, sets a password and changes the address', {
  timeout: 10 * 60_000,
}, async (context) => {
  const python = needCommand(context, 'python3');
  const dir = await install(context, 'aiosmtpd', AIOSMTPD, async (path) => {
    await done(run(python, ['-m', 'venv', path]));
    await done(run(join(path, 'bin/python'), ['-m', 'pip', 'install', '-q', '--only-binary', ':all:', AIOSMTPD]));
  });
  const port = await freePort();
  const server = spawn(join(dir, 'bin/python'), ['-c', SERVER, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const mails: ReceivedMail[] = [];
  const listening = Promise.withResolvers<void>();
  createInterface({ input: server.stdout }).on('line', (line) => {
    const { raw, ...envelope } = JSON.parse(line) as { from: string; to: string[]; raw?: string };
    if (raw === undefined) return listening.resolve();
    const text = Buffer.from(raw, 'base64').toString();
    void PostalMime.parse(text).then((parsed) => mails.push({ ...envelope, raw: text, parsed }));
  });
  try {
    await Promise.race([listening.promise, once(server, 'exit').then(() => Promise.reject(new Error('it ended')))]);
    const env = { KITH_SMTP_URL: `smtp://127.0.0.1:${port}`, KITH_ACCESS_TOKEN_SECONDS: '3600' };
    await using kith = await startKith({ env, server: { mailPollMs: 20 } });
    expect(await goThroughMailFlows(kith, () => mails)).toBe(6);
  } finally {
    server.kill();
  }
});
