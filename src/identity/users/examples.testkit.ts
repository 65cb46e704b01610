import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorReason } from '../../../gen/kith/error/v1/error_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { ImportStatus, UserLookupStatus, UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { type Cast, ETAG, examplesOf, TIME } from '../../../test/support/example.ts';
import { refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';

export const users = examplesOf(UserService, {
  async createUser({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const username = `u${randomUUID()}`;
    const profile = { username, email: `${username}@example.org`, name: 'Zoë Ω 🦉', role: Role.EDITOR };
    return {
      accessToken,
      request: { ...profile, password: 'of the new user', requestId: randomUUID() },
      answer: { user: { ...profile, id: expect.any(String), state: UserState.ACTIVE, createTime: TIME, etag: ETAG } },
    };
  },
  async getUser({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.EDITOR);
    return { accessToken, request: { userId: user.id }, answer: { user } };
  },
  async getUserDetails(cast) {
    const { user, accessToken } = await withContact(cast);
    return {
      accessToken,
      request: { userId: user.id },
      answer: { user, lastSignInTime: TIME, contactCount: 1 },
    };
  },
  async getUsage(cast) {
    const { user, accessToken } = await withContact(cast);
    const bytes = expect.any(BigInt);
    const answer = {
      contacts: { used: 1n, limit: 25_000n },
      contactBytes: { used: bytes, limit: 134_217_728n },
      contactVersionBytes: { used: 0n, limit: 33_554_432n },
    };
    return { accessToken, request: { userId: user.id }, answer };
  },
  async lookupUsers({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.EDITOR);
    const keys = [
      { key: { case: 'username', value: user.username } as const },
      { key: { case: 'userId', value: randomUUID() } as const },
    ];
    const lookups = [{ status: UserLookupStatus.FOUND, user }, { status: UserLookupStatus.NOT_FOUND }];
    return { accessToken, request: { keys }, answer: { lookups } };
  },
  async importUsers({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const username = `u${randomUUID()}`;
    const row = { username, email: `${username}@example.org`, name: 'Imported', userId: randomUUID() };
    return {
      accessToken,
      request: { users: [row, { ...row, name: '' }] },
      answer: {
        results: [
          { status: ImportStatus.CREATED, userId: row.userId },
          {
            status: ImportStatus.REFUSED,
            refusal: { detail: { reason: ErrorReason.FIELDS_INVALID, metadata: { field: 'name' } } },
          },
        ],
      },
    };
  },
  async listUsers({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.EDITOR);
    return {
      accessToken,
      request: { query: user.email, roles: [Role.VIEWER], states: [UserState.ACTIVE], includeTotalSize: true },
      answer: { users: [user], nextPageToken: '', totalSize: 1, totalSizeAtLeast: false },
    };
  },
  async updateUser({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.ADMIN);
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag, name: 'Renamed', state: UserState.SUSPENDED },
      answer: {
        user: { id: user.id, name: 'Renamed', email: user.email, role: user.role, state: UserState.SUSPENDED },
      },
    };
  },
  async deleteUser({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.ADMIN);
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag },
      answer: { user: { id: user.id, state: UserState.DELETED, deleteTime: TIME, purgeTime: TIME } },
    };
  },
  async setUserPassword({ kith, caller, subject }) {
    const { user, password, accessToken: old } = await subject();
    const { accessToken } = await caller(Role.ADMIN);
    const next = `new ${password}`;
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag, password: next },
      answer: { user },
      async verify() {
        const ended = await refusalOf(kith.client(AuthService, old).userMe({}));
        expect(ended).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
        const { user: same } = await signedIn(
          kith.client(AuthService).login({ identifier: user.username, password: next }),
        );
        expect(same.id).toBe(user.id);
      },
    };
  },
  async exportUserData({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.EDITOR);
    return { accessToken, request: { userId: user.id }, answer: {} };
  },
  async eraseUser({ kith, caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.ADMIN);
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag },
      answer: { eraseTime: TIME, receiptId: expect.any(String) },
      async verify() {
        const lookingUp = kith.client(UserService, (await kith.admin()).accessToken).getUser({ userId: user.id });
        expect(await refusalOf(lookingUp)).toMatchObject({ code: 'NotFound', reason: 'USER_NOT_FOUND' });
      },
    };
  },
  async undeleteUser({ kith, caller, subject }) {
    const { user } = await subject();
    await kith.client(UserService, (await kith.admin()).accessToken).deleteUser({ userId: user.id });
    const { accessToken } = await caller(Role.ADMIN);
    return {
      accessToken,
      request: { userId: user.id },
      answer: { user: { id: user.id, state: UserState.ACTIVE, name: user.name } },
      absent: ['user.deleteTime', 'user.purgeTime'],
    };
  },
});

/** A user with one contact. */
async function withContact({ kith, subject }: Cast): Promise<SignedIn> {
  const user = await subject();
  await kith.client(ContactService, user.accessToken).createContact({ givenName: 'Ada' });
  return user;
}
