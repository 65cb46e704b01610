import { expect } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { Authenticator } from '../../../test/support/authenticator.ts';
import { type Cast, examplesOf, TIME } from '../../../test/support/example.ts';
import type { Kith, SignedIn } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';

const RECOVERY_CODES = Array.from({ length: 10 }, () => expect.stringMatching(/^[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}$/));

export const secondFactor = examplesOf(SecondFactorService, {
  async getSecondFactor(cast) {
    const { accessToken } = await withSecondFactor(cast);
    const answer = { totpEnabled: true, totpConfirmTime: TIME, recoveryCodesLeft: 10 };
    return { accessToken, request: {}, answer };
  },
  async enrollTotp({ subject }) {
    const { accessToken } = await subject();
    const answer = {
      secret: expect.stringMatching(/^[A-Z2-7]{32}$/),
      uri: expect.stringMatching(/^otpauth:/),
      expireTime: TIME,
    };
    return { accessToken, request: {}, answer };
  },
  async confirmTotp({ kith, subject }) {
    const { accessToken } = await subject();
    const { uri } = await kith.client(SecondFactorService, accessToken).enrollTotp({});
    const code = new Authenticator(uri, kith.clock).next();
    return { accessToken, request: { code }, answer: { recoveryCodes: RECOVERY_CODES } };
  },
  async disableTotp(cast) {
    const { accessToken } = await withSecondFactor(cast);
    return { accessToken, request: {}, answer: {}, verify: () => expectNoSecondFactor(cast.kith, accessToken) };
  },
  async replaceRecoveryCodes(cast) {
    const { accessToken } = await withSecondFactor(cast);
    return { accessToken, request: {}, answer: { recoveryCodes: RECOVERY_CODES } };
  },
  async resetSecondFactor(cast) {
    const { kith } = cast;
    const { user, password } = await withSecondFactor(cast);
    const { accessToken } = await cast.caller(Role.ADMIN);
    return {
      accessToken,
      request: { userId: user.id },
      answer: {},
      async verify() {
        const again = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
        await expectNoSecondFactor(kith, again.accessToken);
      },
    };
  },
});

async function withSecondFactor({ kith, subject }: Cast): Promise<SignedIn> {
  const signedIn = await subject();
  const client = kith.client(SecondFactorService, signedIn.accessToken);
  const { uri } = await client.enrollTotp({});
  await client.confirmTotp({ code: new Authenticator(uri, kith.clock).next() });
  return signedIn;
}

async function expectNoSecondFactor(kith: Kith, accessToken: string): Promise<void> {
  const { totpEnabled } = await kith.client(SecondFactorService, accessToken).getSecondFactor({});
  expect(totpEnabled).toBe(false);
}
