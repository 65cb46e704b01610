import { expect } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { type Cast, examplesOf, TIME, TOKENS } from '../../../test/support/example.ts';
import { refusalOf } from '../../../test/support/kith.ts';

export const apiKeys = examplesOf(ApiKeyService, {
  async createApiKey({ caller }) {
    const { accessToken } = await caller();
    const permissions = [Permission.CONTACTS_READ, Permission.CONTACTS_WRITE];
    const expireTime = { seconds: 253_402_300_799n, nanos: 0 };
    const named = { name: 'Büro 🦉', permissions, expireTime };
    const secret = expect.stringMatching(/^kith_ak_[0-9A-Za-z]{82}$/);
    const answer = { apiKey: { ...named, id: expect.any(String), createTime: TIME }, secret };
    return { accessToken, request: named, answer, absent: ['apiKey.lastUsedTime'] };
  },
  async listApiKeys(cast) {
    const { owner, apiKey } = await withApiKey(cast);
    const { accessToken } = await cast.caller(Role.ADMIN);
    return { accessToken, request: { userId: owner.user.id }, answer: { apiKeys: [apiKey] } };
  },
  async revokeApiKey(cast) {
    const { owner, apiKey, secret } = await withApiKey(cast);
    return {
      accessToken: owner.accessToken,
      request: { userId: owner.user.id, apiKeyId: apiKey.id },
      answer: {},
      async verify() {
        const after = await refusalOf(cast.kith.client(AuthService, secret).userMe({}));
        expect(after).toMatchObject({ code: 'Unauthenticated', reason: 'API_KEY_INVALID' });
      },
    };
  },
  async exchangeApiKey(cast) {
    const { secret } = await withApiKey(cast);
    const answer = { accessToken: TOKENS.accessToken, accessTokenExpireTime: TIME, accessTokenLifetime: TIME };
    return { accessToken: secret, request: {}, answer };
  },
});

async function withApiKey({ kith, subject }: Cast) {
  const owner = await subject();
  const request = { name: 'of a test', permissions: [Permission.CONTACTS_READ] };
  const { apiKey, secret } = await kith.client(ApiKeyService, owner.accessToken).createApiKey(request);
  return { owner, apiKey: apiKey!, secret };
}
