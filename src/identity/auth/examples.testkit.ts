import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { examplesOf, TIME, TOKENS } from '../../../test/support/example.ts';
import { refusalOf } from '../../../test/support/kith.ts';
import { permissionsOf } from '../../../test/support/roles.ts';
import {
  changeCode,
  changeEmail,
  loginCode,
  resetCode,
  signUpCode,
  verificationCode,
} from '../../../test/support/outbox.ts';
import { challengeOf, signedIn } from '../../../test/support/sign-in.ts';

export const auth = examplesOf(AuthService, {
  async login({ subject }) {
    const { user, password } = await subject();
    return { request: { identifier: user.email.toUpperCase(), password }, answer: signedInAs(user) };
  },
  async completeLogin({ kith, subject }) {
    const { user } = await subject();
    const { accessToken } = await kith.admin();
    const password = `set for ${user.username}`;
    const set = { userId: user.id, password, mustChangePassword: true };
    await kith.client(UserService, accessToken).setUserPassword(set);
    const { challengeToken } = await challengeOf(
      kith.client(AuthService).login({ identifier: user.username, password }),
    );
    const newPassword = `chosen by ${user.username}`;
    return {
      request: { challengeToken, answer: { case: 'newPassword' as const, value: newPassword } },
      answer: signedInAs(user),
      async verify() {
        await signedIn(kith.client(AuthService).login({ identifier: user.username, password: newPassword }));
      },
    };
  },
  async requestLoginCode({ subject }) {
    const { user } = await subject();
    return { request: { identifier: user.email }, answer: { clientToken: expect.stringMatching(/^[\w-]{43}$/) } };
  },
  async loginWithCode({ kith, subject }) {
    const { user } = await subject();
    const { accessToken: admin } = await kith.admin();
    await kith.client(UserService, admin).updateUser({ userId: user.id, emailVerified: true });
    return { request: await loginCode(kith, user), answer: signedInAs(user) };
  },
  async userMe({ caller }) {
    const { user, accessToken } = await caller(Role.EDITOR);
    return { accessToken, request: {}, answer: { user, permissions: permissionsOf(Role.EDITOR) } };
  },
  async refreshAccessToken({ subject }) {
    const { refreshToken } = await subject();
    const answer = { tokens: { ...TOKENS, refreshToken: expect.not.stringContaining(refreshToken) } };
    return { request: { refreshToken }, answer };
  },
  async logout({ kith, caller }) {
    const { accessToken } = await caller();
    return {
      accessToken,
      request: {},
      answer: {},
      async verify() {
        const after = await refusalOf(kith.client(AuthService, accessToken).userMe({}));
        expect(after).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
      },
    };
  },
  async changePassword({ kith, caller }) {
    const { user, password, accessToken } = await caller();
    const newPassword = `new ${password}`;
    return {
      accessToken,
      request: { currentPassword: password, newPassword },
      answer: {},
      async verify() {
        const identifier = user.username;
        const old = await refusalOf(kith.client(AuthService).login({ identifier, password }));
        expect(old).toMatchObject({ code: 'Unauthenticated', reason: 'CREDENTIALS_INVALID' });
        const { user: same } = await signedIn(kith.client(AuthService).login({ identifier, password: newPassword }));
        expect(same.id).toBe(user.id);
      },
    };
  },
  async signUp() {
    return { request: { email: `${randomUUID()}@example.org` }, answer: {} };
  },
  async confirmSignUp({ kith }) {
    const username = `u${randomUUID()}`;
    const email = `${username}@example.org`;
    const password = 'of who signs up';
    const code = await signUpCode(kith, email);
    return {
      request: { email, code, username, name: 'Signed up', password },
      answer: {},
      async verify() {
        const { user } = await signedIn(kith.client(AuthService).login({ identifier: username, password }));
        expect(user).toMatchObject({ email, role: Role.VIEWER, emailVerifiedTime: TIME });
      },
    };
  },
  async requestPasswordReset({ subject }) {
    const { user } = await subject();
    return { request: { identifier: user.email }, answer: {} };
  },
  async resetPassword({ kith, subject }) {
    const { user } = await subject();
    const code = await resetCode(kith, user);
    const newPassword = `reset by ${user.username}`;
    return {
      request: { identifier: user.username, code, newPassword },
      answer: {},
      async verify() {
        await signedIn(kith.client(AuthService).login({ identifier: user.username, password: newPassword }));
      },
    };
  },
  async requestEmailVerification({ kith, caller }) {
    const { user, accessToken } = await caller();
    const { accessToken: admin } = await kith.admin();
    // Of an address that is verified no mail is sent, which would be counted.
    await kith.client(UserService, admin).updateUser({ userId: user.id, emailVerified: true });
    return { accessToken, request: {}, answer: {} };
  },
  async verifyEmail({ kith, subject }) {
    const signedIn = await subject();
    const { accessToken } = signedIn;
    return {
      accessToken,
      request: { code: await verificationCode(kith, signedIn) },
      answer: {},
      async verify() {
        expect((await kith.client(AuthService, accessToken).userMe({})).user).toMatchObject({
          emailVerifiedTime: TIME,
        });
      },
    };
  },
  async requestEmailChange({ subject }) {
    const { user, accessToken } = await subject();
    return { accessToken, request: { email: `new.${user.email}` }, answer: {} };
  },
  async confirmEmailChange({ kith, subject }) {
    const signedIn = await subject();
    const { user, accessToken } = signedIn;
    const email = `new.${user.email}`;
    return {
      accessToken,
      request: { code: await changeCode(kith, signedIn, email) },
      answer: {},
      async verify() {
        expect((await kith.client(AuthService, accessToken).userMe({})).user).toMatchObject({ email });
      },
    };
  },
  async takeEmailBack({ kith, subject }) {
    const account = await subject();
    const { user, accessToken } = account;
    await kith.client(AuthService, accessToken).verifyEmail({ code: await verificationCode(kith, account) });
    const token = await changeEmail(kith, account, `new.${user.email}`);
    const newPassword = `back by ${user.username}`;
    return {
      request: { token, newPassword },
      answer: {},
      async verify() {
        await signedIn(kith.client(AuthService).login({ identifier: user.email, password: newPassword }));
      },
    };
  },
});

function signedInAs({ id, email }: User): object {
  return { outcome: { case: 'signedIn', value: { tokens: TOKENS, user: { id, email } } } };
}
