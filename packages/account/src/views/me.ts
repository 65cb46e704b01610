import { call, type CallOptions } from '../rpc.ts';
import { accessToken } from '../session.ts';
import { texts } from '../texts.ts';
import { askForPassword } from './sign-in.ts';

/** Who has signed in. */
export interface Me {
  readonly name: string;
  readonly username: string;
  readonly email: string;
  readonly isVerified: boolean;
}

/** Throws Refusal. */
export async function readMe(): Promise<Me> {
  const { user } = await callSignedIn<{
    user: { name?: string; username: string; email: string; emailVerifiedTime?: string };
  }>('UserMe', {});
  const { name, username, email, emailVerifiedTime } = user;
  return { name: name || username, username, email, isVerified: emailVerifiedTime !== undefined };
}

/** Calls a method for who has signed in. Throws Refusal. */
export async function callSignedIn<T = object>(method: string, message: object): Promise<T> {
  const token = await accessToken();
  const options: CallOptions = token === undefined ? {} : { token };
  return call<T>(method, message, options);
}

/** Resolves once there is a session; asks for a sign-in where there is none. */
export async function requireSignIn(): Promise<void> {
  if ((await accessToken()) === undefined) await askForPassword({ notice: texts.signInFirst });
}
