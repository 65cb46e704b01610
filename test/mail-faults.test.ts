import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { createSmtpSender } from '../src/mail/smtp-sender.ts';
import { type Kith, refusalOf, startKith } from './support/kith.ts';
import { loginCode, mailsTo, mailsToAddress, readMail, resetCode } from './support/outbox.ts';
import { exampleMail } from './support/outgoing-mail.ts';
import { startMailServer } from './support/smtp-server.ts';

/** Faults that services with mails had again and again, by the names of docs/asvs.md. */
describe('accounts by mail', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith();
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const auth = () => kith.client(AuthService);
  const verify = async (userId: string) => {
    const { accessToken } = await kith.admin();
    await kith.client(UserService, accessToken).updateUser({ userId, emailVerified: true });
  };
  /** Waits until what was answered before is done. */
  const settled = async () => void (await resetCode(kith, (await kith.user()).user));

  test('link made from Host: a mail has nothing of the host that the call named', async () => {
    const { user } = await kith.user();
    const headers = {
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      origin: 'https://evil.example',
      'content-type': 'application/json',
    };
    await new Promise((resolve, reject) => {
      const call = request(`${kith.address}/kith.auth.v1.AuthService/RequestPasswordReset`, {
        method: 'POST',
        headers,
      });
      call.once('response', (response) => response.resume().once('end', resolve)).once('error', reject);
      call.end(JSON.stringify({ identifier: user.username }));
    });
    await settled();
    for (const mail of await mailsTo(kith, user.id)) {
      expect(
        JSON.stringify(await readMail(kith, mail.id), (_, value) => (typeof value === 'bigint' ? 0 : value)),
      ).not.toContain('evil');
    }
  });

  test('homoglyph address normalised after validation: a mail goes to the address that is stored, and to no other', async () => {
    const { user } = await kith.user();
    const [local = ''] = user.email.split('@');
    const likes = [
      user.email.replace('example', 'exampl\u{435}'),
      user.email.replace('@', '\u{ff20}'),
      user.email.replace('org', '\u{2134}rg'),
      `${local}\u{200b}@example.org`,
      `${local}@example\u{3002}org`,
      `${local}@ex\u{e4}mple.org`,
    ];
    for (const email of likes) {
      expect(await refusalOf(auth().signUp({ email }))).toMatchObject({ reason: 'FIELDS_INVALID' });
      await auth()
        .requestPasswordReset({ identifier: email })
        .catch(() => {}); // refused, or answered as for anybody
    }
    await settled();
    for (const mail of await mailsTo(kith, user.id)) expect(mail.recipient).toBe(user.email);
    for (const email of likes) expect(await mailsToAddress(kith, email)).toEqual([]);
  });

  test('code guessed over many accounts: one address guesses a few times, whoever the accounts are', async () => {
    await using strict = await startKith({ env: { KITH_SIGN_IN_FAILURES_PER_ADDRESS: '5' } });
    const guesses = ['resetPassword', 'loginWithCode', 'confirmSignUp'] as const;
    const reasons: (string | undefined)[] = [];
    for (let i = 0; i < 9; i++) {
      const identifier = `u${randomUUID()}`;
      const email = `${identifier}@example.org`;
      const of = {
        resetPassword: { identifier, code: '12345678', newPassword: 'the next password' },
        loginWithCode: { identifier, clientToken: 'x', code: '12345678' },
        confirmSignUp: { email, code: '12345678', username: identifier, name: 'One', password: 'the next password' },
      };
      const method = guesses[i % guesses.length]!;
      reasons.push((await refusalOf(strict.client(AuthService)[method](of[method]))).reason);
    }
    expect(reasons.slice(0, 5)).toEqual(Array.from({ length: 5 }, () => 'MAILED_CODE_INVALID'));
    expect(reasons.slice(5)).toEqual(Array.from({ length: 4 }, () => 'TOO_MANY_ATTEMPTS'));
  });

  test('account merged by an unverified address: whoever proves the address gets no account that has it, and the account no code', async () => {
    const { user } = await kith.user();
    await auth().requestLoginCode({ identifier: user.email });
    await auth().signUp({ email: user.email });
    await settled();
    await expect.poll(async () => (await mailsTo(kith, user.id)).map((mail) => mail.kind)).toEqual(['sign_up_known']);
    const [mail] = await mailsTo(kith, user.id);
    expect((await readMail(kith, mail!.id)).text).not.toMatch(/\d{4} \d{4}/);
    const other = {
      email: user.email,
      code: '12345678',
      username: `u${randomUUID()}`,
      name: 'Other',
      password: 'the next one',
    };
    expect(await refusalOf(auth().confirmSignUp(other))).toMatchObject({ reason: 'MAILED_CODE_INVALID' });
    // Once it is verified, the code is mailed to it.
    await verify(user.id);
    await loginCode(kith, user);
  });
});

test('address parser in the mailer: what looks like two addresses is sent to the domain behind the last @, or not at all', async () => {
  await using server = await startMailServer();
  using sender = createSmtpSender({ url: server.url, from: 'accounts@mail.example' });
  const recipients = [
    '"user@evil.example x"@internal.example',
    'user@internal.example, other@evil.example',
    'user@internal.example <other@evil.example>',
    'other@evil.example(@internal.example',
    'user@internal.example\r\nRCPT TO:<other@evil.example>',
  ];
  for (const recipient of recipients) {
    await sender.send(exampleMail({ recipient })).catch(() => {}); // refused by one of the two
  }
  for (const { to } of server.mails) {
    for (const address of to) expect(address).not.toMatch(/@evil\.example$/);
  }
  await sender.send(exampleMail({ recipient: 'user@internal.example' }));
  expect(server.mails.at(-1)!.to).toEqual(['user@internal.example']);
});
