import { toJson } from '@bufbuild/protobuf';
import { UserMeResponseSchema } from '../../../packages/client/src/contract.ts';
import { fileStore } from '../../../packages/client/src/node.ts';
import { type Command, CommandError, type Invocation } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { detailsOf } from '../resources/show.ts';
import { safeText } from '../terminal/safe-text.ts';
import { CONNECTION_OPTIONS, checkedUrl, connect, EXPLAIN_OPTION, profileNameOf, targetOf } from './connect.ts';
import { findMethod, ownContract } from './contract.ts';
import { curlOf } from './explain.ts';
import { Profiles } from './profiles.ts';

export const logout: Command = {
  summary: 'End the session of a profile, and remove the profile',
  details:
    'The profile is removed here also when Kith cannot be reached; the session then ends when it expires. An API key is removed here and stays valid: kith keys revoke revokes it.',
  options: { profile: CONNECTION_OPTIONS.profile, ...EXPLAIN_OPTION },
  examples: ['kith logout', 'kith logout --profile production'],
  async run({ options, env, terminal }) {
    const profiles = new Profiles(env);
    const name = profileNameOf(options, env);
    const profile = await profiles.load(name).catch(() => undefined);
    if (profile === undefined) {
      await profiles.remove(name);
      return terminal.note(`nobody is signed in with the profile ${name}`);
    }
    const url = checkedUrl(profile.url);
    if (options.has('explain')) {
      return terminal.print(curlOf(url, findMethod(ownContract(), 'kith.auth.v1.AuthService/Logout'), {}));
    }
    let failure: unknown;
    if (profile.apiKey === undefined) {
      const target = { url, profile: name, apiKey: undefined, session: profiles.sessionPath(name) };
      await connect(target)
        .signOut()
        .catch((error: unknown) => (failure = error));
    }
    await profiles.remove(name);
    if (failure !== undefined) {
      terminal.note('the profile is removed, but the session may go on until it expires:');
      throw failure;
    }
    terminal.note(`signed out of ${url}`);
  },
};

export const whoami: Command = {
  summary: 'Show who is signed in, where, and what they may do',
  options: {
    json: { help: 'Print the answer as JSON, as the contract has it.' },
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
  },
  examples: ['kith whoami', 'kith whoami --profile production --json'],
  async run(call) {
    const { options, terminal, signal } = call;
    const target = await targetOf(call);
    if (options.has('explain'))
      return terminal.print(curlOf(target.url, findMethod(ownContract(), 'kith.auth.v1.AuthService/UserMe'), {}));
    const answer = await connect(target).auth.userMe({}, { signal });
    if (options.has('json')) return terminal.print(JSON.stringify(toJson(UserMeResponseSchema, answer), undefined, 2));
    terminal.note(`${target.url}, ${target.apiKey === undefined ? `profile ${target.profile}` : 'with an API key'}`);
    for (const line of detailsOf(UserMeResponseSchema, answer, terminal.styled)) await terminal.print(line);
  },
};

export const token: Command = {
  summary: 'Print an access token, for curl and other tools',
  details:
    'The token is good for some minutes: ask for it each time. With an API key, it is an access token of the key. What prints it into a terminal shows it to whoever looks on.',
  options: { ...CONNECTION_OPTIONS },
  examples: [
    `TOKEN=$(kith token)`,
    `curl -sS http://localhost:8080/kith.auth.v1.AuthService/UserMe -H "authorization: Bearer $(kith token)" -H 'content-type: application/json' -d '{}'`,
  ],
  async run(call) {
    await call.terminal.print(await accessToken(call));
  },
};

async function accessToken(call: Invocation): Promise<string> {
  const target = await targetOf(call);
  const kith = connect(target);
  if (target.apiKey !== undefined) return (await kith.apiKeys.exchange({}, { signal: call.signal })).accessToken;
  if (target.session !== undefined) {
    // The client keeps the session fresh, and writes it down before a call goes out.
    await kith.auth.userMe({}, { signal: call.signal });
    const session = await fileStore(target.session).load();
    if (session !== undefined) return session.accessToken;
  }
  throw new CommandError(`nobody is signed in at ${target.url}: kith login signs in`, EXIT_CODES.unauthenticated);
}

export const profiles: Command = {
  summary: 'List the profiles, with the address and the user of each',
  examples: ['kith profiles'],
  async run({ env, terminal }) {
    const known = new Profiles(env);
    const names = await known.names();
    if (names.length === 0) terminal.note('there is no profile: kith login makes one');
    for (const name of names) {
      const profile = await known.load(name).catch(() => undefined);
      const what =
        profile === undefined
          ? 'unreadable'
          : `${profile.url}  ${profile.apiKey === undefined ? (profile.username ?? '') : 'API key'}`;
      await terminal.print(safeText(`${name}  ${what}`));
    }
  },
};
