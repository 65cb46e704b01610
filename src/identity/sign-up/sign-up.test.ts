import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { InvitationService } from '../../../gen/kith/auth/v1/invitation_service_pb.ts';
import { OutboxService } from '../../../gen/kith/mail/v1/outbox_service_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, startKith } from '../../../test/support/kith.ts';
import { mailsTo, mailsToAddress, outboxOf, signUpCode } from '../../../test/support/outbox.ts';
import { FIELDS_INVALID } from '../../../test/support/refusals.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { startMailServer } from '../../../test/support/smtp-server.ts';
import { openApp } from '../../../test/support/stored.ts';
import { purge } from '../../purge.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const MAILED_CODE_INVALID = { code: 'Unauthenticated', reason: 'MAILED_CODE_INVALID' };
const SIGN_UP_CLOSED = { code: 'FailedPrecondition', reason: 'SIGN_UP_CLOSED' };
const DOMAIN_NOT_ALLOWED = { code: 'InvalidArgument', reason: 'SIGN_UP_DOMAIN_NOT_ALLOWED' };
const INVITATION_NOT_FOUND = { code: 'NotFound', reason: 'INVITATION_NOT_FOUND' };

const PASSWORD = 'of who signs up';

interface Person {
  readonly username: string;
  readonly email: string;
}

function person(): Person {
  const username = `u${randomUUID()}`;
  return { username, email: `${username}@example.org` };
}

const confirm = (kith: Kith, { username, email }: Person, code: string, password = PASSWORD) =>
  kith.client(AuthService).confirmSignUp({ email, code, username, name: 'Signed Up', password });

const logIn = async (kith: Kith, identifier: string, password = PASSWORD) =>
  (await signedIn(kith.client(AuthService).login({ identifier, password }))).user;

/** Outcomes in the order of their names. */
const sorted = (outcomes: readonly (string | undefined)[]) =>
  outcomes.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));

/** Waits until nothing that was answered is left to do: a code that was asked for later has been mailed. */
async function settled(kith: Kith): Promise<void> {
  await signUpCode(kith, person().email);
}

