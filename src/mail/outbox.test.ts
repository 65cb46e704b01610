import { createServer } from 'node:net';
import { once } from 'node:events';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, test } from 'vitest';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { MailState, OutboxService } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { freePort } from '../../test/support/free-port.ts';
import { type Kith, refusalOf, startKith } from '../../test/support/kith.ts';
import { goThroughMailFlows } from '../../test/support/mail-flows.ts';
import { mailsTo, outboxOf, readMail, resetCode } from '../../test/support/outbox.ts';
import { startMailServer } from '../../test/support/smtp-server.ts';
import { purge } from '../purge.ts';
import { openApp } from '../../test/support/stored.ts';

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

describe.each(databases)('on $name', (kind) => {
  let opened = new AsyncDisposableStack();
  afterEach(async () => {
    const used = opened;
    opened = new AsyncDisposableStack();
    await used.disposeAsync();
  });

  const start = async (env: Record<string, string>): Promise<Kith> => {
    const database = opened.use(await kind.create());
    return opened.use(await startKith({ database, env, server: { mailPollMs: 20 } }));
  };
  const ask = (kith: Kith, identifier: string) => kith.client(AuthService).requestPasswordReset({ identifier });
  const changePassword = (kith: Kith, { accessToken, password }: { accessToken: string; password: string }) =>
    kith
      .client(AuthService, accessToken)
      .changePassword({ currentPassword: password, newPassword: 'another password' });
  /** The only mail to a user, once it is as expected. */
  const mailOf = async (kith: Kith, userId: string, expected: object) => {
    await expect.poll(async () => mailsTo(kith, userId)).toMatchObject([expected]);
    return (await mailsTo(kith, userId))[0]!;
  };

  test('sends a mail once, with all that mailboxes look at, and keeps no text of it', async () => {
    const server = opened.use(await startMailServer({ user: 'kith@example', password: 'p/ss:w@rd' }));
    const kith = await start({
      KITH_SMTP_URL: server.url,
      KITH_MAIL_FROM: 'Example & Söhne <accounts@mail.example>',
      KITH_SERVICE_NAME: 'Büro <b>',
      KITH_MAIL_LANGUAGE: 'de',
    });
    const { user } = await kith.user();
    await ask(kith, user.username);
    const mail = await mailOf(kith, user.id, { state: MailState.SENT, attempts: 1, lastError: '' });

    expect(server.mails).toHaveLength(1);
    const [{ from, to, parsed }] = server.mails as [(typeof server.mails)[number]];
    expect({ from, to }).toEqual({ from: 'accounts@mail.example', to: [user.email] });
    expect(parsed.from).toEqual({ name: 'Example & Söhne', address: 'accounts@mail.example' });
    expect(parsed.messageId).toBe(`<${mail.id}@mail.example>`);
    expect(parsed.subject).toBe('Ihr Code für ein neues Passwort');
    expect(parsed.headers).toContainEqual(expect.objectContaining({ key: 'auto-submitted', value: 'auto-generated' }));
    const [code = ''] = /^\d{4} \d{4}$/m.exec(parsed.text ?? '') ?? [];
    expect(parsed.html).toContain(`>${code}</p>`);
    expect(parsed.text).toContain('Büro <b>');
    expect(parsed.html).toContain('Büro &lt;b&gt;');
    // Nothing to load, and the one link uses nothing up by being opened (test/account-pages.long.test.ts).
    expect(parsed.html).not.toMatch(/src=/);
    expect(parsed.html?.match(/href="[^"]*"/g)).toEqual([expect.stringContaining('/account/reset-password#code=')]);

    expect(await readMail(kith, mail.id)).toMatchObject({ text: '', html: '' });
    expect(await refusalOf((await outboxOf(kith)).resendMail({ mailId: mail.id }))).toMatchObject({
      reason: 'MAIL_SENT',
    });
    await kith.client(AuthService).resetPassword({ identifier: user.email, code, newPassword: 'an entirely new one' });
  });

  test('somebody signs up, signs in, sets a password, changes the address and takes it back by mails alone', async () => {
    const server = opened.use(await startMailServer());
    const kith = await start({ KITH_SMTP_URL: server.url, KITH_ACCESS_TOKEN_SECONDS: '3600' });
    expect(await goThroughMailFlows(kith, () => server.mails)).toBe(6);
  });

  test.each([
    ['a server that is not there', 'smtp://NOBODY'],
    ['a server that wants another password', 'smtp://kith:wrong@HOST'],
    ['a server that cuts the connection', 'smtp://CUT'],
  ])('keeps a mail for %s, and shows why without a credential', async (_, url) => {
    const server = opened.use(await startMailServer({ user: 'kith', password: 'right' }));
    const cutting = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(cutting, 'listening');
    opened.defer(() => void cutting.close());
    const { port } = cutting.address() as { port: number };
    const nobody = `127.0.0.1:${await freePort()}`;
    const at = url
      .replace('NOBODY', nobody)
      .replace('HOST', new URL(server.url).host)
      .replace('CUT', `127.0.0.1:${port}`);
    const kith = await start({ KITH_SMTP_URL: at });
    const { user } = await kith.user();
    await ask(kith, user.username);
    const mail = await mailOf(kith, user.id, {
      state: MailState.WAITING,
      attempts: 1,
      lastError: expect.stringMatching(/./),
    });
    expect(mail.lastError).not.toContain('wrong@');
    expect(server.mails).toEqual([]);
  });

  test('tries again what a server does not take yet, later and later, and gives up after three days', async () => {
    const server = opened.use(await startMailServer());
    server.refusal = '451 4.7.1 greylisted';
    const kith = await start({ KITH_SMTP_URL: server.url });
    const [{ user }, other] = [await kith.user(), await kith.user()];
    await ask(kith, user.username);
    const greylisted = { attempts: 1, state: MailState.WAITING, lastError: expect.stringContaining('greylisted') };
    await mailOf(kith, user.id, greylisted);
    server.refusal = undefined;
    kith.clock.offsetMs += 10_000;
    await mailOf(kith, user.id, { attempts: 2, state: MailState.SENT });
    expect(server.mails).toHaveLength(1);

    server.refusal = '451 4.7.1 greylisted';
    await changePassword(kith, other);
    await mailOf(kith, other.user.id, greylisted);
    kith.clock.offsetMs += 3 * DAY_MS;
    await mailOf(kith, other.user.id, { ...greylisted, attempts: 2, state: MailState.FAILED });
  });

  test('sends no code that has expired, neither by itself nor by hand', async () => {
    const server = opened.use(await startMailServer());
    server.refusal = '451 4.7.1 greylisted';
    const kith = await start({ KITH_SMTP_URL: server.url });
    const { user } = await kith.user();
    await ask(kith, user.username);
    const mail = await mailOf(kith, user.id, { attempts: 1, lastError: expect.stringContaining('greylisted') });
    server.refusal = undefined;
    kith.clock.offsetMs = timestampMs(mail.expireTime!) - Date.now();
    await mailOf(kith, user.id, { state: MailState.FAILED, lastError: expect.stringContaining('expired') });
    const again = (await outboxOf(kith)).resendMail({ mailId: mail.id });
    expect(await refusalOf(again)).toMatchObject({ code: 'FailedPrecondition', reason: 'MAIL_EXPIRED' });
    expect(server.mails).toEqual([]);
  });

  test('sends what waits for a time that a clock which was ahead has set', async () => {
    const server = opened.use(await startMailServer());
    server.refusal = '451 4.7.1 greylisted';
    const kith = await start({ KITH_SMTP_URL: server.url });
    const { user } = await kith.user();
    await outboxOf(kith); // before the sign-in of the admin expires
    kith.clock.offsetMs += DAY_MS;
    await ask(kith, user.username);
    await mailOf(kith, user.id, { attempts: 1, lastError: expect.stringContaining('greylisted') });
    server.refusal = undefined;
    kith.clock.offsetMs -= DAY_MS;
    await mailOf(kith, user.id, { state: MailState.SENT });
  });

  test('keeps in one line what a server says, whatever it says', async () => {
    const rude = createServer((socket) => void socket.end('554 \0go \u202eaway\u0007\r\n')).listen(0, '127.0.0.1');
    await once(rude, 'listening');
    opened.defer(() => void rude.close());
    const { port } = rude.address() as { port: number };
    const kith = await start({ KITH_SMTP_URL: `smtp://127.0.0.1:${port}` });
    const { user } = await kith.user();
    await ask(kith, user.username);
    const mail = await mailOf(kith, user.id, { attempts: 1, lastError: expect.stringContaining('go ') });
    expect(mail.lastError).toMatch(/^[^\p{Cc}\p{Bidi_Control}]+$/u);
  });

  test('gives up at once what a server refuses for good, until it is sent again by hand', async () => {
    const server = opened.use(await startMailServer());
    server.refusal = '550 5.1.1 no such mailbox';
    const kith = await start({ KITH_SMTP_URL: server.url });
    const { user } = await kith.user();
    await ask(kith, user.username);
    const mail = await mailOf(kith, user.id, { state: MailState.FAILED, attempts: 1 });
    expect(mail.lastError).toContain('no such mailbox');
    server.refusal = undefined;
    await (await outboxOf(kith)).resendMail({ mailId: mail.id });
    await mailOf(kith, user.id, { state: MailState.SENT });
    expect(server.mails.map(({ to }) => to)).toEqual([[user.email]]);
  });

  test('shows the text of a mail to those alone who may set the password of its reader', async () => {
    const kith = await start({});
    const admin = await kith.admin();
    const keys = kith.client(ApiKeyService, admin.accessToken);
    const permissions = [Permission.CREDENTIALS_READ, Permission.CREDENTIALS_WRITE];
    const { secret } = await keys.createApiKey({ name: 'support', permissions });
    const support = kith.client(OutboxService, secret);
    await resetCode(kith, admin.user);
    const { user } = await kith.user();
    await resetCode(kith, user);
    const { mails } = await support.listMails({});
    const to = (id: string) => mails.find(({ userId }) => userId === id)!.id;
    expect((await readMail(kith, to(user.id))).text).toMatch(/^\d{4} \d{4}$/m);
    expect(await refusalOf(support.getMail({ mailId: to(user.id) }))).toMatchObject({
      code: 'Unauthenticated',
      reason: 'FRESH_SIGN_IN_REQUIRED',
    });
    expect(await support.resendMail({ mailId: to(user.id) })).toMatchObject({ mail: { state: MailState.WAITING } });
    expect(await refusalOf(support.resendMail({ mailId: to(admin.user.id) }))).toMatchObject({
      code: 'PermissionDenied',
      reason: 'PERMISSION_MISSING',
    });
  });

  test('lists in pages, newest first, and removes mails after 30 days', async () => {
    const kith = await start({});
    const { user } = await kith.user();
    for (let i = 0; i < 3; i++) {
      await resetCode(kith, user);
      kith.clock.offsetMs += HOUR_MS;
    }
    const client = await outboxOf(kith);
    const first = await client.listMails({ pageSize: 2 });
    const second = await client.listMails({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.nextPageToken).toBe('');
    const ids = [...first.mails, ...second.mails].map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted().toReversed());
    expect(ids).toHaveLength(3);

    kith.clock.offsetMs += 30 * DAY_MS - 2.5 * HOUR_MS;
    await using app = await openApp(kith);
    await purge(app);
    expect((await mailsTo(kith, user.id)).map(({ id }) => id)).toEqual(ids.slice(0, 2));
  });
});
