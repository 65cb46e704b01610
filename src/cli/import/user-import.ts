import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { fromJson } from '@bufbuild/protobuf';
import { CreateUserRequestSchema, type User } from '../../../packages/client/src/contract.ts';
import { KithError, type Kith, type Reason } from '../../../packages/client/src/index.ts';
import { isNamed, searchUser } from '../resources/users.ts';

/** What to do with a user who is there already. */
export const ON_CONFLICT = ['skip', 'update', 'fail'] as const;
export type OnConflict = (typeof ON_CONFLICT)[number];

/** What became of a record. */
export type Outcome = 'created' | 'updated' | 'unchanged' | 'skipped';

const TAKEN: ReadonlySet<Reason | undefined> = new Set<Reason>(['USERNAME_TAKEN', 'EMAIL_TAKEN']);

/** Refusals that the next record would meet as well. */
const FATAL: ReadonlySet<string> = new Set([
  'Unauthenticated',
  'Unavailable',
  'DeadlineExceeded',
  'Canceled',
  'Unimplemented',
]);

/** Whether going on with the next record is of no use. */
export function isFatal(error: unknown): boolean {
  if (!(error instanceof KithError)) return true;
  // What is no answer of Kith's came from the network.
  return FATAL.has(error.code) || error.reason === undefined || error.reason === 'PERMISSION_MISSING';
}

/**
 * Creates a user, or does with the one that there is what `onConflict` says. `update` changes the name, the username, the
 * email address and the role where the record has others, and never a password. Throws KithError, and an Error in words
 * where the record does not fit.
 */
export async function importUser(kith: Kith, request: JsonObject, onConflict: OnConflict): Promise<Outcome> {
  const message = fromJson(CreateUserRequestSchema, request);
  try {
    await kith.users.create(message);
    return 'created';
  } catch (error) {
    if (!(error instanceof KithError) || !TAKEN.has(error.reason) || onConflict === 'fail') throw error;
    if (onConflict === 'skip') return 'skipped';
    const user = await findTaken(kith, message);
    if (user === undefined) throw error;
    return await bringUpToDate(kith, user, message);
  }
}

/** The one user who has the username or the email address; undefined where those are two. */
async function findTaken(
  kith: Kith,
  { username, email }: { readonly username: string; readonly email: string },
): Promise<User | undefined> {
  const [byUsername, byEmail] = [
    username === '' ? undefined : await searchUser(kith, (user) => isNamed(user, username), username),
    email === '' ? undefined : await searchUser(kith, (user) => isNamed(user, email), email),
  ];
  if (byUsername !== undefined && byEmail !== undefined && byUsername.id !== byEmail.id) return undefined;
  return byUsername ?? byEmail;
}

async function bringUpToDate(
  kith: Kith,
  user: User,
  wanted: MessageInitShape<typeof CreateUserRequestSchema>,
): Promise<Outcome> {
  let outcome: Outcome = 'unchanged';
  await kith.users.update(user.id, (current) => {
    const changes = {
      ...(wanted.name && wanted.name !== current.name ? { name: wanted.name } : {}),
      ...(wanted.username && wanted.username !== current.username ? { username: wanted.username } : {}),
      ...(wanted.email && wanted.email !== current.email ? { email: wanted.email } : {}),
      ...(wanted.role !== undefined && wanted.role !== current.role ? { role: wanted.role } : {}),
    };
    outcome = Object.keys(changes).length === 0 ? 'unchanged' : 'updated';
    return outcome === 'updated' ? changes : undefined;
  });
  return outcome;
}
