import type { ServiceImpl } from '@connectrpc/connect';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ApiKeySchema, type ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { messageJson } from '../../rpc/message-json.ts';
import { type ApiKeysApp, createApiKey, exchangeApiKey, listApiKeys, revokeApiKey } from './api-keys.ts';
import { fromCreate, toApiKeyMessage } from './messages.ts';

export function apiKeyService(app: ApiKeysApp): ServiceImpl<typeof ApiKeyService> {
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

/** API keys, of which a user has few. Hashes of their secrets are no data of the user. */
export const apiKeyData: PersonalData = {
  tables: { api_keys: { user_id: { exported: 'apiKeys' } } },
  parts: {
    apiKeys: {
      permission: 'credentials.read',
      async read(app, _, userId) {
        const keys = await listApiKeys(app, userId);
        return { items: keys.map((key) => messageJson(ApiKeySchema, toApiKeyMessage(key))), nextPageToken: '' };
      },
    },
  },
};
