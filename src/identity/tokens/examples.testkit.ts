import { expect } from 'vitest';
import { SigningKeyService, SigningKeyState } from '../../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { examplesOf, KID, TIME } from '../../../test/support/example.ts';

export const signingKeys = examplesOf(SigningKeyService, {
  async listSigningKeys({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const active = expect.objectContaining({ kid: KID, state: SigningKeyState.ACTIVE });
    return { accessToken, request: {}, answer: { signingKeys: expect.arrayContaining([active]) } };
  },
  async rotateSigningKey({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const answer = {
      signingKey: { kid: KID, state: SigningKeyState.PENDING, createTime: TIME, activateTime: TIME },
    };
    return { accessToken, request: { compromised: false }, answer, absent: ['signingKey.removeTime'] };
  },
});
