import { CONNECTION_OPTIONS, targetOf } from '../client/connect.ts';
import { type Command, CommandError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { safeText } from '../terminal/safe-text.ts';
import type { Finding } from './finding.ts';

const COLOURS = { ok: 'green', warning: 'yellow', error: 'red' } as const;

export const doctor: Command = {
  summary: 'Look at the settings, the database, the keys and the server, and say what to do',
  details:
    'First what kith serve would begin with here: settings of the environment and of .env, the database with its migrations, whether the secret opens the signing keys, certificates, proxies. Then the server that runs, as its clients see it: readiness, clock, certificate, proxies between, public keys, gRPC, sign-in. It changes nothing. It fails when one of them is an error.',
  options: {
    'only-server': { help: 'Leave out the settings, where no server is to run on this machine.' },
    json: { help: 'Print the findings as JSON, a line each.' },
    ...CONNECTION_OPTIONS,
  },
  examples: ['kith doctor', 'kith doctor --only-server --url https://kith.example.org'],
  async run(call) {
    const { options, env, terminal, signal } = call;
    let errors = 0;
    const tell = async (findings: AsyncIterable<Finding>): Promise<void> => {
      for await (const finding of findings) {
        const { status, name, text, advice } = finding;
        if (status === 'error') errors += 1;
        if (options.has('json')) {
          await terminal.print(JSON.stringify(finding));
          continue;
        }
        await terminal.print(
          `${terminal.styled(COLOURS[status], status.padEnd(8))} ${name.padEnd(9)} ${safeText(text)}`,
        );
        if (advice !== undefined) await terminal.print(`${' '.repeat(19)}${safeText(advice)}`);
      }
    };
    // What reads the database of a server is loaded for that alone.
    const { checkServer } = await import('./server-checks.ts');
    if (!options.has('only-server')) {
      const { checkSettings } = await import('./settings-checks.ts');
      await tell(checkSettings(env));
    }
    const isMeant =
      options.has('only-server') || options.value('url') !== undefined || options.value('profile') !== undefined;
    await tell(checkServer(await targetOf(call), isMeant, signal));
    if (errors > 0) throw new CommandError(errors === 1 ? 'one error' : `${errors} errors`, EXIT_CODES.failed);
  },
};
