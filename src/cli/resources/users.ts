import type { User } from '../../../packages/client/src/contract.ts';
import type { Kith } from '../../../packages/client/src/index.ts';
import { CommandError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { findMethod, ownContract } from '../client/contract.ts';
import { curlOf, type Placeholders } from '../client/explain.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** How a user may be named, for help. */
export const USER_HELP = 'an id, a username, an email address, or me for the one who is signed in';

/** The id of a user by any name. Throws KithError, and CommandError where there is none of the name. */
export async function findUserId(kith: Kith, name: string): Promise<string> {
  if (UUID.test(name)) return name;
  if (name === 'me') {
    const { user } = await kith.auth.userMe();
    return user!.id;
  }
  return (await findUser(kith, name)).id;
}

/** The user with exactly this username or email address, regardless of case. */
async function findUser(kith: Kith, name: string): Promise<User> {
  const found = await searchUser(kith, (user) => isNamed(user, name), name);
  if (found !== undefined) return found;
  throw new CommandError(`there is no user with the username or email address ${name}`, EXIT_CODES.notFound);
}

/** The user that a search finds and that is the one; undefined where there is none. */
async function searchUser(kith: Kith, isWanted: (user: User) => boolean, query: string): Promise<User | undefined> {
  // A search takes 100 characters, and finds what begins with them.
  for await (const user of kith.users.list({ query: query.slice(0, 100) })) if (isWanted(user)) return user;
  return undefined;
}

function isNamed({ username, email }: User, name: string): boolean {
  const wanted = name.toLowerCase();
  return username.toLowerCase() === wanted || email.toLowerCase() === wanted;
}

/** The call that finds a user, as curl; undefined where there is nothing to find out. */
export function explainFindingUser(url: string, name: string): string | undefined {
  if (UUID.test(name)) return undefined;
  const [written, body] =
    name === 'me'
      ? (['kith.auth.v1.AuthService/UserMe', {}] as const)
      : (['kith.user.v1.UserService/ListUsers', { query: name }] as const);
  const method = findMethod(ownContract(), written);
  return `# ${name === 'me' ? 'Who is signed in' : `The user ${JSON.stringify(name)}`}: USER_ID is the id in the answer.\n${curlOf(url, method, body)}`;
}

/** What stands for the id in the call that follows. */
export function userIdPlaceholder(placeholders: Placeholders, name: string): string {
  return UUID.test(name) ? name : placeholders.of('USER_ID');
}
