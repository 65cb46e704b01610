import { getOption } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { access } from '../gen/kith/access/v1/access_pb.ts';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import {
  type Answers,
  answersOver,
  declared,
  isRead,
  type Matrix,
  type Method,
  methodsOver,
  protocolsOn,
  startMatrix,
} from './support/access-matrix.ts';
import { databases } from './support/databases.ts';
import type { Kith, SignedIn } from './support/kith.ts';
import { refreshed, signedIn } from './support/sign-in.ts';

/**
 * Whom to try on a method. What a role allows is decided in one place for all protocols and databases: the first of them
 * meets all, the others the first who is let in and the last who is not.
 */
function callersFor({ viewer, editor, admin }: Matrix, method: Method, isFirst: boolean): readonly SignedIn[] {
  const all = [viewer, editor, admin];
  if (isFirst) return all;
  const isLetIn = ({ user }: SignedIn) => !declared(method, user.role).startsWith('PermissionDenied');
  return [all.findLast((caller) => !isLetIn(caller)), all.find(isLetIn)].filter((caller) => caller !== undefined);
}

describe.each(databases)('on $name', (kind) => {
  let matrix: Matrix;
  beforeAll(async () => {
    matrix = await startMatrix(kind);
  });
  afterAll(() => matrix[Symbol.asyncDispose]());

  describe.each(protocolsOn(kind))('$name', (protocol) => {
    let answerTo: Answers;
    beforeAll(() => {
      answerTo = answersOver(protocol, matrix.kith.address);
    });

    test.each(methodsOver(protocol))('$name answers each role as declared', async ({ method }) => {
      const { kith, dump, requestOf } = matrix;
      const [actual, expected]: Record<string, { answer: string; writes: boolean }>[] = [{}, {}];
      for (const signedIn of callersFor(matrix, method, protocol.isFirst)) {
        const role = signedIn.user.role;
        const caller = method === AuthService.method.logout ? await signInAgain(kith, signedIn) : signedIn;
        const request = await requestOf(method, caller);
        const before = await dump();
        const answer = await answerTo(method, `Bearer ${caller.accessToken}`, request);
        actual![role] = { answer, writes: (await dump()) !== before };
        const due = declared(method, role);
        expected![role] = { answer: due, writes: due === 'ok' && !isRead(method) };
      }
      expect(actual).toEqual(expected);
    });

    test.each(methodsOver(protocol).filter(({ method }) => getOption(method, access).freshSignIn))(
      '$name takes a fresh sign-in, which refreshing is not',
      async ({ method }) => {
        const { kith, dump, later, refusedRequestOf } = matrix;
        const request = await refusedRequestOf(method);
        const { refreshToken } = await kith.user(Role.ADMIN);
        await later(kith.config.freshSignInMs + 1000, async () => {
          const { accessToken } = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }));
          const authorization = `Bearer ${accessToken}`;
          expect(await answerTo(AuthService.method.userMe, authorization, {})).toBe('ok');
          const before = await dump();
          expect(await answerTo(method, authorization, request)).toBe('Unauthenticated FRESH_SIGN_IN_REQUIRED');
          expect(await dump()).toBe(before);
        });
      },
    );

    test('a role that was taken away is gone with the next call of the same token', async () => {
      const { kith, users, dump, newUser } = matrix;
      const fallen = await kith.user(Role.ADMIN);
      const authorization = `Bearer ${fallen.accessToken}`;
      const remove = { userId: (await newUser()).id };
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe('ok');
      await users.updateUser({ userId: fallen.user.id, role: Role.VIEWER });
      const before = await dump();
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe(
        'PermissionDenied PERMISSION_MISSING PERMISSION_USERS_READ',
      );
      expect(await answerTo(UserService.method.deleteUser, authorization, remove)).toBe(
        'PermissionDenied PERMISSION_MISSING PERMISSION_USERS_WRITE',
      );
      expect(await dump()).toBe(before);
      await users.updateUser({ userId: fallen.user.id, role: Role.EDITOR });
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe('ok');
    });
  });
});

async function signInAgain(kith: Kith, { user, password }: SignedIn): Promise<SignedIn> {
  const { accessToken, refreshToken } = await signedIn(
    kith.client(AuthService).login({ identifier: user.username, password }),
  );
  return { user, password, accessToken, refreshToken };
}
