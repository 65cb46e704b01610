import { vi } from 'vitest';
import type { Client } from '@connectrpc/connect';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { type GetMailResponse, type Mail, OutboxService } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import type { User } from '../../gen/kith/user/v1/user_pb.ts';
import type { Kith, SignedIn } from './kith.ts';
import { signedIn } from './sign-in.ts';

const clients = new WeakMap<Kith, Promise<Client<typeof OutboxService>>>();

/** The outbox as an admin sees it, with a key, which lasts however far a test moves the clock. */
export function outboxOf(kith: Kith): Promise<Client<typeof OutboxService>> {
  const make = async () => {
    const { accessToken } = await kith.admin();
    const permissions = [Permission.CREDENTIALS_READ, Permission.CREDENTIALS_WRITE, Permission.ROLES_WRITE];
    const { secret } = await kith.client(ApiKeyService, accessToken).createApiKey({ name: 'outbox', permissions });
    return kith.client(OutboxService, secret);
  };
  const client = clients.get(kith) ?? make();
  clients.set(kith, client);
  return client;
}

/** The mails to a user, newest first. */
export async function mailsTo(kith: Kith, userId: string): Promise<Mail[]> {
  const { mails } = await (await outboxOf(kith)).listMails({ pageSize: 1000 });
  return mails.filter((mail) => mail.userId === userId);
}

/** A mail with its text, which takes a sign-in of now. */
export async function readMail(kith: Kith, mailId: string): Promise<GetMailResponse> {
  const { user, password } = await kith.admin();
  const login = kith.client(AuthService).login({ identifier: user.username, password });
  const { accessToken } = await signedIn(login);
  const mail = await kith.client(OutboxService, accessToken).getMail({ mailId });
  // A user has so many sessions: the oldest, which others use, would end for one too many.
  await kith.client(AuthService, accessToken).logout({});
  return mail;
}

/** The code in a mail that has not been sent. */
export async function codeIn(kith: Kith, mail: Mail): Promise<string> {
  const { text } = await readMail(kith, mail.id);
  const [code = ''] = /^(\d{4} \d{4}|[\w-]{64})$/m.exec(text) ?? [];
  return code;
}

/** The mails to an address that no user has, newest first. */
export async function mailsToAddress(kith: Kith, email: string): Promise<Mail[]> {
  const { mails } = await (await outboxOf(kith)).listMails({ pageSize: 1000 });
  return mails.filter((mail) => mail.recipient === email);
}

/** Asks for a code to sign up with an address, and reads it in the outbox. */
export async function signUpCode(kith: Kith, email: string): Promise<string> {
  const before = (await mailsToAddress(kith, email)).length;
  await kith.client(AuthService).signUp({ email });
  const mail = await vi.waitFor(
    async () => {
      const mails = await mailsToAddress(kith, email);
      if (mails.length === before) throw new Error(`no mail was written to ${email}`);
      return mails[0]!;
    },
    { timeout: 30_000 },
  );
  return codeIn(kith, mail);
}

/** The newest mail to a user after a call that causes one, which may be written after the answer. */
export async function mailAfter(kith: Kith, userId: string, cause: () => Promise<unknown>): Promise<Mail> {
  const before = (await mailsTo(kith, userId)).length;
  await cause();
  // Not `expect.poll`, which is for tests alone: what sets a suite up needs codes too.
  return vi.waitFor(
    async () => {
      const mails = await mailsTo(kith, userId);
      if (mails.length === before) throw new Error(`no mail was written to ${userId}`);
      return mails[0]!;
    },
    { timeout: 30_000 },
  );
}

/** Asks for a code to reset a user's password, and reads it in the outbox. */
export async function resetCode(kith: Kith, { id, username }: Pick<User, 'id' | 'username'>): Promise<string> {
  const ask = () => kith.client(AuthService).requestPasswordReset({ identifier: username });
  return codeIn(kith, await mailAfter(kith, id, ask));
}

/** Asks for a code to sign in with, for a user whose address is verified, and reads it in the outbox. */
export async function loginCode(
  kith: Kith,
  { id, username }: Pick<User, 'id' | 'username'>,
): Promise<{ readonly identifier: string; readonly clientToken: string; readonly code: string }> {
  let clientToken = '';
  const mail = await mailAfter(kith, id, async () => {
    ({ clientToken } = await kith.client(AuthService).requestLoginCode({ identifier: username }));
  });
  return { identifier: username, clientToken, code: await codeIn(kith, mail) };
}

/** Asks for a code to verify the address of a user who is signed in, and reads it in the outbox. */
export async function verificationCode(kith: Kith, { user, accessToken }: SignedIn): Promise<string> {
  const ask = () => kith.client(AuthService, accessToken).requestEmailVerification({});
  return codeIn(kith, await mailAfter(kith, user.id, ask));
}

/** Asks for a code to change the address of a user who is signed in, and reads it in the outbox. */
export async function changeCode(kith: Kith, { user, accessToken }: SignedIn, email: string): Promise<string> {
  const ask = () => kith.client(AuthService, accessToken).requestEmailChange({ email });
  return codeIn(kith, await mailAfter(kith, user.id, ask));
}

/** Changes the address of a user who is signed in and has verified the one before. Returns the token to take that back. */
export async function changeEmail(kith: Kith, signedIn: SignedIn, email: string): Promise<string> {
  const code = await changeCode(kith, signedIn, email);
  const confirm = () => kith.client(AuthService, signedIn.accessToken).confirmEmailChange({ code });
  return codeIn(kith, await mailAfter(kith, signedIn.user.id, confirm));
}
