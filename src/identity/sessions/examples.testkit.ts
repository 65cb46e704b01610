import { decodeJwt } from 'jose';
import { expect } from 'vitest';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService, SignInMethod } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import { examplesOf, TIME } from '../../../test/support/example.ts';
import { type Kith, refusalOf } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';

export const sessions = examplesOf(SessionService, {
  async listSessions({ subject }) {
    const { user, accessToken } = await subject();
    const session = {
      id: sessionIdOf(accessToken),
      userAgent: expect.stringMatching(/./),
      address: expect.stringMatching(/./),
      methods: [SignInMethod.PASSWORD],
      createTime: TIME,
      lastUsedTime: TIME,
      expireTime: TIME,
      current: true,
    };
    return { accessToken, request: { userId: user.id }, answer: { sessions: [session] } };
  },
  async revokeSession({ kith, subject }) {
    const { user, accessToken: ended } = await subject();
    const { accessToken } = await kith.admin();
    return {
      accessToken,
      request: { userId: user.id, sessionId: sessionIdOf(ended) },
      answer: {},
      verify: () => expectEnded(kith, ended),
    };
  },
  async revokeAllSessions({ kith, subject }) {
    const { user, password, accessToken } = await subject();
    const other = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
    return {
      accessToken,
      request: { userId: user.id, keepCurrent: true },
      answer: { revokedCount: 1 },
      async verify() {
        await expectEnded(kith, other.accessToken);
        await kith.client(AuthService, accessToken).userMe({});
      },
    };
  },
});

function sessionIdOf(accessToken: string): string {
  return String(decodeJwt(accessToken)['sid']);
}

async function expectEnded(kith: Kith, accessToken: string): Promise<void> {
  const refusal = await refusalOf(kith.client(AuthService, accessToken).userMe({}));
  expect(refusal).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
}
