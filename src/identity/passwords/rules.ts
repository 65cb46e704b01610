import { Failure } from '../../kernel/failure.ts';
import { fold, identifierKey } from '../../kernel/text.ts';
import { isCommonPassword } from './common-passwords.ts';
import type { HashRequest, Passwords } from './passwords.ts';

/**
 * What a new password has to be besides as long as the contract says: neither the username
 * nor the email address, nor among those that are guessed first, which are the
 * common ones, the name of the user and the name in the email address.
 *
 * Throws password_is_identifier, password_too_common.
 */
export function checkNewPassword(
  password: string,
  user: { readonly username: string; readonly email: string; readonly name: string },
): void {
  const key = identifierKey(password);
  if (key === identifierKey(user.username) || key === identifierKey(user.email)) {
    throw new Failure('password_is_identifier', 'the password must not be the username or the email address');
  }
  if (isCommonPassword(password) || isNameOf(password, user)) {
    throw new Failure('password_too_common', 'the password is among those that are guessed first: choose another one');
  }
}

/** That a password which has to be changed does change; takes one hash's time. Throws password_unchanged, server_busy. */
export async function requireOtherPassword(
  passwords: Passwords,
  presentHash: string | undefined,
  password: string,
  by: HashRequest,
): Promise<void> {
  if (await passwords.verify(presentHash, password, by)) {
    throw new Failure('password_unchanged', 'the new password is the present one, which has to be changed');
  }
}

function isNameOf(password: string, { name, email }: { readonly name: string; readonly email: string }): boolean {
  const key = withoutBlanks(password);
  return key === withoutBlanks(name) || key === withoutBlanks(email.replace(/@[^@]*$/, ''));
}

function withoutBlanks(text: string): string {
  return fold(text).replaceAll(' ', '');
}