describe.each(databases)('on $name', (kind) => {
  let opened = new AsyncDisposableStack();
  afterEach(async () => {
    const used = opened;
    opened = new AsyncDisposableStack();
    await used.disposeAsync();
  });

  async function start(env: Record<string, string> = {}): Promise<Kith> {
    const database = opened.use(await kind.create());
    return opened.use(await startKith({ database, env, server: { mailPollMs: 20 } }));
  }

  const invitationsBy = async (kith: Kith) => kith.client(InvitationService, (await kith.admin()).accessToken);

  test('who signs up gets a code by mail, becomes a viewer with a verified address, and signs in', async () => {
    const server = opened.use(await startMailServer());
    const kith = await start({ KITH_SMTP_URL: server.url, KITH_SIGN_UP_DOMAINS: 'example.net, example.org' });
    const one = person();
    await kith.client(AuthService).signUp({ email: one.email });
    await expect.poll(() => server.mails.length).toBe(1);
    const [{ to, parsed }] = server.mails as [(typeof server.mails)[number]];
    expect(to).toEqual([one.email]);
    expect(parsed.subject).toBe('Your code to sign up');
    expect(parsed.html).not.toMatch(/src=/);
    expect(parsed.html?.match(/href="[^"]*"/g)).toEqual([expect.stringContaining('/account/sign-up#code=')]);
    const [code = ''] = /^\d{4} \d{4}$/m.exec(parsed.text ?? '') ?? [];

    const taken = await kith.user();
    const PASSWORD_TOO_COMMON = { code: 'InvalidArgument', reason: 'PASSWORD_TOO_COMMON' };
    expect(await refusalOf(confirm(kith, one, code, 'password1'))).toMatchObject(PASSWORD_TOO_COMMON);
    const asTaken = { ...one, username: taken.user.username };
    expect(await refusalOf(confirm(kith, asTaken, code))).toMatchObject({ reason: 'USERNAME_TAKEN' });
    await confirm(kith, one, code);
    const user = await logIn(kith, one.email);
    expect(user).toMatchObject({ ...one, role: Role.VIEWER, name: 'Signed Up' });
    expect(user.emailVerifiedTime).toBeDefined();
    expect(await refusalOf(confirm(kith, { ...person(), email: one.email }, code))).toMatchObject(MAILED_CODE_INVALID);
    // The mails from before belong to the user now, and go with them.
    expect((await mailsTo(kith, user.id)).map((mail) => mail.kind)).toEqual(['sign_up']);
    const activity = kith.client(ActivityService, (await kith.admin()).accessToken);
    const { activities } = await activity.listUserActivity({ userId: user.id });
    expect(activities.map(({ action }) => action)).toContain('kith.user.signed_up');
  });

  test('pre-hijacked account: nothing that somebody asked for before is left for who proves to have the address', async () => {
    const kith = await start();
    const owner = person();
    // Somebody else asks for a code to the address of the owner, and cannot read it.
    const unread = await signUpCode(kith, owner.email);
    const attacker = { username: `x${randomUUID()}`, email: owner.email };
    const wrong = String((Number(unread.replace(' ', '')) + 1) % 1e8).padStart(8, '0');
    expect(await refusalOf(confirm(kith, attacker, wrong, 'password of the attacker'))).toMatchObject(
      MAILED_CODE_INVALID,
    );
    const users = kith.client(UserService, (await kith.admin()).accessToken);
    expect((await users.listUsers({ email: owner.email })).users).toEqual([]);
    // The address stays free, for an administrator too, and the code of before opens nothing afterwards.
    const { user } = await users.createUser({ ...owner, name: 'The owner', password: 'password of the owner' });
    expect(await refusalOf(confirm(kith, attacker, unread))).toMatchObject({ reason: 'EMAIL_TAKEN' });
    expect((await logIn(kith, owner.email, 'password of the owner')).id).toBe(user!.id);
    const byAttacker = kith.client(AuthService).login({ identifier: owner.email, password: PASSWORD });
    expect(await refusalOf(byAttacker)).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
  });

  test('the answer is alike for every address, and the mail to that of a user says that somebody tried', async () => {
    const kith = await start({ KITH_SIGN_UP: 'invitation' });
    const auth = kith.client(AuthService);
    const { user } = await kith.user();
    const [invited, stranger] = [person(), person()];
    await (await invitationsBy(kith)).createInvitation({ email: invited.email });
    const answers = await Promise.all([user, invited, stranger].map(({ email }) => auth.signUp({ email })));
    expect(answers).toEqual([answers[0], answers[0], answers[0]]);
    await expect.poll(async () => (await mailsTo(kith, user.id)).map((mail) => mail.kind)).toEqual(['sign_up_known']);
    await expect
      .poll(async () => (await mailsToAddress(kith, invited.email)).map((mail) => mail.kind))
      .toEqual(['sign_up', 'invitation']);
    expect(await mailsToAddress(kith, stranger.email)).toEqual([]);
    const refusals = [];
    for (const { email } of [user, invited, stranger]) {
      refusals.push(await refusalOf(confirm(kith, { ...person(), email }, '00000000')));
    }
    expect(refusals).toEqual([refusals[0], refusals[0], refusals[0]]);
    expect(refusals[0]).toMatchObject(MAILED_CODE_INVALID);
  });

  test('an invitation gives its role once, and is listed, sent again and revoked', async () => {
    const kith = await start({ KITH_SIGN_UP: 'invitation' });
    const invitations = await invitationsBy(kith);
    const [one, other, late] = [person(), person(), person()];
    const { invitation } = await invitations.createInvitation({ email: one.email.toUpperCase(), role: Role.EDITOR });
    const again = invitations.createInvitation({ email: one.email });
    expect(await refusalOf(again)).toMatchObject({ code: 'AlreadyExists', reason: 'INVITATION_EXISTS' });
    const { user: known } = await kith.user();
    const toKnown = invitations.createInvitation({ email: known.email });
    expect(await refusalOf(toKnown)).toMatchObject({ code: 'AlreadyExists', reason: 'EMAIL_TAKEN' });
    const revoked = (await invitations.createInvitation({ email: other.email })).invitation!;
    const expired = (await invitations.createInvitation({ email: late.email })).invitation!;
    const page = await invitations.listInvitations({ pageSize: 2 });
    expect(page.invitations.map(({ id }) => id)).toEqual([expired.id, revoked.id]);
    const rest = await invitations.listInvitations({ pageSize: 2, pageToken: page.nextPageToken });
    expect(rest).toMatchObject({ invitations: [{ id: invitation!.id, role: Role.EDITOR }], nextPageToken: '' });

    await confirm(kith, one, await signUpCode(kith, one.email));
    expect(await logIn(kith, one.username)).toMatchObject({ role: Role.EDITOR });
    const used = invitations.resendInvitation({ invitationId: invitation!.id });
    expect(await refusalOf(used)).toMatchObject(INVITATION_NOT_FOUND);

    const code = await signUpCode(kith, other.email);
    await invitations.revokeInvitation({ invitationId: revoked.id });
    expect(await refusalOf(confirm(kith, other, code))).toMatchObject(MAILED_CODE_INVALID);
    const twice = invitations.revokeInvitation({ invitationId: revoked.id });
    expect(await refusalOf(twice)).toMatchObject(INVITATION_NOT_FOUND);

    await using app = await openApp(kith);
    const soon = { ...app, now: () => app.now() + 8 * DAY_MS };
    await purge(soon);
    const { db } = app.database;
    expect(await db.selectFrom('sign_ups').selectAll().execute()).toEqual([]);
    expect(await db.selectFrom('invitations').select('id').execute()).toEqual([{ id: expired.id }]);
    await purge({ ...app, now: () => app.now() + 38 * DAY_MS });
    expect(await db.selectFrom('invitations').select('id').execute()).toEqual([]);
  });

  test('an invitation that has expired is none, until it is sent again or another one is made', async () => {
    const kith = await start({ KITH_SIGN_UP: 'invitation' });
    const { accessToken } = await kith.admin();
    const { secret } = await kith
      .client(ApiKeyService, accessToken)
      .createApiKey({ name: 'inviting', permissions: [Permission.USERS_WRITE] });
    const invitations = kith.client(InvitationService, secret);
    await outboxOf(kith); // before the sign-in of the admin expires
    const [one, other] = [person(), person()];
    const { invitation } = await invitations.createInvitation({ email: one.email });
    await invitations.createInvitation({ email: other.email });
    kith.clock.offsetMs += 7 * DAY_MS + 1000;
    const auth = kith.client(AuthService);
    await auth.signUp({ email: one.email });
    await invitations.createInvitation({ email: other.email });
    await signUpCode(kith, other.email); // by now the other one would have been mailed
    expect((await mailsToAddress(kith, one.email)).map((mail) => mail.kind)).toEqual(['invitation']);
    kith.clock.offsetMs += 60_000;
    await invitations.resendInvitation({ invitationId: invitation!.id });
    await confirm(kith, one, await signUpCode(kith, one.email));
    expect((await mailsToAddress(kith, one.email)).map((mail) => mail.kind)).toEqual([
      'sign_up',
      'invitation',
      'invitation',
    ]);
  });

  test('who may not give a role neither invites with it, nor touches such an invitation, nor reads its code', async () => {
    const kith = await start();
    const { accessToken } = await kith.admin();
    const keys = kith.client(ApiKeyService, accessToken);
    const permissions = [Permission.USERS_WRITE, Permission.CREDENTIALS_READ, Permission.CREDENTIALS_WRITE];
    const { secret } = await keys.createApiKey({ name: 'support', permissions });
    const support = kith.client(InvitationService, secret);
    const one = person();
    const asAdmin = support.createInvitation({ email: one.email, role: Role.ADMIN });
    expect(await refusalOf(asAdmin)).toMatchObject({ reason: 'FIELD_NEEDS_PERMISSION' });
    const { invitation } = await (await invitationsBy(kith)).createInvitation({ email: one.email, role: Role.ADMIN });
    const PERMISSION_MISSING = { code: 'PermissionDenied', reason: 'PERMISSION_MISSING' };
    const viewing = kith.client(InvitationService, (await kith.user(Role.EDITOR)).accessToken);
    const calls = [
      () => support.resendInvitation({ invitationId: invitation!.id }),
      () => support.revokeInvitation({ invitationId: invitation!.id }),
      () => viewing.listInvitations({}),
    ];
    for (const call of calls) expect(await refusalOf(call())).toMatchObject(PERMISSION_MISSING);
    expect(await support.listInvitations({})).toMatchObject({ invitations: [{ id: invitation!.id }] });
    await signUpCode(kith, one.email);
    const [mail] = await mailsToAddress(kith, one.email);
    const resending = kith.client(OutboxService, secret).resendMail({ mailId: mail!.id });
    expect(await refusalOf(resending)).toMatchObject(PERMISSION_MISSING);
  });

  test('nobody signs up or is invited where it is closed, nor with an address of another domain', async () => {
    const closed = await start({ KITH_SIGN_UP: 'closed' });
    const one = person();
    expect(await refusalOf(closed.client(AuthService).signUp({ email: one.email }))).toMatchObject(SIGN_UP_CLOSED);
    expect(await refusalOf(confirm(closed, one, '12345678'))).toMatchObject(SIGN_UP_CLOSED);
    const inviting = (await invitationsBy(closed)).createInvitation({ email: one.email });
    expect(await refusalOf(inviting)).toMatchObject(SIGN_UP_CLOSED);

    const kith = await start({ KITH_SIGN_UP_DOMAINS: 'Example.NET' });
    for (const email of [one.email, 'a@example.net.example.org', 'a@sub.example.net', 'a@notexample.net']) {
      expect(await refusalOf(kith.client(AuthService).signUp({ email }))).toMatchObject(DOMAIN_NOT_ALLOWED);
      expect(await refusalOf(confirm(kith, { ...one, email }, '12345678'))).toMatchObject(DOMAIN_NOT_ALLOWED);
      expect(await refusalOf((await invitationsBy(kith)).createInvitation({ email }))).toMatchObject(
        DOMAIN_NOT_ALLOWED,
      );
    }
    await kith.client(AuthService).signUp({ email: `${one.username}@EXAMPLE.net` });
    for (const email of [
      '"a@evil x"@example.net',
      'a@example.net\r\nbcc: b@example.net',
      'а@exаmple.net',
      'a@b@example.net',
    ]) {
      expect(await refusalOf(kith.client(AuthService).signUp({ email }))).toMatchObject(FIELDS_INVALID);
    }
  });

  test('a code is guessed four times, then not compared, and a mail is sent to an address only so often', async () => {
    const kith = await start();
    const one = person();
    const code = await signUpCode(kith, one.email);
    const guess = (n: number) => confirm(kith, one, String((Number(code.replace(' ', '')) + n) % 1e8).padStart(8, '0'));
    for (let n = 1; n <= 6; n++) expect(await refusalOf(guess(n))).toMatchObject(MAILED_CODE_INVALID);
    expect(await refusalOf(confirm(kith, one, code))).toMatchObject(MAILED_CODE_INVALID);
    for (let i = 0; i < 5; i++) await kith.client(AuthService).signUp({ email: one.email });
    await settled(kith);
    expect(await mailsToAddress(kith, one.email)).toHaveLength(2);
  });

  test('races: of sign-ups with one address, one code or one username one succeeds, and an invitation is used once', async () => {
    const database = opened.use(await kind.create());
    const env = { KITH_SIGN_UP: 'invitation' };
    const kith = opened.use(await startKith({ database, env }));
    // Several processes where the database is shared, several calls at once to one where it is a file.
    const instances = kind === databases[0] ? [kith] : [kith, opened.use(await startKith({ database, env }))];
    const invitations = await invitationsBy(kith);
    for (let round = 0; round < 5; round++) {
      const one = person();
      await invitations.createInvitation({ email: one.email, role: Role.EDITOR });
      const code = await signUpCode(kith, one.email);
      const racing = Array.from({ length: 4 }, (_, i) =>
        confirm(instances[i % instances.length]!, { ...person(), email: one.email }, code).then(
          () => 'ok',
          (error: unknown) => refusalOf(Promise.reject(error as Error)).then(({ reason }) => reason),
        ),
      );
      const outcomes = sorted(await Promise.all(racing));
      expect(outcomes).toEqual(['MAILED_CODE_INVALID', 'MAILED_CODE_INVALID', 'MAILED_CODE_INVALID', 'ok']);

      const [left, right] = [person(), person()];
      for (const { email } of [left, right]) await invitations.createInvitation({ email });
      const codes = [await signUpCode(kith, left.email), await signUpCode(kith, right.email)];
      const named = await Promise.all(
        [left, right].map(({ email }, i) =>
          confirm(instances[i % instances.length]!, { username: left.username, email }, codes[i]!).then(
            () => 'ok',
            (error: unknown) => refusalOf(Promise.reject(error as Error)).then(({ reason }) => reason),
          ),
        ),
      );
      expect(sorted(named)).toEqual(['USERNAME_TAKEN', 'ok']);
    }
    const users = kith.client(UserService, (await kith.admin()).accessToken);
    expect((await users.listUsers({ roles: [Role.EDITOR] })).users).toHaveLength(5);
    expect((await invitations.listInvitations({})).invitations).toHaveLength(5); // of those whose name was taken
    expect(await database.faults()).toEqual([]);
  });
});
