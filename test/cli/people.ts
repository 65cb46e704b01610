import { createKith } from '../../packages/client/src/index.ts';
import { ADMIN_PASSWORD } from '../support/kith.ts';
import { Authenticator } from '../support/authenticator.ts';

/** A user who has to enter a second factor and then another password to sign in. */
export interface CarefulUser {
  readonly username: string;
  readonly password: string;
  readonly recoveryCode: string;
}

export async function createCarefulUser(url: string, username: string): Promise<CarefulUser> {
  const admin = createKith({ url, credentials: { identifier: 'admin', password: ADMIN_PASSWORD } });
  const [first, password] = ['the first password', 'the password to change'];
  const { user } = await admin.users.create({
    username,
    email: `${username}@example.org`,
    name: username,
    password: first,
  });
  const own = createKith({ url, credentials: { identifier: username, password: first } });
  const { uri } = await own.secondFactor.enrollTotp({});
  const authenticator = new Authenticator(uri, { offsetMs: 0 });
  const { recoveryCodes } = await own.secondFactor.confirmTotp({ code: authenticator.next() });
  await admin.users.setPassword({ userId: user.id, password, mustChangePassword: true });
  return { username, password, recoveryCode: recoveryCodes[0]! };
}
