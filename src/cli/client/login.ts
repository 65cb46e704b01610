import { type User } from '../../../packages/client/src/contract.ts';
import { createKith, errorText, type KithError, violationText } from '../../../packages/client/src/index.ts';
import { fileStore } from '../../../packages/client/src/node.ts';
import { type Command, CommandError, type Invocation, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { safeText } from '../terminal/safe-text.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { CONNECTION_OPTIONS, checkedUrl, fetchAsKith, profileNameOf } from './connect.ts';
import { findMethod, ownContract } from './contract.ts';
import { curlOf } from './explain.ts';
import { Profiles } from './profiles.ts';

export const login: Command = {
  summary: 'Sign in, and keep the session in a profile',
  details:
    'Asks for the password, the code of a second factor, and another password where the present one has to be changed. Without a terminal it reads them from standard input, a line each, in this order. The session stays fresh, whichever command uses it; kith logout ends it. It is in $XDG_CONFIG_HOME/kith (~/.config/kith), in files that their owner alone can read.',
  args: [
    { name: 'IDENTIFIER', help: 'The username or the email address. Asked for when it is absent.', optional: true },
  ],
  options: {
    ...CONNECTION_OPTIONS,
    'api-key': {
      help: 'Keep an API key in the profile instead of a session: asked for, or the first line of standard input.',
    },
    explain: { help: 'Print the call as a curl command, instead of making it. It reads the password from $PASSWORD.' },
  },
  examples: [
    'kith login admin',
    'kith login ada --url https://kith.example.org --profile production',
    'kith login ada < password.txt',
    'kith login --api-key --profile ci < key.txt',
  ],
  async run(call) {
    const { options, env, terminal } = call;
    const profiles = new Profiles(env);
    const name = profileNameOf(options, env);
    const before = await profiles.load(name).catch(() => undefined);
    const url = checkedUrl(options.value('url') ?? (env['KITH_URL'] || before?.url || 'http://localhost:8080'));
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.auth.v1.AuthService/Login');
      return terminal.print(curlOf(url, method, { identifier: call.args['IDENTIFIER'] ?? '', password: '' }));
    }
    warnOfPlainText(url, terminal);
    const username = options.has('api-key')
      ? await keepApiKey(profiles, name, url, terminal)
      : await openSession(profiles, name, url, call);
    terminal.note(`signed in at ${url} as ${safeText(username)}${name === 'default' ? '' : `, profile ${name}`}`);
    if (
      !options.has('api-key') &&
      (env['KITH_API_KEY'] || env['KITH_API_KEY_FILE']) &&
      options.value('profile') === undefined
    ) {
      terminal.note('KITH_API_KEY is set: commands call with that key, unless they name the profile with --profile');
    }
  },
};

async function openSession(
  profiles: Profiles,
  name: string,
  url: string,
  { args, terminal }: Invocation,
): Promise<string> {
  const identifier =
    args['IDENTIFIER'] ?? (terminal.canAsk ? await terminal.ask('Username or email address: ') : undefined);
  if (!identifier) throw new UsageError('IDENTIFIER is missing; usage: kith login IDENTIFIER');
  const password = await terminal.askSecret('Password: ');
  if (!password) throw new UsageError('there is no password: type it, or give it as a line of standard input');
  // What another address gave is no good at this one, and goes nowhere else.
  const before = await profiles.load(name).catch(() => undefined);
  if (before !== undefined && checkedUrl(before.url) !== url) await profiles.remove(name);
  const kith = createKith({ url, credentials: { store: fileStore(profiles.sessionPath(name)) }, fetch: fetchAsKith });
  const user: User = await kith.signIn({
    identifier,
    password,
    async secondFactor({ methods, error }) {
      noteRefusal(error, terminal);
      const withCode = methods.includes('totpCode');
      const code = await answerTo(
        withCode ? 'Code of the authenticator app, or a recovery code: ' : 'Recovery code: ',
        terminal.askSecret,
        'the code of the second factor is missing',
      );
      return withCode && /^\s*\d{3}\s?\d{3}\s*$/.test(code)
        ? { totpCode: code.replaceAll(/\s/g, '') }
        : { recoveryCode: code.trim() };
    },
    async newPassword({ error }) {
      if (error === undefined) terminal.note('The password has to be changed.');
      noteRefusal(error, terminal);
      const first = await answerTo('New password: ', terminal.askSecret, 'another password is missing');
      if (!terminal.canAsk) return first;
      const second = await answerTo('Once more: ', terminal.askSecret, 'another password is missing');
      if (first !== second) throw new UsageError('the two passwords are not the same: sign in again');
      return first;
    },
  });
  const username = user.username || user.email;
  await profiles.save(name, { url, username });
  return username;
}

async function keepApiKey(profiles: Profiles, name: string, url: string, terminal: Terminal): Promise<string> {
  const apiKey = (await terminal.askSecret('API key: '))?.trim();
  if (!apiKey) throw new UsageError('there is no API key: type it, or give it as a line of standard input');
  const { user } = await createKith({ url, credentials: { apiKey }, fetch: fetchAsKith }).auth.userMe();
  await profiles.remove(name);
  await profiles.save(name, { url, apiKey });
  return `an API key of ${user?.username || user?.id}`;
}

async function answerTo(question: string, ask: Terminal['askSecret'], missing: string): Promise<string> {
  const answer = await ask(question);
  if (answer) return answer;
  throw new CommandError(missing, EXIT_CODES.unauthenticated);
}

function noteRefusal(error: KithError | undefined, terminal: Terminal): void {
  if (error === undefined) return;
  terminal.note(errorText(error));
  for (const violation of error.violations) terminal.note(violationText(violation));
}

function warnOfPlainText(url: string, terminal: Terminal): void {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)) return;
  terminal.note(`warning: ${hostname} is called without TLS, and whoever is between can read the password`);
}
