import type { ServiceImpl } from '@connectrpc/connect';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { callerOf } from '../../rpc/caller.ts';
import type { SessionsApp } from '../sessions/sessions.ts';
import { createApiKey, exchangeApiKey, listApiKeys, revokeApiKey } from './api-keys.ts';
import { fromCreate, toApiKeyMessage } from './messages.ts';

export function apiKeyService(app: SessionsApp): ServiceImpl<typeof ApiKeyService> {
  return {
    async createApiKey(request, context) {
      const { key, secret } = await createApiKey(app, callerOf(context), fromCreate(request));
      return { apiKey: toApiKeyMessage(key), secret };
    },
    async listApiKeys({ userId }) {
      return { apiKeys: (await listApiKeys(app, userId)).map(toApiKeyMessage) };
    },
    async revokeApiKey({ userId, apiKeyId }, context) {
      await revokeApiKey(app, callerOf(context), userId, apiKeyId);
      return {};
    },
    async exchangeApiKey(_, context) {
      const { token, expireMs, lifetimeMs } = await exchangeApiKey(app, callerOf(context));
      return {
        accessToken: token,
        accessTokenExpireTime: timestampFromMs(expireMs),
        accessTokenLifetime: durationFromMs(lifetimeMs),
      };
    },
  };
}
